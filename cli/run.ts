/**
 * The program as a function: arguments and a world in, an exit code out.
 *
 * @module
 */

import { CommanderError } from "@commander-js/extra-typings";
import { command, type CommandUnknownOpts, type Context } from "./command.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { inviteCommand } from "./commands/invite.ts";
import { migrateToKvCommand } from "./commands/migrate_to_kv.ts";
import { migrateToSqliteCommand } from "./commands/migrate_to_sqlite.ts";
import { natsCommand } from "./commands/nats.ts";
import { roomCommand } from "./commands/room.ts";
import { snapshotCommand } from "./commands/snapshot.ts";
import { userCommand } from "./commands/user.ts";
import { verifyCommand } from "./commands/verify.ts";
import { printVersion, versionCommand } from "./commands/version.ts";
import { EXIT, type Failure, failureOf } from "./failure.ts";
import type { Io } from "./io.ts";
import { VERSION } from "./version.ts";

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
    const root = program(context);
    await root.parseAsync(forParser(argv, root), { from: "user" });
    return context.exitCode;
  } catch (error) {
    try {
      if (!(error instanceof CommanderError)) return await fail(context, error, json);
      if (error.code === "commander.version") await printVersion(context, { json });
      else if (error.exitCode === 0) await io.stdout.write(out);
      else return await refuse(context, error, withoutSecrets(complaint), json);
      return EXIT.done;
    } catch {
      return EXIT.failed; // Nobody reads what we write.
    }
  }
}

function program(context: Context): CommandUnknownOpts {
  const root = command(
    context,
    "membershipd",
    "The control plane of unibus: who may connect, which rooms exist, who is in them.",
    [
      "membershipd invite create --role admin",
      "membershipd user list --json",
      "membershipd migrate-to-kv --db ./local_files/unibus.db --nats-url nats://127.0.0.1:4222",
      "membershipd migrate-to-kv --help",
    ],
  )
    .version(VERSION, "-V, --version", "show the version")
    .usage("<command> [flags]")
    .addHelpText("after", CODES);
  const commands = [
    migrateToKvCommand,
    migrateToSqliteCommand,
    verifyCommand,
    userCommand,
    inviteCommand,
    roomCommand,
    snapshotCommand,
    doctorCommand,
    natsCommand,
    versionCommand,
  ];
  for (const it of commands) root.addCommand(it(context));
  return root.helpCommand("help [command]", "Show the help of a command");
}

/**
 * The arguments as the parser understands them: `help user add` is `user add --help`, and help for
 * a command that does not exist is an unknown command, where the parser would show its parent's help.
 */
function forParser(argv: string[], root: CommandUnknownOpts): string[] {
  const asked = argv[0] === "help"
    ? [...argv.slice(1).filter((it) => it[0] !== "-"), "--help"]
    : argv;
  let at = root;
  for (const [i, word] of asked.entries()) {
    if (at.commands.length === 0 || word.startsWith("-")) break;
    const next = at.commands.find((it) => it.name() === word);
    if (next === undefined) return asked.slice(0, i + 1);
    at = next;
  }
  return asked;
}

function widthOf({ isTTY, columns }: Io["stdout"]): number {
  return isTTY && columns !== undefined ? columns : 100;
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
