/**
 * Parses values of flags.
 *
 * @module
 */

import { InvalidArgumentError } from "@commander-js/extra-typings";
import { serverUrls } from "../src/nats/connection/servers.ts";

/** Creates a parser of whole numbers between `min` and `max`. */
export function wholeNumber(min: number, max: number = Number.MAX_SAFE_INTEGER) {
  return (text: string): number => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
    throw new InvalidArgumentError(`It must be a whole number ${range}.`);
  };
}

/** Parses a number of seconds up to 3600; fractions are allowed. */
export function seconds(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (value > 0 && value <= 3600) return value;
  throw new InvalidArgumentError("It must be a number of seconds, at most 3600.");
}

const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;

/** Parses a duration such as `90m`, `12h`, `7d` or `2w`; returns milliseconds. */
export function duration(text: string): number {
  const ms = agoOf(text);
  if (ms > 0) return ms;
  throw new InvalidArgumentError("It must be a number with a unit, such as 90m, 12h, 7d or 2w.");
}

/** Parses a time in the past, such as `7d` ago or `2026-01-31`; returns ISO 8601. */
export function past(text: string): string {
  const isDate = /^\d{4}-\d\d-\d\d(T[\d:.]+Z)?$/.test(text);
  const ms = isDate ? Date.parse(text) : Date.now() - agoOf(text);
  if (!Number.isNaN(ms)) return new Date(Math.max(0, ms)).toISOString();
  throw new InvalidArgumentError("It must be a time such as 90m, 7d or 2026-01-31.");
}

function agoOf(text: string): number {
  const [, number, unit] = /^(\d{1,9})([smhdw])$/.exec(text) ?? [];
  return Number(number) * (UNITS[unit as keyof typeof UNITS] ?? NaN);
}

/**
 * Collects URLs: the flag can be repeated, and a value can contain several, separated by commas.
 */
export function urls(text: string, before: string[] | undefined): string[] {
  const found = serverUrls(text);
  if (found.length === 0) throw new InvalidArgumentError("It must not be empty.");
  return [...before ?? [], ...found];
}
