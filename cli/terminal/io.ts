/**
 * Input and output of a command. Only main.ts depends on the process.
 *
 * @module
 */

/** An output stream. */
export interface Output {
  /** Writes and waits for the reader. Rejects with {@link OutputClosed} if the reader has gone. */
  write(data: string | Uint8Array): void | Promise<void>;
  /** Whether it is a terminal. */
  readonly isTTY: boolean;
  /** Width of the terminal. */
  readonly columns?: number;
}

/** Input, output, environment variables and signals of a command. */
export interface Io {
  /** Standard output: results only. */
  readonly stdout: Output;
  /** Standard error: messages, progress, errors. */
  readonly stderr: Output;
  /** Standard input. */
  readonly stdin: AsyncIterable<Uint8Array>;
  /** Prompts for a line on the terminal without echoing it; undefined without a terminal. */
  readonly prompt?: (question: string) => Promise<string>;
  /** Environment variables. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts the command (Ctrl-C). */
  readonly signal: AbortSignal;
}

/** The reader of the output has closed it, as `head` does. */
export class OutputClosed extends Error {
  override readonly name = "OutputClosed";
}
