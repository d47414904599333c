/**
 * Validates records one by one and against each other: those from outside before a backend stores them,
 * and stored ones before they are migrated, exported or reported as healthy.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";
import { isStoreError, type RecordProblem, StoreError } from "../errors.ts";
import type { Room, StoreRecord } from "../model.ts";
import { compareRecords, keyText } from "../order.ts";
import { problemOf, Problems, Unreadable } from "./problems.ts";
import { record, show, storedRecord } from "../validate.ts";

/** The stored records of a backend, in canonical order. */
export interface StoredRecords {
  /** Yields every record, including those that cannot be read. */
  all(): Iterable<StoreRecord | Unreadable>;
  /** Returns whether a record with this key is stored. */
  has(record: StoreRecord): boolean;
}

/** Why a record is inconsistent with those before it. */
interface Misfit {
  field: string;
  problem: string;
}

/** Checks a stream of records. Needs memory for one small entry per room. */
class RecordCheck {
  readonly #rooms = new Map<string, Pick<Room, "owner" | "epoch" | "encrypted">>();
  readonly #withoutOwner = new Set<string>();
  #previous: StoreRecord | null = null;

  /** Checks that a record is in order and consistent with those before it. */
  fits(given: StoreRecord, as: StoreRecord = given): Misfit | null {
    const previous = this.#previous;
    this.#previous = given;
    const related = this.#related(as);
    return previous !== null && compareRecords(previous, given) >= 0
      ? { field: "order", problem: `is out of order: it follows ${keyText(previous)}` }
      : related;
  }

  /** Remembers what could be read of a record, for those that refer to it. */
  note(given: StoreRecord): void {
    this.#related(given);
    // Whether it has an owner is unknown.
    if (given.kind === "rooms") this.#withoutOwner.delete(given.record.id);
  }

  #related({ kind, record }: StoreRecord): Misfit | null {
    if (kind === "rooms") {
      const { id, owner, epoch, encrypted } = record;
      this.#rooms.set(id, { owner, epoch, encrypted });
      this.#withoutOwner.add(id);
    } else if (kind === "members") {
      const room = this.#rooms.get(record.roomId);
      if (room === undefined) return { field: "roomId", problem: "belongs to no room" };
      const owns = room.owner === record.endpoint;
      if (owns) this.#withoutOwner.delete(record.roomId);
      if (owns !== (record.role === "owner")) {
        return {
          field: "role",
          problem: `has the role ${record.role}, the room's owner is ${room.owner}`,
        };
      }
    } else if (kind === "room_keys") {
      const room = this.#rooms.get(record.roomId);
      if (room === undefined) return { field: "roomId", problem: "belongs to no room" };
      if (!room.encrypted) return { field: "roomId", problem: "belongs to a cleartext room" };
      if (record.epoch > room.epoch) {
        return {
          field: "epoch",
          problem: `is ahead of the room, which is at epoch ${room.epoch}`,
        };
      }
    }
    return null;
  }

  /** Yields rooms whose owner is not among the members so far, each once. */
  *ownerless(): Generator<{ id: string; owner: string }> {
    for (const id of this.#withoutOwner) yield { id, owner: this.#rooms.get(id)!.owner };
    this.#withoutOwner.clear();
  }
}

const OWNERLESS = "has no member who is its owner";

/**
 * Yields records after checking that each is valid, that they are in canonical order without duplicates,
 * that every member and sealed key has its room, and every room its owner.
 *
 * @throws {StoreError} `invalid`
 */
export async function* checkedRecords(
  source: AsyncIterable<StoreRecord> | Iterable<StoreRecord>,
): AsyncGenerator<StoreRecord> {
  const check = new RecordCheck();
  for await (const raw of source) {
    const valid = record(raw.kind, raw.record);
    const misfit = check.fits(valid);
    if (misfit !== null) {
      const message = `Record ${keyText(valid)} ${misfit.problem}`;
      throw new StoreError("invalid", message, { field: misfit.field });
    }
    yield valid;
  }
  for (const { id } of check.ownerless()) {
    throw new StoreError("invalid", `Room ${id} ${OWNERLESS}`, { field: "owner" });
  }
}

/** Checks stored records one by one, without stopping at the first problem. */
export class StoredCheck {
  readonly #check = new RecordCheck();
  readonly #has: StoredRecords["has"];

  /** @param has Returns whether a record with this key is stored */
  constructor(has: StoredRecords["has"]) {
    this.#has = has;
  }

  /** Returns the problem of the next record, or `null` if it is valid and consistent. */
  take(raw: StoreRecord | Unreadable): RecordProblem | null {
    if (raw instanceof Unreadable) {
      if (raw.read !== null) this.#check.note(raw.read);
      return raw.problem;
    }
    try {
      const misfit = this.#check.fits(storedRecord(raw.kind, raw.record));
      return misfit && problemOf(raw, misfit.field, misfit.problem);
    } catch (error) {
      if (!isStoreError(error, "invalid")) throw error;
      const mended = lowerCase(raw);
      this.#check.fits(raw, mended ?? raw);
      const taken = mended !== null && compareRecords(mended, raw) !== 0 && this.#has(mended);
      const message = taken
        ? `${error.message}, and ${keyText(mended)} is also stored`
        : error.message;
      const problem = problemOf(raw, error.field ?? "value", message);
      return { ...problem, repairable: mended !== null && !taken };
    }
  }

  /** Yields the problems of the records as a whole, after the last one. */
  *end(): Generator<RecordProblem> {
    for (const { id, owner } of this.#check.ownerless()) {
      yield {
        kind: "rooms",
        key: show(`rooms ${id}`, 400),
        field: "owner",
        value: show(owner, 64),
        message: OWNERLESS,
        repairable: false,
      };
    }
  }
}

/** Yields the stored records that are valid and consistent, and adds the others to `problems`. */
export function* validRecords(stored: StoredRecords, problems: Problems): Generator<StoreRecord> {
  const check = new StoredCheck((it) => stored.has(it));
  for (const raw of stored.all()) {
    const problem = check.take(raw);
    if (problem === null) yield raw as StoreRecord;
    else problems.add(problem);
  }
  for (const problem of check.end()) problems.add(problem);
}

/** Returns the record with its keys in lower case, or `null` if it has other problems. */
export function lowerCase(raw: StoreRecord): StoreRecord | null {
  try {
    return record(raw.kind, raw.record);
  } catch {
    return null;
  }
}

/** Number of records between two yields to the event loop. */
const TURN = 2000;

/**
 * Checks all stored records.
 *
 * @param onTurn Called now and then with the number of valid records so far; its errors end the check
 * @returns The number of valid records, and the problems of the others
 */
export async function inspectRecords(
  stored: StoredRecords,
  onTurn: (done: number) => void = () => {},
): Promise<{ valid: number; problems: Problems }> {
  const problems = new Problems();
  let valid = 0;
  for (const _ of validRecords(stored, problems)) {
    if (++valid % TURN !== 0) continue;
    onTurn(valid);
    await setImmediate();
  }
  return { valid, problems };
}
