/**
 * `user add|list|show|promote|demote|revoke|restore|delete`: the allowlist.
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
  type JsonFlag,
  type StoreFlags,
  withJson,
  withPaging,
  withStore,
} from "../../command.ts";
import { withOpenStore } from "../../store/open.ts";
import { fields, print, printable, printJson, printList } from "../../terminal/output.ts";
import { keysOf } from "./identity.ts";

/** Makes the command. */
export function userCommand(context: Context): CommandUnknownOpts {
  return command(context, "user", "The allowlist: who may connect", [
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
    command(context, "add", "Add a user; makes the file or the bucket when there is none", [
      "membershipd user add --handle ada --identity ada.json --admin",
      "membershipd user add --sign-pub KEY --kex-pub KEY --handle build-3 " +
      "--nats-url nats://127.0.0.1:4222",
    ])
      .option("--sign-pub <key>", "Ed25519 public key, 64 hex digits")
      .option("--kex-pub <key>", "X25519 public key, 64 hex digits")
      .addOption(
        new Option("--identity <file>", "take the public keys from what identity create has made")
          .conflicts(["signPub", "kexPub"]),
      )
      .requiredOption("--handle <name>", "name to show")
      .addOption(
        new Option("--role <role>", "what the user may do").choices(["admin", "user"] as const)
          .default("user" as const),
      )
      .addOption(new Option("--admin", "the same as --role admin").conflicts("role")),
  )).action(async (flags) => {
    const role = flags.admin ? "admin" : flags.role;
    const keys = await keysOf(flags);
    // Before the store is opened, which may make a file.
    const input = {
      signPub: check.signPub("sign-pub", keys.signPub),
      kexPub: check.kexPub("kex-pub", keys.kexPub),
      handle: check.handle("handle", flags.handle),
      role,
    };
    await withOpenStore(context, flags, { create: true }, async (store) => {
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
    lastAdminToo(ofUser(context, "demote", "Make an admin a user like any other", [
      "membershipd user demote KEY",
      "membershipd user demote KEY --force",
    ])),
  )).action((key, flags) =>
    change(context, flags, "demoted", (store) => store.setUserRole(key, "user", force(flags)))
  );
}

function revoke(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    lastAdminToo(ofUser(context, "revoke", "Take a user's access; restore gives it back", [
      "membershipd user revoke KEY",
      "membershipd user revoke KEY --force",
    ])),
  )).action((key, flags) =>
    change(context, flags, "revoked", (store) => store.revokeUser(key, force(flags)))
  );
}

function restore(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    ofUser(context, "restore", "Give a revoked user access again", [
      "membershipd user restore KEY",
    ]),
  )).action((key, flags) => change(context, flags, "restored", (store) => store.restoreUser(key)));
}

function remove(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    lastAdminToo(
      ofUser(context, "delete", "Remove a user and end its memberships; rooms it owns stay", [
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

/** A command about one user. */
function ofUser(...it: Parameters<typeof command>) {
  return command(...it).argument("<key>", "the user's signing key");
}

function lastAdminToo(it: ReturnType<typeof ofUser>) {
  return it.option("--force", "also when it is the last active admin");
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

/** Shows one user: in full, or as what was done to it. */
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
