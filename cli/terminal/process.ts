/**
 * Runs {@link run} with the process's streams and signals.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import process from "node:process";
import { systemCode } from "../../src/core/host/system_code.ts";
import { EXIT, failureOf, failureText } from "./failure.ts";
import { type Output, OutputClosed } from "./io.ts";
import { run } from "../run.ts";

function output(stream: NodeJS.WriteStream): Output {
  // A failed write rejects its own promise; without a listener the event would crash the process.
  stream.on("error", () => {});
  return {
    isTTY: stream.isTTY === true,
    get columns() {
      return stream.columns;
    },
    write: (data) =>
      new Promise((resolve, reject) =>
        stream.write(data, (error) => {
          if (error == null) return resolve();
          const gone = systemCode(error) === "EPIPE";
          reject(gone ? new OutputClosed("The output is closed", { cause: error }) : error);
        })
      ),
  };
}

/**
 * Creates an output for messages that ignores write errors: a closed stderr must not stop the work.
 */
function messages(stream: NodeJS.WriteStream): Output {
  const { write, isTTY } = output(stream);
  return {
    isTTY,
    get columns() {
      return stream.columns;
    },
    write: async (data) => {
      try {
        await write(data);
      } catch { /* Cannot be reported. */ }
    },
  };
}

/**
 * Signals within this time in milliseconds count as one: `deno task` and others forward a Ctrl-C
 * that the terminal has already sent to us.
 */
const SAME_MS = 100;

/** Reports whether SIGHUP was ignored when the process was started, as with `nohup`. */
function ignoresHangup(): boolean {
  try {
    const ignored = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"));
    // SIGHUP is 1, the lowest bit.
    return ignored !== null && (parseInt(ignored[1]!.slice(-1), 16) & 1) === 1;
  } catch {
    return false; // The system has no /proc.
  }
}

/**
 * Runs the program with this process's arguments, streams and signals.
 *
 * @param exit Ends the process; called with the exit code, or immediately on a second signal
 */
export async function runProcess(exit: (code: number) => never): Promise<never> {
  const controller = new AbortController();
  let first = Infinity;
  const isDetached = ignoresHangup();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      // A signal listener overrides the inherited disposition in Deno, so it is ignored here.
      if (signal === "SIGHUP" && isDetached) return;
      // The first signal stops gracefully, the second immediately. A terminal that is closed
      // may send SIGHUP more than once.
      const now = performance.now();
      if (signal !== "SIGHUP" && now - first > SAME_MS) exit(EXIT.interrupted);
      first = Math.min(first, now);
      controller.abort(new Error(`Interrupted by ${signal}`));
    });
  }
  const stderr = messages(process.stderr);
  // Deno throws what it denies a listening server from outside the call.
  process.on("uncaughtException", async (error) => {
    const failure = failureOf(error, new AbortController().signal, null);
    if (failure !== null) await stderr.write(failureText(failure, error, process.env));
    exit(failure?.exit ?? EXIT.failed);
  });
  const code = await run(process.argv.slice(2), {
    stdout: output(process.stdout),
    stderr,
    ...(stderr.isTTY && process.stdin.isTTY && {
      prompt: async (question) => {
        const { askHidden } = await import("./prompt.ts");
        return await askHidden(question, {
          input: process.stdin,
          output: stderr,
          signal: controller.signal,
          interrupt: () => controller.abort(new Error("Interrupted by SIGINT")),
        });
      },
    }),
    get stdin() {
      return process.stdin;
    },
    env: process.env,
    signal: controller.signal,
  });
  // All output is written; open handles, such as a connection being set up, must not delay the
  // exit.
  return exit(code);
}
