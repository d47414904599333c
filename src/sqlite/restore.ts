/**
 * Restores records, all or none.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { setImmediate } from "node:timers/promises";
import type { RestoreOptions } from "../core/backend.ts";
import { StoreError } from "../core/errors.ts";
import type { HistoryEntry } from "../core/history/entry.ts";
import type { ChainEnd } from "../core/history/source.ts";
import { type Counts, type Kind, KINDS, type StoreRecord } from "../core/model.ts";
import { noCounts } from "../core/order.ts";
import { notEmpty } from "../core/rules.ts";
import { connect, run, transaction } from "./file/connect.ts";
import { toCallersError } from "./file/errors.ts";
import { inserter, isEmpty, TABLES } from "./rows.ts";
import { liftChecks } from "./file/schema.ts";
import { type Ending, type Place, throwIfAborted, TURN } from "./stream.ts";

let staged = 0;

/** The history that the records came with. */
export interface Past {
  /** Where its oldest entry continues; null if they came with none. */
  start: ChainEnd | null;
  /** Its entries, in order. */
  entries(): Iterable<HistoryEntry>;
}

/**
 * Collects the records in temporary tables, then stores all of them in one transaction. So a slow
 * source holds no lock, and no other write gets into the transaction.
 */
export async function restoreRecords(
  place: Place,
  records: AsyncIterable<StoreRecord>,
  options: RestoreOptions & { stored: (db: DatabaseSync, counts: Counts, past: Past) => void },
): Promise<Counts> {
  const { replace = false, signal, onProgress, stored } = options;
  const attempt = `Restoring into ${place.path}`;
  throwIfAborted(signal, attempt);
  if (place.readOnly) throw new StoreError("refused", `${attempt}: it is read-only`);
  let db: DatabaseSync | null = null;
  let ended = false;
  const end: Ending = () => {
    ended = true;
    // Closing a separate connection drops the temporary tables.
    if (place.own === null && db?.isOpen) db.close();
  };
  const check = () => {
    if (ended) throw new StoreError("closed", `${attempt}: the store is closed`);
    throwIfAborted(signal, attempt);
  };
  const stage = ++staged;
  const table = (kind: Kind | "history") => `temp.restore_${stage}_${kind}`;
  place.endings.add(end);
  try {
    db = place.own ?? connect(place.path, { busyTimeout: place.busyTimeout });
    if (!replace) requireEmpty(db, attempt);
    for (const kind of KINDS) run(db, `CREATE TABLE ${table(kind)} (${TABLES[kind].columns})`);
    const insert = inserter(db, table);
    const counts = noCounts();
    let done = 0;
    let batch: StoreRecord[] = [];
    const flush = async (connection: DatabaseSync) => {
      check();
      const rows = batch;
      batch = [];
      transaction(connection, "BEGIN", () => rows.forEach(insert));
      for (const { kind } of rows) counts[kind]++;
      done += rows.length;
      onProgress?.(done);
      await setImmediate();
    };
    for await (const record of records) {
      if (batch.push(record) >= TURN) await flush(db);
    }
    if (batch.length > 0) await flush(db);
    const start = await stageHistory(db, table("history"), options, check);
    check();
    const past = {
      start,
      *entries(): Generator<HistoryEntry> {
        const all = db!.prepare(`SELECT entry FROM ${table("history")} ORDER BY rowid`).iterate();
        for (const { entry } of all) yield JSON.parse(String(entry));
      },
    };
    store(db, table, replace, attempt, (to) => stored(to, counts, past));
    return counts;
  } catch (error) {
    throw toCallersError(error, attempt);
  } finally {
    place.endings.delete(end);
    if (db?.isOpen && place.own !== null) {
      for (const kind of [...KINDS, "history"] as const) {
        run(db, `DROP TABLE IF EXISTS ${table(kind)}`);
      }
    }
    end();
  }
}

/** Reads the history that the records came with; returns its start, or null if there is none. */
async function stageHistory(
  db: DatabaseSync,
  table: string,
  { history }: RestoreOptions,
  check: () => void,
): Promise<ChainEnd | null> {
  run(db, `CREATE TABLE ${table} (entry TEXT)`);
  const past = await history?.() ?? null;
  const insert = db.prepare(`INSERT INTO ${table} VALUES (?)`);
  let batch: string[] = [];
  const flush = () => {
    check();
    transaction(db, "BEGIN", () => batch.forEach((it) => insert.run(it)));
    batch = [];
  };
  for await (const entry of past?.entries ?? []) {
    if (batch.push(JSON.stringify(entry)) >= TURN) flush();
  }
  flush();
  return past?.start ?? null;
}

function store(
  db: DatabaseSync,
  table: (kind: Kind) => string,
  replace: boolean,
  attempt: string,
  stored: (db: DatabaseSync) => void,
): void {
  transaction(db, "BEGIN IMMEDIATE", () => {
    const restoreChecks = liftChecks(db);
    if (replace) {
      // Rooms last: their members and keys are deleted by then, so nothing cascades.
      for (const kind of [...KINDS].reverse()) run(db, `DELETE FROM ${kind}`);
    } else {
      requireEmpty(db, attempt);
    }
    for (const kind of KINDS) {
      const { columns } = TABLES[kind];
      run(
        db,
        `INSERT INTO ${kind} (${columns}) SELECT ${columns} FROM ${table(kind)} ORDER BY rowid`,
      );
    }
    restoreChecks();
    stored(db);
  });
}

function requireEmpty(db: DatabaseSync, attempt: string): void {
  if (!isEmpty(db)) throw notEmpty(attempt);
}
