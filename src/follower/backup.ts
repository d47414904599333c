/**
 * Copies the file of a follower, also while a process follows with it.
 *
 * @module
 */

import { rmSync } from "node:fs";
import { StoreError } from "../core/errors.ts";
import type { Counts } from "../core/model.ts";
import { backup } from "../sqlite/file/backup.ts";
import { connect, readFrom } from "../sqlite/file/connect.ts";
import { absolute, requireFile } from "../sqlite/file/file.ts";
import { readRole } from "../sqlite/file/role.ts";
import { schemaVersion } from "../sqlite/file/schema.ts";
import { countRecords } from "../sqlite/rows.ts";
import { checkFile } from "./file/check.ts";
import { reading } from "./file/reading.ts";

/** What {@link backupFollower} wrote. */
export interface BackupReport {
  /** Version of this report's shape. */
  version: 1;
  /** The follower's file. */
  db: string;
  /** The copy. */
  to: string;
  /** The bucket. */
  bucket: string;
  /** The position that the copy is exact at. */
  position: number;
  /** When that was, ISO 8601. */
  updatedAt: string;
  /** Records of each kind. */
  counts: Counts;
}

/**
 * Copies an exact follower to a new file, which is a follower of the same bucket.
 *
 * @throws {StoreError} `refused`: it is not exact, not a follower, or the copy exists; `not_found`;
 * `corrupt`: it is damaged, or not what its bucket held
 */
export async function backupFollower(db: string, to: string): Promise<BackupReport> {
  const path = requireFile(db);
  read(path);
  const source = connect(path, { busyTimeout: 5000, readOnly: true });
  try {
    await backup(source, path, to);
  } finally {
    source.close();
  }
  // It may have been written between the look and the copy.
  const copy = absolute(to);
  try {
    return { version: 1, db: path, to: copy, ...read(copy, true) };
  } catch (error) {
    rmSync(copy, { force: true });
    throw error;
  }
}

function read(path: string, check = false): Omit<BackupReport, "version" | "db" | "to"> {
  const refuse = (field: string, found: string, hint: string): never => {
    throw new StoreError("refused", `Backing up ${path}: ${found}`, { field, hint });
  };
  return readFrom(path, `Backing up ${path}`, (db) => {
    schemaVersion(db, path);
    if (readRole(db).role !== "follower") {
      refuse("role", "it is not the file of a follower", "use membershipd snapshot export");
    }
    const held = reading(db).held();
    if (held === null || !held.exact) {
      return refuse(
        "position",
        held === null
          ? "it was never loaded from its bucket"
          : `it is not exact at position ${held.position}`,
        "try again when it is exact, which membershipd follow --once waits for",
      );
    }
    if (check) checkFile(db, path, held);
    return {
      bucket: held.bucket,
      position: held.position,
      updatedAt: new Date(held.updatedAt).toISOString(),
      counts: countRecords(db),
    };
  });
}
