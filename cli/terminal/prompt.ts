/**
 * Questions on a terminal whose answers are not shown.
 *
 * @module
 */

import type process from "node:process";

const ENTER = ["\r", "\n"];
const CTRL_C = "\u0003";
const CTRL_D = "\u0004";
const CTRL_U = "\u0015";
const BACKSPACE = ["\u007f", "\b"];

/** What is asked on: a terminal to type at, and one to write the question to. */
export interface Terminal {
  input: typeof process.stdin;
  output: { write(text: string): void | Promise<void> };
  signal: AbortSignal;
  /** What Ctrl-C does, which a terminal that shows nothing does not do by itself. */
  interrupt(): void;
}

/** Asks, and reads a line without showing it. Rejects with the signal's reason. */
export async function askHidden(
  question: string,
  { input, output, signal, interrupt }: Terminal,
): Promise<string> {
  signal.throwIfAborted();
  let onData = (_: string) => {};
  let onAbort = () => {};
  // Before the question: whoever answers it at once must not be shown either.
  input.setRawMode(true);
  try {
    await output.write(question);
    input.setEncoding("utf8");
    input.resume();
    return await new Promise<string>((resolve, reject) => {
      let typed: string[] = [];
      onAbort = () => reject(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      onData = (text) => {
        for (const key of text) {
          if (ENTER.includes(key)) return resolve(typed.join(""));
          if (key === CTRL_C) return interrupt();
          if (key === CTRL_D && typed.length === 0) return resolve("");
          if (BACKSPACE.includes(key)) typed.pop();
          else if (key === CTRL_U) typed = [];
          else if (key >= " ") typed.push(key);
        }
      };
      input.on("data", onData);
    });
  } finally {
    signal.removeEventListener("abort", onAbort);
    input.off("data", onData);
    input.setRawMode(false);
    input.pause();
    await output.write("\n");
  }
}
