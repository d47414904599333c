/**
 * `user add|list|show|promote|demote|revoke|restore|delete`: users.
 *
 * @module
 */

import { Option } from "@commander-js/extra-typings";
import type { Store, User } from "../../../mod.ts";
import { removeUser } from "../../../src/core/remove_user.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  CREATE_HELP,
  type JsonFlag,
  type StoreFlags,
  withJson,
  withPaging,
  withStore,
} from "../../command.ts";
import { withOpenStore } from "../../store/open.ts";
import { fields, print, printable, printJson, printList } from "../../terminal/output.ts";
import { personOf, withPerson } from "./person.ts";

/** Creates the command. */
export function userCommand(context: Context): CommandUnknownOpts {
  const user = command(context, "user", "Manage users: who can connect, and with which role", [
    "membershipd user list",
    "membershipd user revoke KEY",
  ])
    .addCommand(add(context))
    .addCommand(list(context))
    .addCommand(show(context));
  for (const [name, spec] of Object.entries(CHANGES)) user.addCommand(change(context, name, spec));
  return user;
}

function add(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    withPerson(command(context, "add", "Add a user", [
      "membershipd user add --create --handle ada --identity ada.json --admin",
      "membershipd user add --handle ada --identity ada.json --admin",
      "membershipd user add --sign-pub KEY --kex-pub KEY --handle build-3 " +
      "--nats-url nats://127.0.0.1:4222",
    ]))
      .addOption(
        new Option("--role <role>", "role of the user").choices(["admin", "user"] as const)
          .default("user" as const),
      )
      .addOption(new Option("--admin", "same as --role admin").conflicts("role"))
      .option("--create", CREATE_HELP),
  )).action(async (flags) => {
    const role = flags.admin ? "admin" : flags.role;
    // Before the store is opened, which may create a file.
    const input = { ...await personOf(flags), role };
    await withOpenStore(context, flags, { create: flags.create === true }, async (store) => {
      await printUser(context, flags, await store.addUser(input), "added");
    });
  });
}

function list(context: Context): CommandUnknownOpts {
  return withJson(withPaging(withStore(
    command(context, "list", "List users by key", [
      "membershipd user list",
      "membershipd user list --limit 100 --after KEY --json",
    ]),
  ))).action(async (flags) => {
    await withOpenStore(context, flags, { read: true }, async (store) => {
      await printList(context, flags, {
        name: "users",
        page: (request) => store.listUsers(request),
        columns: {
          "SIGN-PUB": (it) => it.signPub,
          ROLE: (it) => it.role,
          STATUS: (it) => it.status,
          CREATED: (it) => it.createdAt,
          HANDLE: (it) => it.handle,
        },
      });
    });
  });
}

function show(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    ofUser(context, "show", "Show a user", ["membershipd user show KEY"]),
  )).action(async (key, flags) => {
    await withOpenStore(context, flags, { read: true }, async (store) => {
      await printUser(context, flags, await store.getUser(key), null);
    });
  });
}

/** A command that changes a user. */
interface Change {
  /** What it does. */
  help: string;
  /** What was done. */
  done: string;
  /** Whether `--force` does it to the last active admin too. */
  guarded?: true;
  work(store: Store, key: string, options: { force: boolean }): Promise<User>;
}

const CHANGES: Record<string, Change> = {
  promote: {
    help: "Make a user an admin",
    done: "promoted",
    work: (store, key) => store.setUserRole(key, "admin"),
  },
  demote: {
    help: "Remove a user's admin role",
    done: "demoted",
    guarded: true,
    work: (store, key, options) => store.setUserRole(key, "user", options),
  },
  revoke: {
    help: "Revoke a user's access. Can be undone with restore",
    done: "revoked",
    guarded: true,
    work: (store, key, options) => store.revokeUser(key, options),
  },
  restore: {
    help: "Restore the access of a revoked user",
    done: "restored",
    work: (store, key) => store.restoreUser(key),
  },
  delete: {
    help: "Delete a user and its memberships. Rooms that it owns remain",
    done: "deleted",
    guarded: true,
    async work(store, key, options) {
      const user = await store.getUser(key);
      await removeUser(store, key, options);
      return user;
    },
  },
};

function change(context: Context, name: string, spec: Change): CommandUnknownOpts {
  const example = `membershipd user ${name} KEY`;
  const examples = [example, ...spec.guarded ? [`${example} --force`] : []];
  const parent = ofUser(context, name, spec.help, examples);
  if (spec.guarded) parent.option("--force", "even if it is the last active admin");
  return withJson(withStore(parent)).action(async (key, flags: StoreFlags & JsonFlag & Force) => {
    await withOpenStore(context, flags, {}, async (store) => {
      const user = await spec.work(store, key, { force: flags.force === true });
      await printUser(context, flags, user, spec.done);
    });
  });
}

type Force = { force?: true };

/** Creates a command that takes a user's key. */
function ofUser(...args: Parameters<typeof command>) {
  return command(...args).argument("<key>", "the user's signing key");
}

/** Prints a user: all fields, or one line about what was done. */
export async function printUser(
  context: Context,
  { json }: JsonFlag,
  user: User,
  done: string | null,
): Promise<void> {
  if (json) {
    const document = done === "deleted" ? { deleted: user.signPub } : user;
    return await printJson(context, document);
  }
  if (done === null) return await print(context, ...fields({ ...user }));
  const { role, handle, signPub } = user;
  await print(context, `${done} ${role} ${printable(handle)} ${signPub}`);
}
