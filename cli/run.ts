/**
 * The program as a function: arguments and a world in, an exit code out.
 *
 * @module
 */

import { CommanderError } from "@commander-js/extra-typings";
import { command, type CommandUnknownOpts, type Context } from "./command.ts";
import { EXIT, type Failure, failureOf } from "./failure.ts";
import type { Io } from "./io.ts";
import { VERSION } from "./version.ts";
import { HELP_WIDTH } from "./help.ts";

/**
 * The commands, each loaded when it is asked for: a start loads one of them, and only the help that
 * lists them loads all.
 */
const COMMANDS: Record<string, (context: Context) => Promise<CommandUnknownOpts>> = {
  serve: async (it) => (await import("./commands/serve.ts")).serveCommand(it),
  "migrate-to-kv": async (it) =>
    (await import("./commands/migrate_to_kv.ts")).migrateToKvCommand(it),
  "migrate-to-sqlite": async (it) =>
    (await import("./commands/migrate_to_sqlite.ts")).migrateToSqliteCommand(it),
  verify: async (it) => (await import("./commands/verify.ts")).verifyCommand(it),
  identity: async (it) => (await import("./commands/identity.ts")).identityCommand(it),
  user: async (it) => (await import("./commands/user.ts")).userCommand(it),
  invite: async (it) => (await import("./commands/invite.ts")).inviteCommand(it),
  room: async (it) => (await import("./commands/room.ts")).roomCommand(it),
  snapshot: async (it) => (await import("./commands/snapshot.ts")).snapshotCommand(it),
  doctor: async (it) => (await import("./commands/doctor.ts")).doctorCommand(it),
  cluster: async (it) => (await import("./commands/cluster.ts")).clusterCommand(it),
  nats: async (it) => (await import("./commands/nats.ts")).natsCommand(it),
  version: async (it) => (await import("./commands/version.ts")).versionCommand(it),
};

/** Exit codes as the help shows them. */
const CODES = `
Exit codes:
  0    done
  1    failed
  2    wrong usage: an unknown flag, a missing or bad value
  3    verified, and found different
  130  interrupted`;

/**
 * Runs one command.
 *
 * @param argv The arguments, without the program's name
 * @param io What it may touch
 * @returns The exit code
 */
export async function run(argv: string[], io: Io): Promise<number> {
  const json = asksForJson(argv);
  // The parser writes in the middle of its work and cannot wait, so it writes here.
  let out = "";
  let complaint = "";
  const context: Context = {
    io,
    exitCode: EXIT.done,
    resume: null,
    document: null,
    parser: {
      writeOut: (text) => out += text,
      writeErr: (text) => complaint += text,
      getOutHelpWidth: () => widthOf(io.stdout),
      getErrHelpWidth: () => widthOf(io.stderr),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    },
  };
  try {
    const asked = forParser(argv);
    const root = await program(context, asked[0]);
    await root.parseAsync(known(asked, root), { from: "user" });
    return context.exitCode;
  } catch (error) {
    try {
      if (!(error instanceof CommanderError)) return await fail(context, error, json);
      if (error.code === "commander.version") {
        const { printVersion } = await import("./commands/version.ts");
        await printVersion(context, { json });
      } else if (error.exitCode === 0) await io.stdout.write(out);
      else return await refuse(context, error, withoutSecrets(complaint), json);
      return EXIT.done;
    } catch {
      return EXIT.failed; // Nobody reads what we write.
    }
  }
}

/** The parser with the one command that `word` names, or with all of them. */
async function program(context: Context, word: string | undefined): Promise<CommandUnknownOpts> {
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
    .addHelpText("after", CODES);
  const only = word !== undefined && Object.hasOwn(COMMANDS, word) ? COMMANDS[word] : undefined;
  const wanted = only === undefined ? Object.values(COMMANDS) : [only];
  for (const it of await Promise.all(wanted.map((make) => make(context)))) root.addCommand(it);
  return root.helpCommand("help [command]", "Show the help of a command");
}

/** What the root takes itself; other flags without a command are the server's. */
const ROOT_FLAGS = ["-h", "--help", "-V", "--version"];

/** The arguments with the command that is meant: `help user add` is `user add --help`. */
function forParser(argv: string[]): string[] {
  const [first] = argv;
  if (first === "help") return [...argv.slice(1).filter((it) => it[0] !== "-"), "--help"];
  const isCommand = first !== undefined && !first.startsWith("-");
  return isCommand || ROOT_FLAGS.includes(first!) ? argv : ["serve", ...argv];
}

/**
 * The arguments up to a command that does not exist: its help would show its parent's help, and
 * shall be an unknown command instead.
 */
function known(argv: string[], root: CommandUnknownOpts): string[] {
  let at = root;
  for (const [i, word] of argv.entries()) {
    if (at.commands.length === 0 || word.startsWith("-")) break;
    const next = at.commands.find((it) => it.name() === word);
    if (next === undefined) return argv.slice(0, i + 1);
    at = next;
  }
  return argv;
}

/** Lines are easiest to read when they are not long, however wide the terminal is. */
function widthOf({ isTTY, columns }: Io["stdout"]): number {
  return isTTY && columns !== undefined ? Math.min(columns, HELP_WIDTH) : HELP_WIDTH;
}

/** Whether errors are wanted as JSON; asked before parsing, which may be what fails. */
function asksForJson(argv: string[]): boolean {
  const end = argv.indexOf("--");
  return (end < 0 ? argv : argv.slice(0, end)).includes("--json");
}

/** The parser repeats what it does not take, and that may be a token in the wrong place. */
function withoutSecrets(text: string): string {
  return text
    .replace(/(unknown option '-[^'=]*)=[^']*'/g, "$1'")
    .replace(/(too many arguments.*? but got \d+): .*/g, "$1.");
}

/** What the parser does not take. */
async function refuse(
  context: Context,
  error: CommanderError,
  complaint: string,
  json: boolean,
): Promise<number> {
  const { io } = context;
  if (error.code === "commander.help") {
    await io.stderr.write(complaint);
    if (json) {
      await printFailure(context, { exit: EXIT.usage, code: "usage", message: "No command" });
    }
    return EXIT.usage;
  }
  await io.stderr.write(`${complaint.trimEnd()}\nhint: --help shows how to use the command\n`);
  if (json) {
    const [message = ""] = complaint.replace(/^error: /, "").split("\n");
    await printFailure(context, { exit: EXIT.usage, code: "usage", message });
  }
  return EXIT.usage;
}

async function fail(context: Context, error: unknown, json: boolean): Promise<number> {
  const { io } = context;
  const failure = failureOf(error, io.signal, context.resume);
  if (failure === null) return EXIT.failed;
  const { message, hint, exit } = failure;
  await io.stderr.write(`error: ${message}\n${hint === undefined ? "" : `hint: ${hint}\n`}`);
  if (io.env.UNIBUS_DEBUG && error instanceof Error) await io.stderr.write(`${error.stack}\n`);
  if (json) await printFailure(context, failure);
  return exit;
}

/** Writes the error as JSON, into the document that was begun or as one of its own. */
async function printFailure(context: Context, failure: Failure): Promise<void> {
  const { code, message, field } = failure;
  const error = { code, message, ...(field === undefined ? {} : { field }) };
  if (context.document !== null) await context.document.end({ error });
  else await context.io.stdout.write(`${JSON.stringify({ error })}\n`);
}
