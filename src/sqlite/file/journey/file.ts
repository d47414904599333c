/**
 * A file whose control plane moves while it is in use: a connection of its own for the move.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { pause } from "../../../core/async/wait.ts";
import type { Kind, StoreRecord } from "../../../core/model.ts";
import type { RecordKey } from "../../../core/order.ts";
import { connect, readFrom, run, transaction, value } from "../connect.ts";
import { causeOf, isBusy, toStoreError } from "../errors.ts";
import { type FileRole, type Place, readRole, setJourney, setRole } from "../role.ts";
import { HistoryTable } from "../../history/table.ts";
import { schemaVersion } from "../schema.ts";
import { pointReader, storeIdOf } from "../source.ts";
import {
  beginJourney,
  type Destination,
  endJourney,
  forget,
  type Journey,
  nextAttempt,
  own,
  readJourney,
} from "./journey.ts";
import { type Note, readNotes } from "./notes.ts";
import { createFreeze, dropTriggers } from "./triggers.ts";

/** How long a step waits for another writer, milliseconds. Each try blocks the process for the first. */
const TRY_MS = 20;

/** A file during a live move. */
export class JourneyFile implements Disposable {
  /** Absolute path. */
  readonly path: string;
  /** Identity of the control plane. */
  readonly storeId: string;
  /** Reads a record by its key. */
  readonly get: (kind: Kind, key: RecordKey) => StoreRecord | null;
  /** The history. */
  readonly history: HistoryTable;
  readonly #db: DatabaseSync;

  constructor(path: string) {
    this.path = path;
    const db = connect(path, { busyTimeout: TRY_MS });
    try {
      schemaVersion(db, path);
      this.storeId = storeIdOf(db, path);
      this.get = pointReader(db);
      this.history = new HistoryTable(db);
    } catch (error) {
      db.close();
      throw toStoreError(error, `Opening ${path}`);
    }
    this.#db = db;
  }

  /** What the file is now. */
  get role(): FileRole {
    return this.#guarded(() => readRole(this.#db));
  }

  /** Its live move. */
  get journey(): Journey | null {
    return this.#guarded(() => readJourney(this.#db));
  }

  /** The move that was called off last without its bucket; null if there is none. */
  get abandoned(): string | null {
    return this.journey === null ? this.role.journey : null;
  }

  /** The number of noted changes. */
  get lag(): number {
    return this.#guarded(() => Number(value(this.#db, "SELECT count(*) FROM journey_changes")));
  }

  /** Begins a live move, or continues it as its next run. */
  begin(to: Destination): Promise<Journey> {
    return this.#write(() => beginJourney(this.#db, this.path, to));
  }

  /** Makes the caller the run that owns the move. */
  takeOver(journey: Journey): Promise<Journey> {
    return this.#write(() => nextAttempt(this.#db, journey));
  }

  /** Returns the oldest noted changes. */
  notes(limit: number): Note[] {
    return this.#guarded(() => readNotes(this.#db, limit));
  }

  /** Forgets the noted changes up to one. */
  drop(upTo: number): Promise<void> {
    return this.#write(() => {
      this.#db.prepare("DELETE FROM journey_changes WHERE seq <= ?").run(upTo);
    });
  }

  /**
   * Stops all writers of records, of whatever process.
   *
   * @throws {StoreError} `conflict`: another run owns the move; `unavailable`: another writer is slow
   */
  freeze(journey: Journey, patience: number): Promise<void> {
    return this.#write(() => {
      own(this.#db, journey, "UPDATE journey SET attempt = attempt WHERE attempt = ?");
      createFreeze(this.#db, journey.bucket);
      this.#db.prepare("UPDATE file_role SET frozen_at = ?").run(Date.now());
    }, patience);
  }

  /** Lets writers in again. */
  thaw(journey: Journey): Promise<void> {
    return this.#write(() => {
      own(this.#db, journey, "UPDATE journey SET attempt = attempt WHERE attempt = ?");
      dropTriggers(this.#db, "freeze");
      run(this.#db, "UPDATE file_role SET frozen_at = NULL");
    });
  }

  /** Records that the control plane has moved. Idempotent. */
  setMoved({ id, generation }: Journey, place: Place): Promise<void> {
    return this.#write(() => {
      if (readRole(this.#db).role === "moved") return;
      forget(this.#db);
      setRole(this.#db, "moved", place);
      this.#db.prepare("UPDATE file_role SET generation = ?, journey = ?, frozen_at = NULL")
        .run(generation, id);
    });
  }

  /** Ends a move that was called off. */
  end(): Promise<void> {
    return this.#write(() => endJourney(this.#db));
  }

  /** Ends a move whose bucket could not be told, so that the file knows of it when the bucket is back. */
  abandon({ id }: Journey): Promise<void> {
    return this.#write(() => {
      endJourney(this.#db);
      setJourney(this.#db, id);
    });
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw toStoreError(error, `Moving ${this.path}`);
    }
  }

  /** Runs a transaction. Waits for other writers without blocking the process for long. */
  async #write<T>(work: () => T, patience = 5000): Promise<T> {
    const until = performance.now() + patience;
    for (;;) {
      try {
        return this.#guarded(() => transaction(this.#db, "BEGIN IMMEDIATE", work));
      } catch (error) {
        if (!isBusy(causeOf(error)) || performance.now() > until) throw error;
      }
      await pause(5);
    }
  }
}

/** A live move, and since when the writers of its file are frozen; `null` if they are not. */
export type FrozenJourney = Journey & { frozenAt: number | null };

/** Returns the live move of a file, without changing it; `null` if there is none. */
export function journeyOf(path: string): FrozenJourney | null {
  return readFrom(path, `Opening ${path}`, (db) => {
    if (value(db, "SELECT 1 FROM sqlite_schema WHERE name = 'journey'") === undefined) return null;
    const journey = readJourney(db);
    if (journey === null) return null;
    const { file: _, ...rest } = journey;
    return { ...rest, frozenAt: readRole(db).frozenAt };
  });
}
