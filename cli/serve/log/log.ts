/**
 * The server's log: one line an event.
 *
 * @module
 */

/** How much an event may matter, from the least on. */
const LEVELS = ["debug", "info", "warn", "error"] as const;

/** How much an event matters. */
export type Level = (typeof LEVELS)[number];

/** Particulars of an event; what is undefined is left out. */
export type Fields = Readonly<Record<string, unknown>>;

/** Where events go. */
export type Log = (level: Level, event: string, fields?: Fields) => void;

/** How a log is written. */
export interface LogOptions {
  /** For people or for machines. */
  format: "text" | "json";
  /** The least level that is written. */
  level: Level;
  /** Text that never appears, wherever it came from. */
  secrets: readonly string[];
  /** Writes a line. */
  write: (line: string) => void;
  /** The time now; the system clock by default. */
  clock?: () => Date;
}

/** Longest value of a field, characters: what a stranger sent must not fill the disk. */
const LONGEST = 2_000;

/** Makes a log. */
export function createLog(options: LogOptions): Log {
  const { format, level: least, write, clock = () => new Date() } = options;
  const secrets = options.secrets.filter((it) => it.length > 0);
  const show = (value: unknown): string | number | boolean | null => {
    if (value === null || typeof value === "number" || typeof value === "boolean") return value;
    const text = value instanceof Error ? value.message : String(value);
    const hidden = secrets.reduce((it, secret) => it.replaceAll(secret, "***"), text);
    return hidden.length > LONGEST ? `${hidden.slice(0, LONGEST)}…` : hidden;
  };
  return (level, event, fields = {}) => {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(least)) return;
    const time = clock().toISOString();
    const shown = Object.entries(fields).filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, show(value)] as const);
    write(
      format === "json"
        ? asJson({ time, level, event, ...Object.fromEntries(shown) })
        : [time, level.toUpperCase().padEnd(5), event, ...shown.map(asText)].join(" "),
    );
  };
}

/** JSON that a terminal shows as it is: JSON itself leaves some control characters bare. */
function asJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\u009f\u2028\u2029]|\p{Cf}/gu,
    (it) => [...Array(it.length).keys()].map((i) => escaped(it.charCodeAt(i))).join(""),
  );
}

function escaped(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, "0")}`;
}

/** What a word of a line of text may not hold. */
// deno-lint-ignore no-control-regex
const ODD = /[\s"=\\\u0000-\u001f\u007f-\u009f]|\p{Cf}/u;

/** `name=value`, in quotes where it would not be one word. */
function asText([name, value]: readonly [string, string | number | boolean | null]): string {
  if (typeof value !== "string") return `${name}=${value ?? "-"}`;
  return `${name}=${value === "" || ODD.test(value) ? asJson(value) : value}`;
}
