/**
 * Records checked one by one and against each other: those from outside before a backend sees them,
 * those that are stored before they are moved, exported or called healthy.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";
import { isStoreError, type RecordProblem, StoreError } from "../errors.ts";
import type { Room, StoreRecord } from "../model.ts";
import { compareRecords, keyText } from "../order.ts";
import { problemOf, Problems, Unreadable } from "./problems.ts";
import { record, show, storedRecord } from "../validate.ts";

/** What a backend holds as it holds it, in canonical order. */
export interface StoredRecords {
  /** Every record, also those that cannot be read. */
  all(): Iterable<StoreRecord | Unreadable>;
  /** Whether a record with this key is stored. */
  has(it: StoreRecord): boolean;
}

/** Why a record does not fit those before it. */
interface Misfit {
  field: string;
  problem: string;
}

/** Checks records as they go by. Holds one small entry a room, nothing for the rest. */
class RecordCheck {
  readonly #rooms = new Map<string, Pick<Room, "owner" | "epoch" | "encrypted">>();
  readonly #withoutOwner = new Set<string>();
  #previous: StoreRecord | null = null;

  /** Checks that a record comes behind the one before, and fits those before it. */
  fits(it: StoreRecord, as: StoreRecord = it): Misfit | null {
    const previous = this.#previous;
    this.#previous = it;
    const related = this.#related(as);
    return previous !== null && compareRecords(previous, it) >= 0
      ? { field: "order", problem: `does not come behind ${keyText(previous)}` }
      : related;
  }

  /** Notes what could be read of a record, for those that refer to it. */
  note(it: StoreRecord): void {
    this.#related(it);
    // What else is wrong with it cannot be told.
    if (it.kind === "rooms") this.#withoutOwner.delete(it.record.id);
  }

  #related(it: StoreRecord): Misfit | null {
    if (it.kind === "rooms") {
      const { id, owner, epoch, encrypted } = it.record;
      this.#rooms.set(id, { owner, epoch, encrypted });
      this.#withoutOwner.add(id);
    } else if (it.kind === "members") {
      const room = this.#rooms.get(it.record.roomId);
      if (room === undefined) return { field: "roomId", problem: "belongs to no room" };
      const owns = room.owner === it.record.endpoint;
      if (owns) this.#withoutOwner.delete(it.record.roomId);
      if (owns !== (it.record.role === "owner")) {
        return {
          field: "role",
          problem: `has the role ${it.record.role}, the room's owner is ${room.owner}`,
        };
      }
    } else if (it.kind === "room_keys") {
      const room = this.#rooms.get(it.record.roomId);
      if (room === undefined) return { field: "roomId", problem: "belongs to no room" };
      if (!room.encrypted) return { field: "roomId", problem: "belongs to a cleartext room" };
      if (it.record.epoch > room.epoch) {
        return {
          field: "epoch",
          problem: `is ahead of the room, which is at epoch ${room.epoch}`,
        };
      }
    }
    return null;
  }

  /** Rooms whose owner is not among the members seen so far; each is named once. */
  *ownerless(): Generator<{ id: string; owner: string }> {
    for (const id of this.#withoutOwner) yield { id, owner: this.#rooms.get(id)!.owner };
    this.#withoutOwner.clear();
  }
}

const OWNERLESS = "has no member who is its owner";

/**
 * Passes records on when each is within its limits, they come in canonical order without a
 * repetition, every member and sealed key has its room, and every room its owner.
 */
export async function* checkedRecords(
  source: AsyncIterable<StoreRecord> | Iterable<StoreRecord>,
): AsyncGenerator<StoreRecord> {
  const check = new RecordCheck();
  for await (const raw of source) {
    const it = record(raw.kind, raw.record);
    const misfit = check.fits(it);
    if (misfit !== null) {
      const message = `Record ${keyText(it)} ${misfit.problem}`;
      throw new StoreError("invalid", message, { field: misfit.field });
    }
    yield it;
  }
  for (const { id } of check.ownerless()) {
    throw new StoreError("invalid", `Room ${id} ${OWNERLESS}`, { field: "owner" });
  }
}

/** Checks stored records one by one; finds what is wrong with each. */
export class StoredCheck {
  readonly #check = new RecordCheck();
  readonly #has: StoredRecords["has"];

  /** @param has Whether a record with this key is stored */
  constructor(has: StoredRecords["has"]) {
    this.#has = has;
  }

  /** What is wrong with the next record, `null` when it is valid and fits those before it. */
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
        ? `${error.message}, and ${keyText(mended)} is stored too`
        : error.message;
      const problem = problemOf(raw, error.field ?? "value", message);
      return { ...problem, repairable: mended !== null && !taken };
    }
  }

  /** What is wrong with the records as a whole, once all were taken. */
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

/** Gives the stored records that are valid and fit together; the others go to `problems`. */
export function* validRecords(stored: StoredRecords, problems: Problems): Generator<StoreRecord> {
  const check = new StoredCheck((it) => stored.has(it));
  for (const raw of stored.all()) {
    const problem = check.take(raw);
    if (problem === null) yield raw as StoreRecord;
    else problems.add(problem);
  }
  for (const problem of check.end()) problems.add(problem);
}

/** The record with its keys in lower case, `null` when more than that is wrong with it. */
export function lowerCase(raw: StoreRecord): StoreRecord | null {
  try {
    return record(raw.kind, raw.record);
  } catch {
    return null;
  }
}

/** Records between two turns of the event loop. */
const TURN = 2000;

/**
 * Checks all stored records; says what is wrong and how many are valid.
 *
 * @param onTurn Called now and then with the number of records so far; what it throws ends the check
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
