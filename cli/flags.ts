/**
 * Values of flags, read from text.
 *
 * @module
 */

import { InvalidArgumentError } from "@commander-js/extra-typings";

/** Reads a whole number of at least `min`. */
export function wholeNumber(min: number, max: number = Number.MAX_SAFE_INTEGER) {
  return (text: string): number => {
    const it = /^\d+$/.test(text) ? Number(text) : NaN;
    if (it >= min && it <= max) return it;
    const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
    throw new InvalidArgumentError(`It must be a whole number ${range}.`);
  };
}

/** Reads seconds, fractions allowed, up to an hour. */
export function seconds(text: string): number {
  const it = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (it > 0 && it <= 3600) return it;
  throw new InvalidArgumentError("It must be a number of seconds, at most 3600.");
}

const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;

/** Reads a length of time such as `90m`, `12h`, `7d`, `2w`; gives milliseconds. */
export function duration(text: string): number {
  const [, number, unit] = /^(\d{1,9})([smhdw])$/.exec(text) ?? [];
  const it = Number(number) * (UNITS[unit as keyof typeof UNITS] ?? NaN);
  if (it > 0) return it;
  throw new InvalidArgumentError("It must be a number with a unit, such as 90m, 12h, 7d or 2w.");
}

/** Collects URLs: the flag may be repeated, and a value may hold several, with commas between them. */
export function urls(text: string, before: string[] | undefined): string[] {
  const found = text.split(",").map((it) => it.trim()).filter((it) => it !== "");
  if (found.length === 0) throw new InvalidArgumentError("It must not be empty.");
  return [...before ?? [], ...found];
}
