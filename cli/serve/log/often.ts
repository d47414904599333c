/**
 * Limits log lines of frequent events, such as when all clients reconnect or the store is
 * unavailable.
 *
 * @module
 */

import type { Fields, Level, Log } from "../../terminal/log.ts";

/** Time in milliseconds during which repeated events are only counted. */
const PERIOD_MS = 10_000;

/**
 * Creates a logger of an event: logs the first occurrence in full, then the number of further ones
 * once per period. At level `debug`, all are logged.
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
