/**
 * The file of a follower: made, recognised, and opened for its thread.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { MEMORY } from "../../sqlite/file/connect.ts";
import { absolute, makeFile, openDatabase } from "../../sqlite/file/file.ts";
import { type Place, setRole } from "../../sqlite/file/role.ts";
import { dropChecks } from "../../sqlite/file/schema.ts";
import { Thread } from "./thread.ts";

/** The file whose lock says who applies to the file at an absolute path. */
export function lockOf(path: string): string {
  return `${path}.follower-lock`;
}

/**
 * Opens the file of a follower, created where there is none.
 *
 * @throws {StoreError} `refused`: it is the file of something else
 */
export function openFile(path: string, place: Place): Thread {
  const file = absolute(path);
  if (file === MEMORY) {
    throw new StoreError("invalid", "db must be a file's path", { field: "db" });
  }
  openDatabase(file, {
    busyTimeout: 5000,
    create: true,
    as: "follower",
    at: place.at,
    onNew: (db) => {
      // A room's new keys can come before the room with the new epoch; all records are checked before.
      dropChecks(db);
      setRole(db, "follower", place);
    },
  }).db.close();
  makeFile(lockOf(file));
  return new Thread(file, lockOf(file));
}
