/**
 * The process around {@link run}: its streams and its signals.
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
  // A write that fails tells its own caller; without a listener it would end the process.
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
          reject(gone ? new OutputClosed("Nobody reads the output", { cause: error }) : error);
        })
      ),
  };
}

/** Messages are worth a try; that nobody reads them stops no work. */
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
      } catch { /* Nobody to tell. */ }
    },
  };
}

/**
 * Signals closer together than this, in milliseconds, are one: `deno task` and others hand Ctrl-C on
 * to us, who had it from the terminal already.
 */
const SAME_MS = 100;

/** Whether SIGHUP was to be ignored when we were started, as `nohup` does. */
function ignoresHangup(): boolean {
  try {
    const ignored = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"));
    // SIGHUP is 1, the lowest bit.
    return ignored !== null && (parseInt(ignored[1]!.slice(-1), 16) & 1) === 1;
  } catch {
    return false; // No such file on this system.
  }
}

/**
 * Runs the program with this process's arguments, streams and signals.
 *
 * @param exit Ends the process; called with the exit code, or at once by a second signal
 */
export async function runProcess(exit: (code: number) => never): Promise<never> {
  const controller = new AbortController();
  let first = Infinity;
  const isDetached = ignoresHangup();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      // Deno takes the signal itself as soon as any is listened for, so it is ignored here.
      if (signal === "SIGHUP" && isDetached) return;
      // The first asks for an orderly end, the second does not wait for it. A terminal that is closed
      // may tell so more than once.
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
  // Everything was written; nothing that is still open (a connection on its way) may hold us up.
  return exit(code);
}
