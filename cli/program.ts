/**
 * The tree of commands, used by the parser, the help, the manual page and the shell completions.
 *
 * @module
 */

import { command, type CommandUnknownOpts, type Context } from "./command.ts";
import { EXIT_CODES } from "./terminal/failure.ts";
import { VERSION } from "./version.ts";

/**
 * The commands, loaded on demand: a run loads one of them, and only the help that lists them loads
 * all.
 */
const COMMANDS: Record<string, (context: Context) => Promise<CommandUnknownOpts>> = {
  serve: async (it) => (await import("./commands/serve.ts")).serveCommand(it),
  "migrate-to-kv": async (it) =>
    (await import("./commands/move/migrate_to_kv.ts")).migrateToKvCommand(it),
  "migrate-to-sqlite": async (it) =>
    (await import("./commands/move/migrate_to_sqlite.ts")).migrateToSqliteCommand(it),
  grow: async (it) => (await import("./commands/journey/grow.ts")).growCommand(it),
  shrink: async (it) => (await import("./commands/journey/shrink.ts")).shrinkCommand(it),
  verify: async (it) => (await import("./commands/move/verify.ts")).verifyCommand(it),
  follow: async (it) => (await import("./commands/follower/follow.ts")).followCommand(it),
  repair: async (it) => (await import("./commands/follower/repair.ts")).repairCommand(it),
  promote: async (it) => (await import("./commands/follower/promote.ts")).promoteCommand(it),
  backup: async (it) => (await import("./commands/follower/backup.ts")).backupCommand(it),
  identity: async (it) => (await import("./commands/records/identity.ts")).identityCommand(it),
  user: async (it) => (await import("./commands/records/user.ts")).userCommand(it),
  invite: async (it) => (await import("./commands/records/invite.ts")).inviteCommand(it),
  room: async (it) => (await import("./commands/records/room.ts")).roomCommand(it),
  log: async (it) => (await import("./commands/history/log.ts")).logCommand(it),
  blobs: async (it) => (await import("./commands/blobs/blobs.ts")).blobsCommand(it),
  snapshot: async (it) => (await import("./commands/snapshot/snapshot.ts")).snapshotCommand(it),
  doctor: async (it) => (await import("./commands/doctor.ts")).doctorCommand(it),
  join: async (it) => (await import("./commands/join/join.ts")).joinCommand(it),
  cluster: async (it) => (await import("./commands/cluster/cluster.ts")).clusterCommand(it),
  nats: async (it) => (await import("./commands/nats.ts")).natsCommand(it),
  completion: async (it) =>
    (await import("./commands/program/completion.ts")).completionCommand(it, () => whole(it)),
  man: async (it) => (await import("./commands/program/man.ts")).manCommand(it, () => whole(it)),
  version: async (it) => (await import("./commands/program/version.ts")).versionCommand(it),
};

/**
 * Creates the parser with the command that `word` names, or with all commands.
 *
 * @param context The environment of the commands
 * @param word The first argument
 */
export async function program(
  context: Context,
  word: string | undefined,
): Promise<CommandUnknownOpts> {
  const root = command(
    context,
    "membershipd",
    "The control plane of unibus: manages users, invites, rooms and members. Without a command it " +
      "runs the server, like `membershipd serve`.",
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
    // A command with commands below it, such as log, has flags that they have too.
    .enablePositionalOptions()
    .addHelpText(
      "after",
      `\nExit codes:\n${
        EXIT_CODES.map(([code, it]) => `  ${String(code).padEnd(5)}${it}`).join("\n")
      }`,
    );
  const only = word !== undefined && Object.hasOwn(COMMANDS, word) ? COMMANDS[word] : undefined;
  const wanted = only === undefined ? Object.values(COMMANDS) : [only];
  const commands = await Promise.all(wanted.map((load) => load(context)));
  for (const command of commands) root.addCommand(command);
  return root.helpCommand("help [command]", "Show the help of a command");
}

/** Creates the parser with all commands. */
function whole(context: Context): Promise<CommandUnknownOpts> {
  return program(context, undefined);
}
