/**
 * Sets the file of a follower aside, so that the next one takes the stream as it is.
 *
 * @module
 */

import { existsSync, renameSync } from "node:fs";
import { isStoreError, StoreError } from "../../core/errors.ts";
import { toStoreError } from "../../files/errors.ts";
import { requireFile } from "../../sqlite/file/file.ts";
import { roleOf } from "../../sqlite/file/role.ts";
import { lockApplier } from "../flip.ts";

/**
 * Renames the file of a follower, whatever its state.
 *
 * @returns The new name
 * @throws {StoreError} `not_found`; `refused`: it is in use, or not the file of a follower
 */
export function setAside(db: string, now: Date = new Date()): string {
  const path = requireFile(db);
  requireFollower(path);
  const lock = lockApplier(path);
  try {
    const to = `${path}.${now.toISOString().replace(/[-:]|\.\d+/g, "")}`;
    // The log of writes belongs to the file and is found by its name.
    for (const end of ["-wal", "-shm", ""]) {
      if (existsSync(path + end)) renameSync(path + end, to + end);
    }
    return to;
  } catch (error) {
    throw toStoreError(error, `Renaming ${path}`);
  } finally {
    lock.close();
  }
}

function requireFollower(path: string): void {
  try {
    if (roleOf(path).role === "follower") return;
  } catch (error) {
    // A damaged file is one more reason.
    if (isStoreError(error, "corrupt")) return;
    throw error;
  }
  throw new StoreError("refused", `Renaming ${path}: it is not the file of a follower`, {
    field: "role",
  });
}
