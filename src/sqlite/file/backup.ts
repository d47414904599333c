/**
 * Backups: a compact copy in a new file, and looking at one again.
 *
 * @module
 */

import { renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../core/errors.ts";
import { type Counts, KINDS } from "../../core/model.ts";
import { syncDirectorySync, syncFileSync } from "../../files/write.ts";
import { connect, MEMORY } from "./connect.ts";
import { toStoreError } from "./errors.ts";
import { absolute, exists, inspectLeftovers, makeFile } from "./file.ts";
import { checkHealth } from "../health.ts";
import { countRecords } from "../rows.ts";
import { getMeta, schemaVersion } from "./schema.ts";

/** Copies a database into a new file that is on disk when this returns; leaves none when it fails. */
export function backup(db: DatabaseSync, path: string, to: string): void {
  const target = absolute(to);
  const attempt = `Backing up ${path} to ${target}`;
  if (target === MEMORY) throw new StoreError("refused", `${attempt}: it is not a file`);
  if (exists(target)) throw taken(attempt);
  // It has its name when it is whole: a run that is killed leaves nothing that looks like a backup.
  const partial = `${target}.tmp`;
  try {
    rmSync(partial, { force: true });
    // Made first, empty and for its owner's eyes only: VACUUM INTO fills an empty file.
    makeFile(partial);
    db.prepare("VACUUM INTO ?").run(partial);
    syncFileSync(partial, "r+");
    if (exists(target)) throw taken(attempt);
    renameSync(partial, target);
    syncDirectorySync(dirname(target));
  } catch (error) {
    rmSync(partial, { force: true });
    if (error instanceof Error && error.message.includes("too many attached databases")) {
      throw new StoreError(
        "refused",
        `${attempt}: Deno lets SQLite write a second file only with --allow-all`,
        { cause: error },
      );
    }
    throw toStoreError(error, attempt);
  }
}

/** What a backup must hold. */
export interface Expected {
  /** Identity of the control plane. */
  storeId: string;
  /** Records of each kind. */
  counts: Counts;
}

/**
 * Opens a backup again and checks it: whole, of the same control plane, as many records.
 * `not_found`, `corrupt`, `mismatch`
 */
export function checkBackup(path: string, expected: Expected): void {
  const file = absolute(path);
  const attempt = `Checking backup ${file}`;
  if (file === MEMORY || !exists(file)) {
    throw new StoreError("not_found", `${attempt}: there is no such file`);
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
        `${attempt}: it is of control plane ${storeId}, not ${expected.storeId}`,
      );
    }
    const counts = countRecords(db);
    for (const kind of KINDS) {
      if (counts[kind] !== expected.counts[kind]) {
        throw new StoreError(
          "mismatch",
          `${attempt}: it holds ${counts[kind]} ${kind}, not ${expected.counts[kind]}`,
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
  return new StoreError("refused", `${attempt}: there is a file of that name already`);
}
