/**
 * Prompts on a terminal without echoing the answer.
 *
 * @module
 */

import type process from "node:process";

const ENTER = ["\r", "\n"];
const CTRL_C = "\u0003";
const CTRL_D = "\u0004";
const CTRL_U = "\u0015";
const BACKSPACE = ["\u007f", "\b"];

/** The terminal's input and output. */
export interface Terminal {
  input: typeof process.stdin;
  output: { write(text: string): void | Promise<void> };
  signal: AbortSignal;
  /** Handles Ctrl-C, which does not send a signal in raw mode. */
  interrupt(): void;
}

/**
 * Prompts and reads a line without echoing it. Rejects with the signal's reason if it is aborted.
 */
export async function askHidden(
  question: string,
  { input, output, signal, interrupt }: Terminal,
): Promise<string> {
  signal.throwIfAborted();
  let onData = (_: string) => {};
  let onAbort = () => {};
  // Before the question, so that an immediate answer is not echoed.
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
