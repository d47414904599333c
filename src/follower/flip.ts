/**
 * Makes the file of a follower the primary of the control plane.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../core/errors.ts";
import { did } from "../core/history/entry.ts";
import { connect, run, transaction, value } from "../sqlite/file/connect.ts";
import { causeOf, isBusy, toStoreError } from "../sqlite/file/errors.ts";
import {
  inspectLeftovers,
  inUse,
  requireFile,
  requireWritable,
  tryWriting,
} from "../sqlite/file/file.ts";
import {
  type FileRole,
  readRole,
  setGeneration,
  setJourney,
  setRole,
} from "../sqlite/file/role.ts";
import { createChecks, getMeta, migrate, schemaVersion, setMeta } from "../sqlite/file/schema.ts";
import { checkFile } from "./file/check.ts";
import { compareRevisions } from "../core/history/revision.ts";
import { counted } from "../core/text/counted.ts";
import { decodeEntry } from "../jetstream/records/entries.ts";
import { HistoryTable } from "../sqlite/history/table.ts";
import { parseAlarm } from "./stream/alarms.ts";
import type { Held } from "./file/messages.ts";
import { forgetKept, JOURNEY, keptGeneration, LEFT } from "./kept.ts";
import { lockOf } from "./file/prepare.ts";
import { reading } from "./file/reading.ts";

/** The file of a follower that nobody applies to meanwhile. */
export interface StillFile extends Disposable {
  /** Absolute path. */
  readonly path: string;
  /** What it is. */
  readonly role: FileRole;
  /** What it holds. */
  readonly held: Held;
  /** The database. */
  readonly db: DatabaseSync;
}

/**
 * Opens the file of a follower and keeps every applier out until it is closed.
 *
 * @throws {StoreError} `not_found`; `refused`: it is not a follower, or another process applies to it
 */
export function openStill(db: string): StillFile {
  const path = requireFile(db);
  inspectLeftovers(path, { busyTimeout: 5000 });
  requireWritable(path);
  const lock = lockApplier(path);
  let file: DatabaseSync | null = null;
  try {
    file = connect(path, { busyTimeout: 500, exclusive: true });
    schemaVersion(file, path);
    tryWriting(file, "BEGIN EXCLUSIVE");
    const role = readRole(file);
    if (role.role !== "follower") {
      throw new StoreError("refused", `Opening ${path}: it is not the file of a follower`, {
        field: "role",
      });
    }
    migrate(file, path, { at: new Date().toISOString() });
    const held = reading(file).held();
    if (held === null) {
      throw new StoreError("refused", `Opening ${path}: it was never loaded from its bucket`, {
        field: "position",
      });
    }
    const open = file;
    return {
      path,
      role,
      held,
      db: file,
      [Symbol.dispose]() {
        open.close();
        lock.close();
      },
    };
  } catch (error) {
    file?.close();
    lock.close();
    if (isBusy(causeOf(error))) throw inUse(path, error);
    throw toStoreError(error, `Opening ${path}`);
  }
}

/**
 * Keeps every applier away from a file until what it returns is closed.
 *
 * @throws {StoreError} `refused`: another process applies to it
 */
export function lockApplier(path: string): DatabaseSync {
  let lock: DatabaseSync | null = null;
  try {
    lock = connect(lockOf(path), { busyTimeout: 0 });
    run(lock, "BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    lock?.close();
    if (!isBusy(causeOf(error))) throw toStoreError(error, `Opening ${path}`);
    throw new StoreError("refused", `Opening ${path}: another process follows a bucket with it`, {
      field: "db",
      hint: "stop membershipd on this machine first",
    });
  }
}

/**
 * Refuses a file that is not exact, holds records that break a rule or was damaged. `force` takes one
 * whose stream had changed: the file is then the copy that is right.
 *
 * @throws {StoreError} `refused`; `corrupt`: the file is damaged
 */
export function requireComplete(file: StillFile, force = false): void {
  requireWhole(file, force);
  const { path, db, held } = file;
  checkFile(db, path, held);
}

/** As {@link requireComplete}, of a file whose contents were checked. */
export function requireWhole({ path, db, held }: StillFile, force = false): void {
  const refuse = (field: string, found: string, hint: string) => {
    throw new StoreError("refused", `Checking ${path}: ${found}`, { field, hint });
  };
  if (!held.exact) {
    refuse(
      "position",
      `it is not exact at position ${held.position}: it may lack a part of a transaction`,
      "let it follow its bucket until it is exact, or use the follower of another node",
    );
  }
  if (held.quarantined > 0) {
    refuse(
      "quarantined",
      `${
        counted(held.quarantined, "record of its bucket is", "records of its bucket are")
      } invalid, ` +
        "and not in its tables",
      "repair them in the bucket with membershipd doctor --repair, or use an earlier backup",
    );
  }
  if (held.alarm !== null && !force) {
    refuse(
      "alarm",
      `its bucket was found damaged: ${parseAlarm(held.alarm).message}`,
      "--force takes the file as the copy that is right",
    );
  }
  const left = getMeta(db, LEFT);
  if (left !== null && !force) {
    refuse("moved", left, "--force takes the file, and a second control plane begins");
  }
}

/** What a flip sets. */
export interface FlipOptions {
  /** The generation of the control plane from now on. */
  generation: number;
  /** Identity of the control plane. Default: the file's own. */
  storeId?: string | undefined;
  /** The live move that flips it. Default: none. */
  journey?: string;
  /** Who does it, for the history. */
  by: string;
}

/**
 * Makes a file that was checked a primary, in one transaction that takes the same time whatever its
 * size. Changes of rooms that were not complete are undone.
 *
 * @returns The rooms whose changes were undone
 */
export function flip(
  { path, db, held }: StillFile,
  { generation, storeId, journey, by }: FlipOptions,
): string[] {
  try {
    const undone = transaction(db, "BEGIN IMMEDIATE", () => {
      const rooms = db.prepare("SELECT room_id, op FROM follower_pending").all();
      const forget = db.prepare("DELETE FROM rooms WHERE id = ?");
      // The new keys of a rekey are those of an epoch that the room has not reached.
      const trim = db.prepare(
        `DELETE FROM room_keys WHERE room_id = ?1
         AND epoch > (SELECT epoch FROM rooms WHERE id = ?1)`,
      );
      for (const { room_id: id, op } of rooms) (op === "rekey" ? trim : forget).run(id!);
      completeHistory(db, held);
      createChecks(db);
      setRole(db, "primary", null);
      setGeneration(db, generation);
      if (journey !== undefined) setJourney(db, journey);
      const author = { by, at: new Date().toISOString(), wrote: () => {} };
      new HistoryTable(db).append(did.moved(`bucket ${held.bucket}`, "file"), author);
      setMeta(db, JOURNEY, null);
      setMeta(db, LEFT, null);
      if (storeId !== undefined) setMeta(db, "store_id", storeId);
      // What else a follower knew may be large; whoever opens the file as a primary removes it.
      for (const name of ["", "_pending", "_quarantine", "_tail"]) {
        run(db, `DELETE FROM follower${name}`);
      }
      forgetKept(db);
      return rooms.map(({ room_id }) => String(room_id));
    });
    value(db, "PRAGMA wal_checkpoint(TRUNCATE)");
    return undone;
  } catch (error) {
    throw toStoreError(error, `Promoting ${path}`);
  }
}

/** Gives the history the entries of all changes that the file has, and of no others. */
function completeHistory(db: DatabaseSync, { position }: Held): void {
  // The archive may have been read further than the stream.
  db.prepare("DELETE FROM history WHERE (generation, number) > (?, ?)")
    .run(keptGeneration(db), position);
  const table = new HistoryTable(db);
  const { revision: end } = table.end();
  const tail = db.prepare("SELECT number, value FROM follower_tail ORDER BY number").all();
  for (const { number, value } of tail) {
    const placed = decodeEntry(value as Uint8Array, Number(number));
    if (placed === null || (end !== null && compareRevisions(placed.at, end) <= 0)) continue;
    table.add(placed.entry);
  }
}
