/**
 * Puts the file written by `migrate-to-sqlite` in place. The path always names a complete file.
 *
 * @module
 */

import { copyFileSync, existsSync, linkSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { toStoreError } from "../files/errors.ts";
import { syncDirectorySync, syncFileSync } from "../files/write.ts";
import { openSource } from "../sqlite/file/source.ts";
import { LEFTOVERS } from "../sqlite/file/leftovers.ts";
import { stamp } from "./steps.ts";

/** Returns the path at which the new file is written. */
export const partialOf = (path: string): string => path + LEFTOVERS.partial;

/** Returns the old file's second name until the new one is in place. */
const previousOf = (path: string): string => path + LEFTOVERS.previous;

/** Replaces the old file with the new one; returns the old file's new path, or `null`. */
export function putInPlace(path: string): string | null {
  const partial = partialOf(path);
  try {
    const replaces = existsSync(path);
    if (replaces) {
      // Opening and closing it exclusively moves its log into the file, so that one file is all of it.
      openSource(path, { check: false }).close();
      keep(path);
      syncDirectorySync(dirname(path));
    }
    renameSync(partial, path);
    const backup = replaces ? nameBackup(path) : null;
    syncDirectorySync(dirname(path));
    return backup;
  } catch (error) {
    throw toStoreError(error, `Renaming ${partial} to ${path}`);
  }
}

/** Links the old file to a second name, or copies it if the file system has no hard links. */
function keep(path: string): void {
  const previous = previousOf(path);
  try {
    linkSync(path, previous);
  } catch {
    const partial = partialOf(previous);
    copyFileSync(path, partial);
    syncFileSync(partial, "r+");
    renameSync(partial, previous);
  }
}

function nameBackup(path: string): string {
  const backup = `${path}.backup-${stamp()}`;
  renameSync(previousOf(path), backup);
  return backup;
}

/** Removes files of a killed run. If it had put the new file in place, the old one becomes a backup. */
export function clearLeftovers(path: string): void {
  const previous = previousOf(path);
  removeFile(partialOf(path));
  rmSync(partialOf(previous), { force: true });
  if (!existsSync(previous)) return;
  if (existsSync(path) && isSame(path, previous)) rmSync(previous);
  else nameBackup(path);
}

function isSame(a: string, b: string): boolean {
  const [one, other] = [statSync(a), statSync(b)];
  return one.dev === other.dev && one.ino === other.ino;
}

/** Removes a database file and the files that SQLite keeps beside it. */
export function removeFile(path: string): void {
  for (const suffix of ["", "-wal", "-shm", "-journal"]) rmSync(path + suffix, { force: true });
}
