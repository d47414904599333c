/**
 * What a command may touch of the world. Only main.ts knows that there is a process behind it.
 *
 * @module
 */

/** A place to write to. */
export interface Output {
  /** Writes; waits where the reader is slow. Rejects with {@link OutputClosed} when it went away. */
  write(data: string | Uint8Array): void | Promise<void>;
  /** Whether it is a terminal. */
  readonly isTTY: boolean;
  /** Width of the terminal. */
  readonly columns?: number;
}

/** What a command gets. */
export interface Io {
  /** The result, and nothing else. */
  readonly stdout: Output;
  /** Messages, progress, errors. */
  readonly stderr: Output;
  /** What is piped in. */
  readonly stdin: AsyncIterable<Uint8Array>;
  /** Asks on the terminal for a line that is not shown; not there where there is no terminal. */
  readonly prompt?: (question: string) => Promise<string>;
  /** The environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends what is under way (Ctrl-C). */
  readonly signal: AbortSignal;
}

/** Whoever read our output has gone, as `head` does when it has enough. */
export class OutputClosed extends Error {
  override readonly name = "OutputClosed";
}
