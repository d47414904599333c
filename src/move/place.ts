/**
 * Giving the file that the way back made its place: the path always names a whole file.
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

/** Where the new file is made. */
export const partialOf = (path: string): string => path + LEFTOVERS.partial;

/** The old file's second name until the new one is in place. */
const previousOf = (path: string): string => path + LEFTOVERS.previous;

/** Puts the new file in the place of the old one; returns the name the old one has now. */
export function putInPlace(path: string): string | null {
  const partial = partialOf(path);
  try {
    const replaces = existsSync(path);
    if (replaces) {
      // Opened and closed alone, a file has its log folded in: one name is the whole of it.
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

/** Gives the old file a second name, or makes a copy where the file system has no links. */
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

/** Removes what a killed run left; the old file, where the new one is in place already, becomes a backup. */
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

/** Removes a database file and what SQLite keeps beside it. */
export function removeFile(path: string): void {
  for (const suffix of ["", "-wal", "-shm", "-journal"]) rmSync(path + suffix, { force: true });
}
