/**
 * Files that a way back which was killed leaves beside a database: where they are, a missing database
 * is no new one.
 *
 * @module
 */

import { existsSync, readdirSync } from "node:fs";
import { basename, dirname } from "node:path";
import { StoreError } from "../../core/errors.ts";

/** What their names end with: the new file while it is made, and the old one while it is replaced. */
export const LEFTOVERS = { partial: ".partial", previous: ".previous" } as const;

/**
 * The error for a database that is not there: `not_found`, or `null` where a new one may be made and
 * nothing speaks against it; `refused` beside leftovers.
 */
export function missing(path: string, create: boolean): StoreError | null {
  const left = Object.values(LEFTOVERS).map((it) => path + it).filter((it) => existsSync(it));
  if (left.length === 0) {
    if (create) return null;
    return new StoreError("not_found", `Opening ${path}: there is no such file`, {
      field: "path",
      hint: "check the path; `create: true` makes a new file",
    });
  }
  const backup = newestBackup(path);
  return new StoreError(
    create ? "refused" : "not_found",
    `Opening ${path}: there is no such file, but ${left.join(" and ")}, left by a ` +
      "migrate-to-sqlite that was interrupted; run that again" +
      (backup === null ? "" : `, or copy ${backup} to ${path}`),
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
    return null; // A directory may be used without being listed.
  }
}
