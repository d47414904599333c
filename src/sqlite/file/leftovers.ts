/**
 * Files that an interrupted `migrate-to-sqlite` leaves beside a database. If there are any, a missing
 * database must not be created.
 *
 * @module
 */

import { existsSync, readdirSync } from "node:fs";
import { basename, dirname } from "node:path";
import { StoreError } from "../../core/errors.ts";

/** Their suffixes: of the new file while it is written, and of the old one while it is replaced. */
export const LEFTOVERS = { partial: ".partial", previous: ".previous" } as const;

/**
 * Returns the error for a database file that does not exist: `not_found`, or with `create` `refused`
 * beside leftovers and `null` without.
 */
export function missing(path: string, create: boolean): StoreError | null {
  const left = Object.values(LEFTOVERS).map((it) => path + it).filter((it) => existsSync(it));
  if (left.length === 0) {
    if (create) return null;
    return new StoreError("not_found", `Opening ${path}: no such file`, {
      field: "path",
      hint: "check the path; `create: true` makes a new file",
    });
  }
  const backup = newestBackup(path);
  return new StoreError(
    create ? "refused" : "not_found",
    `Opening ${path}: no such file, but found ${
      left.join(" and ")
    } of an interrupted migrate-to-sqlite`,
    {
      hint: "run migrate-to-sqlite again" +
        (backup === null ? "" : `, or copy ${backup} to ${path}`),
    },
  );
}

function newestBackup(path: string): string | null {
  const prefix = `${basename(path)}.backup-`;
  try {
    const names = readdirSync(dirname(path))
      .filter((it) => it.startsWith(prefix) && it.endsWith("Z"));
    const newest = names.sort().at(-1);
    return newest === undefined ? null : path + newest.slice(basename(path).length);
  } catch {
    return null; // The directory may be accessible but not listable.
  }
}
