/**
 * The lines of the history in a snapshot: where the chain of the entries begins, then the entries.
 *
 * @module
 */

import { createHash, type Hash } from "node:crypto";
import { StoreError } from "../core/errors.ts";
import { headAfter } from "../core/history/chain.ts";
import type { HistoryAction, HistoryEntry, SmallValues } from "../core/history/entry.ts";
import { compareRevisionTexts, formatRevision, parseRevision } from "../core/history/revision.ts";
import type { ChainEnd } from "../core/history/source.ts";
import { hashId } from "../core/validate.ts";
import { CHUNK_LENGTH, parseObject, type SnapshotHistory, where } from "./format.ts";
import { counted } from "../core/text/counted.ts";
import * as check from "../core/validate.ts";

/** Returns the line before the entries, without its newline. */
export function encodeStart({ revision, head }: ChainEnd): string {
  return JSON.stringify({ kind: "history_start", revision, head });
}

/** Returns the line of an entry, without its newline. */
export function encodeEntry(entry: HistoryEntry): string {
  const { revision, at, by, action, user, room, invite, before, after } = entry;
  const fields = { revision, at, by, action, user, room, invite, before, after };
  return JSON.stringify({ kind: "history", ...fields });
}

/** Returns whether a line is the one before the entries. */
export function isStart(line: string): boolean {
  return line.startsWith('{"kind":"history_start"');
}

/**
 * Decodes the line before the entries.
 *
 * @throws {StoreError} `corrupt`: not in canonical form; `invalid`: a field is invalid
 */
export function decodeStart(line: string): ChainEnd {
  const { revision = null, head } = parseObject(line) ?? {};
  const start = {
    revision: revision === null ? null : formatRevision(parseRevision("revision", revision)),
    head: hashId("head", head),
  };
  return canonical(start, encodeStart(start), line);
}

/**
 * Decodes the line of an entry.
 *
 * @throws {StoreError} `corrupt`: not in canonical form; `invalid`: a field is invalid
 */
export function decodeEntry(line: string): HistoryEntry {
  const value = parseObject(line);
  if (value?.kind !== "history") {
    throw new StoreError("corrupt", "Line is not an entry of the history");
  }
  const entry = historyEntry(value);
  return canonical(entry, encodeEntry(entry), line);
}

function canonical<T>(value: T, text: string, line: string): T {
  if (text === line) return value;
  throw new StoreError("corrupt", `Line is not in canonical form ${where(text, line)}`);
}

/** Adds up the entries of a snapshot. */
export class HistoryDigest {
  readonly #start: ChainEnd;
  readonly #hash: Hash = createHash("sha256");
  #count = 0;
  #text = "";
  #end: ChainEnd;

  constructor(start: ChainEnd) {
    this.#start = start;
    this.#end = start;
  }

  /** The revision of the entry before this one does not come before it. */
  isOutOfOrder({ revision }: HistoryEntry): boolean {
    const { revision: last } = this.#end;
    return last !== null && compareRevisionTexts(last, revision) >= 0;
  }

  /** Adds an entry. */
  add(entry: HistoryEntry, line: string): void {
    this.#count++;
    this.#end = { revision: entry.revision, head: headAfter(this.#end.head, entry) };
    this.#text += line + "\n";
    if (this.#text.length >= CHUNK_LENGTH) this.#flush();
  }

  /** Returns what was added. */
  summary(): SnapshotHistory {
    this.#flush();
    const digest = this.#hash.copy().digest("hex");
    return { count: this.#count, digest, start: this.#start, end: this.#end };
  }

  #flush(): void {
    this.#hash.update(this.#text);
    this.#text = "";
  }
}

/** Most values before or after a change. */
const MOST = 20;
/** Longest text among them, characters. */
const LONGEST = 1000;

/**
 * Validates an entry. An action that this version does not know is accepted: a newer one may have
 * written it.
 *
 * @throws {StoreError} `invalid`; `field` names the field
 */
function historyEntry(value: unknown): HistoryEntry {
  const given = check.object("entry", value);
  const nullable = <T>(field: string, read: (field: string, value: unknown) => T): T | null =>
    given[field] === null ? null : read(field, given[field]);
  return {
    revision: formatRevision(parseRevision("revision", given.revision)),
    at: check.time("at", given.at),
    by: check.createdBy("by", given.by),
    action: action(given.action),
    user: nullable("user", check.hashId),
    room: nullable("room", check.roomId),
    invite: nullable("invite", check.hashId),
    before: nullable("before", small),
    after: nullable("after", small),
  };
}

function action(value: unknown): HistoryAction {
  if (typeof value === "string" && /^[a-z_]{1,30}\.[a-z_]{1,30}$/.test(value)) {
    return value as HistoryAction;
  }
  throw check.invalid(
    "action",
    `action must be one such as user.added, found ${check.show(value)}`,
  );
}

function small(field: string, value: unknown): SmallValues {
  const values = Object.entries(check.object(field, value));
  const isSmall = ([name, it]: [string, unknown]) =>
    name.length <= 30 && (it === null || typeof it === "boolean" || Number.isFinite(it) ||
      typeof it === "string" && it.length <= LONGEST);
  const wrong = values.find((it) => !isSmall(it));
  if (values.length <= MOST && wrong === undefined) {
    return Object.fromEntries(values) as SmallValues;
  }
  const found = wrong === undefined ? counted(values.length, "value") : check.show(wrong[1]);
  throw check.invalid(field, `${field} must have few small values, found ${found}`);
}
