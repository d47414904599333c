/**
 * Creates and checks backups.
 *
 * @module
 */

import { renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { backup as copyPages, type DatabaseSync } from "node:sqlite";
import { StoreError } from "../../core/errors.ts";
import { type Counts, KINDS } from "../../core/model.ts";
import { syncDirectorySync, syncFileSync } from "../../files/write.ts";
import { endJourney } from "./journey/journey.ts";
import { connect, MEMORY, transaction, value } from "./connect.ts";
import { toStoreError } from "./errors.ts";
import { absolute, exists, inspectLeftovers, makeFile } from "./file.ts";
import { checkHealth } from "../health.ts";
import { countRecords } from "../rows.ts";
import { readRole } from "./role.ts";
import { getMeta, schemaVersion } from "./schema.ts";

/**
 * Copies a database to a new file and syncs it to disk. Leaves no file if it fails.
 *
 * @throws {StoreError} `refused`: the target exists, or is not a file
 */
export async function backup(db: DatabaseSync, path: string, to: string): Promise<void> {
  const target = absolute(to);
  const attempt = `Backing up ${path} to ${target}`;
  if (target === MEMORY) throw new StoreError("refused", `${attempt}: it is not a file`);
  if (exists(target)) throw taken(attempt);
  // Renamed when complete: a run that is killed leaves nothing that looks like a backup.
  const partial = `${target}.tmp`;
  try {
    rmSync(partial, { force: true });
    // Created first, so that it is readable by its owner only.
    makeFile(partial);
    await copyInto(db, partial);
    forgetJourney(partial);
    syncFileSync(partial, "r+");
    if (exists(target)) throw taken(attempt);
    renameSync(partial, target);
    syncDirectorySync(dirname(target));
  } catch (error) {
    rmSync(partial, { force: true });
    throw toStoreError(error, attempt);
  }
}

/** Copies a database into an empty file. */
async function copyInto(db: DatabaseSync, to: string): Promise<void> {
  try {
    db.prepare("VACUUM INTO ?").run(to);
  } catch (error) {
    // Deno attaches a second file only with --allow-all. A copy by pages needs no more permissions, but
    // is not compact.
    if (!(error instanceof Error && error.message.includes("too many attached"))) throw error;
    await copyPages(db, to);
    const copy = connect(to, { busyTimeout: 0 });
    try {
      value(copy, "PRAGMA journal_mode = DELETE");
    } finally {
      copy.close();
    }
  }
}

/** A copy takes no part in a live move: it could not know how that went on. */
function forgetJourney(path: string): void {
  const copy = connect(path, { busyTimeout: 0 });
  try {
    if (readRole(copy).journey !== null) transaction(copy, "BEGIN", () => endJourney(copy));
  } finally {
    copy.close();
  }
}

/** What a backup must contain. */
export interface Expected {
  /** Identity of the control plane. */
  storeId: string;
  /** Number of records of each kind. */
  counts: Counts;
}

/**
 * Checks a backup: its integrity, control plane and number of records.
 *
 * @throws {StoreError} `not_found`; `corrupt`; `mismatch`
 */
export function checkBackup(path: string, expected: Expected): void {
  const file = absolute(path);
  const attempt = `Checking backup ${file}`;
  if (file === MEMORY || !exists(file)) {
    throw new StoreError("not_found", `${attempt}: no such file`);
  }
  let db: DatabaseSync | null = null;
  try {
    inspectLeftovers(file, { busyTimeout: 0 });
    db = connect(file, { busyTimeout: 0, readOnly: true });
    schemaVersion(db, file);
    checkHealth(db, file);
    const storeId = getMeta(db, "store_id");
    if (storeId !== expected.storeId) {
      throw new StoreError(
        "mismatch",
        `${attempt}: its control plane is ${storeId}, not ${expected.storeId}`,
      );
    }
    const counts = countRecords(db);
    for (const kind of KINDS) {
      if (counts[kind] !== expected.counts[kind]) {
        throw new StoreError(
          "mismatch",
          `${attempt}: it has ${counts[kind]} ${kind}, not ${expected.counts[kind]}`,
        );
      }
    }
  } catch (error) {
    throw toStoreError(error, attempt);
  } finally {
    db?.close();
  }
}

function taken(attempt: string): StoreError {
  return new StoreError("refused", `${attempt}: the file already exists`);
}
