/**
 * The server's log: one line per event.
 *
 * @module
 */

import { safeJson } from "./output.ts";

/** Levels in ascending order. */
const LEVELS = ["debug", "info", "warn", "error"] as const;

/** The level of an event. */
export type Level = (typeof LEVELS)[number];

/** Fields of an event; undefined ones are omitted. */
export type Fields = Readonly<Record<string, unknown>>;

/** Logs an event. */
export type Log = (level: Level, event: string, fields?: Fields) => void;

/** Options of {@link createLog}. */
export interface LogOptions {
  /** The format of lines. */
  format: "text" | "json";
  /** The minimum level. */
  level: Level;
  /** Secrets to redact from all values; may grow. */
  secrets: readonly string[];
  /** Writes a line. */
  write: (line: string) => void;
  /** Returns the current time. Default: the system clock. */
  clock?: () => Date;
}

/** Maximum length of a field's value, so that a client cannot fill the disk. */
const LONGEST = 2_000;

/** Creates a log. */
export function createLog(options: LogOptions): Log {
  const { format, level: least, write, clock = () => new Date() } = options;
  const { secrets } = options;
  const show = (value: unknown): string | number | boolean | null => {
    if (value === null || typeof value === "number" || typeof value === "boolean") return value;
    const text = value instanceof Error ? value.message : String(value);
    const hidden = secrets.reduce(
      (it, secret) => secret === "" ? it : it.replaceAll(secret, "***"),
      text,
    );
    return hidden.length > LONGEST ? `${hidden.slice(0, LONGEST)}…` : hidden;
  };
  return (level, event, fields = {}) => {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(least)) return;
    const time = clock().toISOString();
    const shown = Object.entries(fields).filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, show(value)] as const);
    write(
      format === "json"
        ? safeJson({ time, level, event, ...Object.fromEntries(shown) })
        : [time, level.toUpperCase().padEnd(5), event, ...shown.map(asText)].join(" "),
    );
  };
}

/** Characters that require quotes in a line of text. */
// deno-lint-ignore no-control-regex
const ODD = /[\s"=\\\u0000-\u001f\u007f-\u009f]|\p{Cf}/u;

/** Formats `name=value`, quoted if needed. */
function asText([name, value]: readonly [string, string | number | boolean | null]): string {
  if (typeof value !== "string") return `${name}=${value ?? "-"}`;
  return `${name}=${value === "" || ODD.test(value) ? safeJson(value) : value}`;
}
