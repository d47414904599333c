/**
 * Events that come in thousands, as when all clients connect again or the store is away.
 *
 * @module
 */

import type { Fields, Level, Log } from "./log.ts";

/** How long the same event is counted before it is told again, milliseconds. */
const PERIOD_MS = 10_000;

/**
 * Logs the first of an event in full, and how many came after it once in each period. At `debug` each
 * of them is logged.
 */
export function often(
  log: Log,
  level: Level,
  event: string,
  period: number = PERIOD_MS,
): (fields: Fields) => void {
  let more = 0;
  let isQuiet = true;
  const look = () => {
    if (more === 0) return void (isQuiet = true);
    log(level, event, { more, seconds: period / 1000 });
    more = 0;
    wait();
  };
  const wait = () => void setTimeout(look, period).unref?.();
  return (fields) => {
    if (!isQuiet) {
      more++;
      return log("debug", event, fields);
    }
    isQuiet = false;
    log(level, event, fields);
    wait();
  };
}
