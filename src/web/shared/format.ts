/**
 * Values as an operator reads them: times, lives, bytes, keys.
 *
 * @module
 */

import { wordFor } from "../../core/text/counted.ts";

/** A key or id, shortened in the middle; its ends are what people compare. */
export function shortKey(key: string): string {
  return key.length <= 16 ? key : `${key.slice(0, 8)}…${key.slice(-6)}`;
}

/**
 * Emoji and the marks that belong to the letter before them, which are left; and characters that are not
 * seen, or change what is: direction, joining, breaking, letters that are blank.
 */
const UNSEEN =
  /\p{RGI_Emoji}|(?<=\p{M})\u200d|(?<=[\p{L}\p{M}\p{S}])\p{VS}|([\p{Cf}\p{Cc}\p{Zl}\p{Zp}\p{DI}\u2800])/gv;

/** A text that a user chose, unchanged: a character that would not be seen is shown as ⟨202E⟩. */
export function visible(text: string): string {
  return text.replace(
    UNSEEN,
    (it, unseen?: string) =>
      unseen === undefined
        ? it
        : `⟨${unseen.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}⟩`,
  );
}

const UNITS = ["B", "KB", "MB", "GB", "TB", "PB"] as const;

/** Bytes with three digits: `1.23 MB`. Powers of 1,000, as disks are sold. */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

const NUMBER = new Intl.NumberFormat("en");

/** A count with separators: `10,000`. */
export function number(count: number): string {
  return NUMBER.format(count);
}

/** A count with its noun: `1 user`, `2 users`. */
export function counted(count: number, noun: string, plural?: string): string {
  return `${number(count)} ${wordFor(count, noun, plural)}`;
}

/** A duration in milliseconds with two digits or so: `0.4 ms`, `12 ms`, `1.3 s`. */
export function millis(ms: number): string {
  if (ms >= 9950) return `${Math.round(ms / 1000)} s`;
  if (ms >= 995) return `${(ms / 1000).toFixed(1)} s`;
  return ms >= 9.95 ? `${Math.round(ms)} ms` : `${Number(ms.toFixed(1))} ms`;
}

const DAY = 86_400_000;
const STEPS = [
  [90_000, 1_000, "second"],
  [90 * 60_000, 60_000, "minute"],
  [2 * DAY, 3_600_000, "hour"],
  [60 * DAY, DAY, "day"],
  [700 * DAY, 30.44 * DAY, "month"],
  [Infinity, 365.25 * DAY, "year"],
] as const;

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "always" });

/** A time as seen from `now`: `3 minutes ago`, `in 7 days`; what cannot be read is said so. */
export function ago(time: string, now: number): string {
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) return "at an unreadable time";
  const away = ms - now;
  const size = Math.abs(away);
  if (size < 5_000) return "just now";
  const [, unit, name] = STEPS.find(([below]) => size < below)!;
  return RELATIVE.format(Math.round(away / unit), name);
}

/**
 * A time that has passed, as seen from `now`. The server's clock may be ahead of ours, and `now` a while
 * old: what seems to lie ahead has happened just now.
 */
export function since(time: string, now: number): string {
  return ago(time, Math.max(now, Date.parse(time)));
}

/** How long something lasts: `7 days`, `36 hours`, `5 minutes`. */
export function lasts(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  if (minutes >= 2 * 1_440) return counted(Math.round(minutes / 1_440), "day");
  if (minutes >= 2 * 60) return counted(Math.round(minutes / 60), "hour");
  if (minutes >= 2) return counted(minutes, "minute");
  return counted(Math.round(ms / 1000), "second");
}

/** Says how far the clock here is ahead of the server's, or behind it; milliseconds. */
export function clockWords(ahead: number): string {
  const side = ahead > 0 ? "ahead of" : "behind";
  return `The clock of this device is ${lasts(Math.abs(ahead))} ${side} the server's.`;
}

const two = (value: number): string => String(value).padStart(2, "0");

/** The date and time here, to the second: `2026-11-20 08:00:00`. */
export function moment(time: string | number): string {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return String(time);
  return `${date(time)} ${clock(time)}:${two(at.getSeconds())}`;
}

/** The date here: `2026-11-20`. */
export function date(time: string | number): string {
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return String(time);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** The time of day here, to the minute: `08:00`. */
export function clock(time: string | number): string {
  const at = new Date(time);
  return `${two(at.getHours())}:${two(at.getMinutes())}`;
}
