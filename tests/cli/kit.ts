/**
 * The program for tests: called as a function, or run as a process.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Io } from "../../cli/terminal/io.ts";
import { run } from "../../cli/run.ts";

/** What a call gave. */
export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

/** What a call may find in its world. */
export interface World {
  stdin?: string | AsyncIterable<Uint8Array>;
  env?: Record<string, string>;
  signal?: AbortSignal;
  /** Called when something is written to stdout. */
  onStdout?: () => void;
  /** Called with what is written to stderr. */
  onStderr?: (text: string) => void;
  /** Whether stderr is a terminal. */
  terminal?: boolean;
}

/** Calls the program. */
export async function cli(args: string[], world: World = {}): Promise<Result> {
  let stdout = "";
  let stderr = "";
  const decoder = new TextDecoder();
  const text = (data: string | Uint8Array) =>
    typeof data === "string" ? data : decoder.decode(data, { stream: true });
  const { stdin = "" } = world;
  const io: Io = {
    stdout: {
      isTTY: false,
      write: (data) => {
        stdout += text(data);
        world.onStdout?.();
      },
    },
    stderr: {
      isTTY: world.terminal === true,
      columns: 120,
      write: (data) => {
        const added = text(data);
        stderr += added;
        world.onStderr?.(added);
      },
    },
    stdin: typeof stdin === "string" ? textOf(stdin) : stdin,
    env: world.env ?? {},
    signal: world.signal ?? new AbortController().signal,
  };
  const code = await run(args, io);
  return { code, stdout, stderr };
}

async function* textOf(text: string): AsyncGenerator<Uint8Array> {
  if (text !== "") yield new TextEncoder().encode(text);
}

/** A running program. */
export interface CliProcess {
  /** Its process id. */
  readonly pid: number;
  /** What it wrote to stderr so far. */
  stderr(): string;
  /** Sends a signal. */
  kill(signal: "SIGINT" | "SIGTERM" | "SIGKILL"): void;
  /** Waits until stderr matches. Rejects when the program ends without that. */
  seen(pattern: RegExp): Promise<void>;
  /** How it ended. */
  ended: Promise<Result>;
}

const MAIN = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));

/** What a process may find in its world. */
export interface ProcessWorld {
  stdin?: string;
  /** Variables besides our own. */
  env?: Record<string, string>;
  /** Its working directory; ours by default. */
  cwd?: string;
  /** What Deno is called with before the arguments; by default it runs this checkout with `-A`. */
  program?: string[];
}

/** Runs the program as a process. */
export function cliProcess(args: string[], world: ProcessWorld = {}): CliProcess {
  const { stdin = "", env = {}, cwd, program = ["run", "-A", MAIN] } = world;
  const child = spawn(Deno.execPath(), [...program, ...args], {
    stdio: "pipe",
    env: { ...process.env, ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
  let stdout = "";
  let stderr = "";
  const waiting = new Set<() => void>();
  child.stdout.setEncoding("utf8").on("data", (text: string) => stdout += text);
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    for (const look of waiting) look();
  });
  child.stdin.end(stdin);
  const ended = once(child, "close").then(([code]): Result => ({
    code: code ?? -1,
    stdout,
    stderr,
  }));
  return {
    pid: child.pid!,
    stderr: () => stderr,
    // Deno's child.kill works once only.
    kill: (signal) => void process.kill(child.pid!, signal),
    ended,
    seen: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!pattern.test(stderr)) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
        ended.then(() => reject(new Error(`Ended without ${pattern}:\n${stderr}`)));
      }),
  };
}

/** The one JSON document on stdout; throws when there is none, or more than one. */
// deno-lint-ignore no-explicit-any
export function documentOf({ stdout }: Result): any {
  return JSON.parse(stdout);
}
