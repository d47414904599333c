/**
 * `user add|list|show|promote|demote|revoke|restore|delete`: users.
 *
 * @module
 */

import { Option } from "@commander-js/extra-typings";
import type { Store, User } from "../../../mod.ts";
import { removeUser } from "../../../src/core/remove_user.ts";
import * as check from "../../../src/core/validate.ts";
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
import { keysOf } from "./identity.ts";

/** Creates the command. */
export function userCommand(context: Context): CommandUnknownOpts {
  return command(context, "user", "Manage users: who can connect, and with which role", [
    "membershipd user list",
    "membershipd user revoke KEY",
  ])
    .addCommand(add(context))
    .addCommand(list(context))
    .addCommand(show(context))
    .addCommand(promote(context))
    .addCommand(demote(context))
    .addCommand(revoke(context))
    .addCommand(restore(context))
    .addCommand(remove(context));
}

function add(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    command(context, "add", "Add a user", [
      "membershipd user add --create --handle ada --identity ada.json --admin",
      "membershipd user add --handle ada --identity ada.json --admin",
      "membershipd user add --sign-pub KEY --kex-pub KEY --handle build-3 " +
      "--nats-url nats://127.0.0.1:4222",
    ])
      .option("--sign-pub <key>", "Ed25519 public key, 64 hex digits")
      .option("--kex-pub <key>", "X25519 public key, 64 hex digits")
      .addOption(
        new Option("--identity <file>", "key file to take the public keys from")
          .conflicts(["signPub", "kexPub"]),
      )
      .requiredOption("--handle <name>", "display name")
      .addOption(
        new Option("--role <role>", "role of the user").choices(["admin", "user"] as const)
          .default("user" as const),
      )
      .addOption(new Option("--admin", "same as --role admin").conflicts("role"))
      .option("--create", CREATE_HELP),
  )).action(async (flags) => {
    const role = flags.admin ? "admin" : flags.role;
    const keys = await keysOf(flags);
    // Before the store is opened, which may create a file.
    const input = {
      signPub: check.signPub("sign-pub", keys.signPub),
      kexPub: check.kexPub("kex-pub", keys.kexPub),
      handle: check.handle("handle", flags.handle),
      role,
    };
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

function promote(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    ofUser(context, "promote", "Make a user an admin", ["membershipd user promote KEY"]),
  )).action((key, flags) =>
    change(context, flags, "promoted", (store) => store.setUserRole(key, "admin"))
  );
}

function demote(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    lastAdminToo(ofUser(context, "demote", "Remove a user's admin role", [
      "membershipd user demote KEY",
      "membershipd user demote KEY --force",
    ])),
  )).action((key, flags) =>
    change(context, flags, "demoted", (store) => store.setUserRole(key, "user", force(flags)))
  );
}

function revoke(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    lastAdminToo(ofUser(context, "revoke", "Revoke a user's access. Can be undone with restore", [
      "membershipd user revoke KEY",
      "membershipd user revoke KEY --force",
    ])),
  )).action((key, flags) =>
    change(context, flags, "revoked", (store) => store.revokeUser(key, force(flags)))
  );
}

function restore(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    ofUser(context, "restore", "Restore the access of a revoked user", [
      "membershipd user restore KEY",
    ]),
  )).action((key, flags) => change(context, flags, "restored", (store) => store.restoreUser(key)));
}

function remove(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    lastAdminToo(
      ofUser(context, "delete", "Delete a user and its memberships. Rooms that it owns remain", [
        "membershipd user delete KEY",
        "membershipd user delete KEY --force",
      ]),
    ),
  )).action((key, flags) =>
    change(context, flags, "deleted", async (store) => {
      const user = await store.getUser(key);
      await removeUser(store, key, force(flags));
      return user;
    })
  );
}

/** Creates a command that takes a user's key. */
function ofUser(...args: Parameters<typeof command>) {
  return command(...args).argument("<key>", "the user's signing key");
}

function lastAdminToo(parent: ReturnType<typeof ofUser>) {
  return parent.option("--force", "even if it is the last active admin");
}

function force(flags: { force?: true }): { force: boolean } {
  return { force: flags.force === true };
}

async function change(
  context: Context,
  flags: StoreFlags & JsonFlag,
  done: string,
  work: (store: Store) => Promise<User>,
): Promise<void> {
  await withOpenStore(context, flags, {}, async (store) => {
    await printUser(context, flags, await work(store), done);
  });
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
