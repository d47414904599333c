/**
 * The environment of a command.
 *
 * @module
 */

import type { OutputConfiguration } from "@commander-js/extra-typings";
import type { Io } from "./io.ts";

/** The environment of a command. */
export interface Context {
  /** Input, output, environment variables and signals. */
  readonly io: Io;
  /** Where the command parser writes help and errors. */
  readonly parser: OutputConfiguration;
  /** Exit code of a command that completes without an error. */
  exitCode: number;
  /** Hint after an interruption, for work that can be resumed. */
  resume: string | null;
  /** A JSON document that has been started and must be completed, even after an error. */
  document: { end(rest?: Record<string, unknown>): Promise<void> } | null;
}
