/**
 * The program as a tree of commands: what the parser takes, and what the help, the manual page and
 * the completions of shells are made of.
 *
 * @module
 */

import { command, type CommandUnknownOpts, type Context } from "./command.ts";
import { EXIT } from "./terminal/failure.ts";
import { VERSION } from "./version.ts";

/**
 * The commands, each loaded when it is asked for: a start loads one of them, and only the help that
 * lists them loads all.
 */
const COMMANDS: Record<string, (context: Context) => Promise<CommandUnknownOpts>> = {
  serve: async (it) => (await import("./commands/serve.ts")).serveCommand(it),
  "migrate-to-kv": async (it) =>
    (await import("./commands/move/migrate_to_kv.ts")).migrateToKvCommand(it),
  "migrate-to-sqlite": async (it) =>
    (await import("./commands/move/migrate_to_sqlite.ts")).migrateToSqliteCommand(it),
  verify: async (it) => (await import("./commands/move/verify.ts")).verifyCommand(it),
  identity: async (it) => (await import("./commands/records/identity.ts")).identityCommand(it),
  user: async (it) => (await import("./commands/records/user.ts")).userCommand(it),
  invite: async (it) => (await import("./commands/records/invite.ts")).inviteCommand(it),
  room: async (it) => (await import("./commands/records/room.ts")).roomCommand(it),
  blobs: async (it) => (await import("./commands/blobs/blobs.ts")).blobsCommand(it),
  snapshot: async (it) => (await import("./commands/snapshot/snapshot.ts")).snapshotCommand(it),
  doctor: async (it) => (await import("./commands/doctor.ts")).doctorCommand(it),
  cluster: async (it) => (await import("./commands/cluster.ts")).clusterCommand(it),
  nats: async (it) => (await import("./commands/nats.ts")).natsCommand(it),
  completion: async (it) =>
    (await import("./commands/program/completion.ts")).completionCommand(it),
  man: async (it) => (await import("./commands/program/man.ts")).manCommand(it),
  version: async (it) => (await import("./commands/program/version.ts")).versionCommand(it),
};

/** The exit codes and what they mean, as help and manual show them. */
export const CODES: readonly (readonly [code: number, meaning: string])[] = [
  [EXIT.done, "done"],
  [EXIT.failed, "failed"],
  [EXIT.usage, "wrong usage: an unknown flag, a missing or bad value"],
  [EXIT.different, "verified, and found different"],
  [EXIT.interrupted, "interrupted"],
];

/**
 * Makes the parser with the one command that `word` names, or with all of them.
 *
 * @param context What the commands work in
 * @param word The first argument
 */
export async function program(
  context: Context,
  word: string | undefined,
): Promise<CommandUnknownOpts> {
  const root = command(
    context,
    "membershipd",
    "The control plane of unibus: who may connect, which rooms exist, who is in them. Without a " +
      "command it is the server, as `membershipd serve`.",
    [
      "membershipd",
      "membershipd serve --help",
      "membershipd identity create ada.json",
      "membershipd user add --admin --handle ada --identity ada.json",
      "membershipd invite create --role admin",
      "membershipd migrate-to-kv --db ./local_files/unibus.db --nats-url nats://127.0.0.1:4222",
    ],
  )
    .version(VERSION, "-V, --version", "show the version")
    .usage("[command] [flags]")
    .addHelpText(
      "after",
      `\nExit codes:\n${CODES.map(([code, it]) => `  ${String(code).padEnd(5)}${it}`).join("\n")}`,
    );
  const only = word !== undefined && Object.hasOwn(COMMANDS, word) ? COMMANDS[word] : undefined;
  const wanted = only === undefined ? Object.values(COMMANDS) : [only];
  for (const it of await Promise.all(wanted.map((make) => make(context)))) root.addCommand(it);
  return root.helpCommand("help [command]", "Show the help of a command");
}
