/**
 * The program as a function: takes arguments and an environment, returns an exit code.
 *
 * @module
 */

import { CommanderError } from "@commander-js/extra-typings";
import type { CommandUnknownOpts, Context } from "./command.ts";
import { EXIT, type Failure, failureOf, failureText } from "./terminal/failure.ts";
import type { Io } from "./terminal/io.ts";
import { HELP_WIDTH } from "./help.ts";
import { program } from "./program.ts";
import { safeJson } from "./terminal/output.ts";

/**
 * Runs one command.
 *
 * @param argv The arguments, without the program's name
 * @param io Input, output, environment variables and signals
 * @returns The exit code
 */
export async function run(argv: string[], io: Io): Promise<number> {
  const json = asksForJson(argv);
  // The parser writes synchronously, so its output is collected here.
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
        const { printVersion } = await import("./commands/program/version.ts");
        await printVersion(context, { json });
      } else if (error.exitCode === 0) await io.stdout.write(out);
      else return await refuse(context, error, withoutSecrets(complaint), json);
      return EXIT.done;
    } catch {
      return EXIT.failed; // The output is closed.
    }
  }
}

/** Flags of the program itself; all other flags without a command are those of `serve`. */
const ROOT_FLAGS = ["-h", "--help", "-V", "--version"];

/** Adds the implied command to the arguments: `help user add` becomes `user add --help`. */
function forParser(argv: string[]): string[] {
  const [first] = argv;
  if (first === "help") return [...argv.slice(1).filter((it) => it[0] !== "-"), "--help"];
  const isCommand = first !== undefined && !first.startsWith("-");
  return isCommand || ROOT_FLAGS.includes(first!) ? argv : ["serve", ...argv];
}

/**
 * Returns the arguments up to the first unknown command, so that it is reported as such; with
 * `--help` the parser would show the help of its parent instead.
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

/** Limits the width of lines, because long ones are hard to read. */
function widthOf({ isTTY, columns }: Io["stdout"]): number {
  return isTTY && columns !== undefined ? Math.min(columns, HELP_WIDTH) : HELP_WIDTH;
}

/** Reports whether errors are to be printed as JSON; checked before parsing, which can fail. */
function asksForJson(argv: string[]): boolean {
  const end = argv.indexOf("--");
  return (end < 0 ? argv : argv.slice(0, end)).includes("--json");
}

/** Removes rejected values from the parser's message, because they may be misplaced tokens. */
function withoutSecrets(text: string): string {
  return text
    .replace(/(unknown option '-[^'=]*)=[^']*'/g, "$1'")
    .replace(/(too many arguments.*? but got \d+): .*/g, "$1.");
}

/** Reports a usage error. */
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
  const hint = "use --help to see how to use the command";
  await io.stderr.write(`${complaint.trimEnd()}\nhint: ${hint}\n`);
  if (json) {
    const [message = ""] = complaint.replace(/^error: /, "").split("\n");
    await printFailure(context, { exit: EXIT.usage, code: "usage", message, hint });
  }
  return EXIT.usage;
}

async function fail(context: Context, error: unknown, json: boolean): Promise<number> {
  const { io } = context;
  const failure = failureOf(error, io.signal, context.resume);
  if (failure === null) return EXIT.failed;
  await io.stderr.write(failureText(failure, error, io.env));
  if (json) await printFailure(context, failure);
  return failure.exit;
}

/** Writes the error as JSON, into the started document or as a new one. */
async function printFailure(context: Context, failure: Failure): Promise<void> {
  const { code, message, field, problems, hint } = failure;
  const error = { code, message, field, problems, hint };
  if (context.document !== null) await context.document.end({ error });
  else await context.io.stdout.write(`${safeJson({ error })}\n`);
}
