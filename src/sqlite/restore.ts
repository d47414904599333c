/**
 * Restores records, all or none.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { setImmediate } from "node:timers/promises";
import type { RestoreOptions } from "../core/backend.ts";
import { StoreError } from "../core/errors.ts";
import { type Counts, type Kind, KINDS, type StoreRecord } from "../core/model.ts";
import { noCounts } from "../core/order.ts";
import { notEmpty } from "../core/rules.ts";
import { connect, run, transaction } from "./file/connect.ts";
import { toCallersError } from "./file/errors.ts";
import { inserter, isEmpty, TABLES } from "./rows.ts";
import { liftChecks } from "./file/schema.ts";
import { type Ending, type Place, throwIfAborted, TURN } from "./stream.ts";

let staged = 0;

/**
 * Collects the records in temporary tables, then stores all of them in one transaction. So a slow
 * source holds no lock, and no other write gets into the transaction.
 */
export async function restoreRecords(
  place: Place,
  records: AsyncIterable<StoreRecord>,
  options: RestoreOptions & { stored: (db: DatabaseSync, counts: Counts) => void },
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
  const table = (kind: Kind) => `temp.restore_${stage}_${kind}`;
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
    check();
    store(db, table, replace, attempt, (to) => stored(to, counts));
    return counts;
  } catch (error) {
    throw toCallersError(error, attempt);
  } finally {
    place.endings.delete(end);
    if (db?.isOpen && place.own !== null) {
      for (const kind of KINDS) run(db, `DROP TABLE IF EXISTS ${table(kind)}`);
    }
    end();
  }
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
