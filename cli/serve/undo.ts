/**
 * Stops started components in reverse order.
 *
 * @module
 */

import { within } from "../../src/core/async/wait.ts";
import type { Log } from "../terminal/log.ts";

interface Step {
  what: string;
  end: () => Promise<unknown>;
  limit: number;
}

/** A stack of components to stop. */
export class Undo {
  readonly #steps: Step[] = [];

  /**
   * Adds a component.
   *
   * @param what Its name, for the log
   * @param end Stops it
   * @param limit Time limit in milliseconds, after which the next one is stopped
   */
  add(what: string, end: () => Promise<unknown>, limit: number = 2_000): void {
    this.#steps.push({ what, end, limit });
  }

  /**
   * Stops everything; a failure or a timeout is logged and does not prevent the rest from being
   * stopped.
   */
  async end(log: Log): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      const { what, limit } = step;
      try {
        await within(limit, step.end(), () => {
          throw new Error(`Not stopped within ${limit} ms`);
        });
        log("debug", "ended", { what });
      } catch (error) {
        log("warn", "end_failed", { what, reason: error });
      }
    }
  }
}
