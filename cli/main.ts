#!/usr/bin/env -S deno run -A
/**
 * The process around {@link run}: its streams, its signals, its end.
 *
 * @module
 */

import process from "node:process";
import { EXIT } from "./failure.ts";
import { type Output, OutputClosed } from "./io.ts";
import { run } from "./run.ts";

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
          const gone = (error as NodeJS.ErrnoException).code === "EPIPE";
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

const controller = new AbortController();
let signals = 0;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    // The first asks for an orderly end, the second does not wait for it.
    if (++signals > 1) process.exit(EXIT.interrupted);
    controller.abort(new Error(`Interrupted by ${signal}`));
  });
}

const code = await run(process.argv.slice(2), {
  stdout: output(process.stdout),
  stderr: messages(process.stderr),
  get stdin() {
    return process.stdin;
  },
  env: process.env,
  signal: controller.signal,
});
// Everything was written; nothing that is still open (a connection on its way) may hold us up.
process.exit(code);
