/**
 * What was begun, to be ended in the opposite order.
 *
 * @module
 */

import { within } from "../../src/core/async/wait.ts";
import type { Log } from "./log/log.ts";

interface Step {
  what: string;
  end: () => Promise<unknown>;
  limit: number;
}

/** Keeps what must be ended, and ends it. */
export class Undo {
  readonly #steps: Step[] = [];

  /**
   * Adds something.
   *
   * @param what Its name, for the log
   * @param end Ends it
   * @param limit Milliseconds after which the next one's turn comes all the same
   */
  add(what: string, end: () => Promise<unknown>, limit: number = 2_000): void {
    this.#steps.push({ what, end, limit });
  }

  /** Ends everything; what fails or hangs is told and keeps nothing else from being ended. */
  async end(log: Log): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      const { what, limit } = step;
      try {
        await within(limit, step.end(), () => {
          throw new Error(`It took more than ${limit} ms`);
        });
        log("debug", "ended", { what });
      } catch (error) {
        log("warn", "end_failed", { what, reason: error });
      }
    }
  }
}
