/**
 * What was written to a control plane and answered, and whether a side holds exactly that.
 *
 * @module
 */

import { newRoom, person } from "../../../helpers/sqlite.ts";
import type { Records } from "../raw.ts";

/** What a name stands for: a user, or a room with its members and their keys. */
type Kind = "user" | "room";

interface Written {
  keys: string[];
  /** Whether it is there; null if that is not known, as its last write was not answered. */
  there: boolean | null;
  /** What the write that is not answered would make of it. */
  wanted: boolean;
  /** Counts its writes. */
  version: number;
}

/** The keys of the records of a name. */
function keysOf(kind: Kind, name: string): string[] {
  if (kind === "user") return [JSON.stringify(["users", person(name).signPub])];
  const { id, owner, members } = newRoom(name);
  const all = [owner, ...members];
  return [
    ["rooms", id],
    ...all.map(({ endpoint }) => ["members", id, endpoint]),
    ...all.map(({ endpoint }) => ["room_keys", id, "1", endpoint]),
  ].map((it) => JSON.stringify(it));
}

/** What was written. */
export class Ledger {
  /** Number of writes that were answered. */
  acknowledged = 0;
  readonly #written = new Map<string, Written>();
  /** Records that nobody writes. */
  readonly #fixed: Records;
  /** Each record as it was seen, and the version of its name then. */
  #seen = new Map<string, { text: string; version: number }>();

  /** @param fixed What is there before anything is written */
  constructor(fixed: Records) {
    this.#fixed = fixed;
  }

  begin(kind: Kind, name: string, wanted: boolean): void {
    const before = this.#written.get(name);
    const keys = before?.keys ?? keysOf(kind, name);
    const version = (before?.version ?? 0) + 1;
    this.#written.set(name, { keys, there: null, wanted, version });
  }

  acknowledge(name: string): void {
    const it = this.#written.get(name)!;
    it.there = it.wanted;
    this.acknowledged++;
  }

  /** What became of it is not known, and is not asked again. */
  fail(name: string): void {
    this.#written.get(name)!.there = null;
  }

  /** Returns how what was found differs from what was written. */
  differences(found: Records): string[] {
    const wrong: string[] = [];
    const known = new Set<string>();
    const seen = new Map<string, { text: string; version: number }>();
    for (const [name, { keys, there, version }] of this.#written) {
      const present = keys.filter((it) => found.has(it));
      if (present.length > 0 && present.length < keys.length) {
        wrong.push(`${name} is there in part: ${present.length} of ${keys.length}`);
      }
      if (there !== null && (present.length > 0) !== there) {
        wrong.push(`${name} ${there ? "is missing" : "came back"}`);
      }
      for (const key of keys) {
        known.add(key);
        const text = found.get(key);
        const before = this.#seen.get(key);
        if (text === undefined) continue;
        if (there !== null) seen.set(key, { text, version });
        if (before?.version === version && before.text !== text) {
          wrong.push(`${key} is ${text}, it was ${before.text}`);
        }
      }
    }
    for (const [key, text] of this.#fixed) {
      if (found.get(key) !== text) wrong.push(`${key} is ${found.get(key)}, it was ${text}`);
    }
    for (const key of found.keys()) {
      if (!known.has(key) && !this.#fixed.has(key)) wrong.push(`${key} was never written`);
    }
    this.#seen = seen;
    return wrong;
  }
}
