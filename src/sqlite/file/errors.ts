/**
 * Converts SQLite's errors to {@link StoreError}s.
 *
 * @module
 */

import { StoreError, type StoreErrorCode, type StoreErrorOptions } from "../../core/errors.ts";
import { DISK_FULL, fileHint, NO_RIGHTS } from "../../core/hints.ts";

// Primary result codes, https://www.sqlite.org/rescode.html
const BUSY = 5;
const LOCKED = 6;
const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const TOOBIG = 18;
const CONSTRAINT = 19;
const NOTADB = 26;

/** Extended result code: the file was moved or removed while it was open. */
const READONLY_DBMOVED = 1032;

const WAIT = "wait for the other process to finish, such as a migration or an import";

type Meaning = [code: StoreErrorCode, what: string, more?: StoreErrorOptions];

const MEANING: Record<number, Meaning> = {
  [BUSY]: ["unavailable", "it is locked by another process or connection", { hint: WAIT }],
  [LOCKED]: ["unavailable", "it is locked by another connection", { hint: WAIT }],
  [READONLY]: ["refused", "it is read-only", { hint: NO_RIGHTS }],
  [READONLY_DBMOVED]: ["unavailable", "the file was moved or removed while it was open"],
  [IOERR]: ["unavailable", "disk I/O error"],
  [CORRUPT]: ["corrupt", "it is damaged"],
  [FULL]: ["unavailable", "the disk is full", { hint: DISK_FULL }],
  [CANTOPEN]: [
    "unavailable",
    "the file cannot be opened, or its directory is not writable",
    { hint: NO_RIGHTS },
  ],
  [TOOBIG]: ["invalid", "a value is too large"],
  [CONSTRAINT]: ["invalid", "a value violates a constraint"],
  [NOTADB]: ["corrupt", "it is not a SQLite file, or it is damaged", { field: "path" }],
};

// In Deno, errors of opening and of exec() have no code, only SQLite's message.
const BY_MESSAGE: [string, number][] = [
  ["is locked", BUSY],
  ["readonly database", READONLY],
  ["disk I/O error", IOERR],
  ["malformed", CORRUPT],
  ["disk is full", FULL],
  ["unable to open", CANTOPEN],
  ["constraint failed", CONSTRAINT],
  ["not a database", NOTADB],
];

/** Returns the extended result code of an error, or `null` if it is not SQLite's. */
function sqliteCode(error: unknown): number | null {
  if (!(error instanceof Error) || !("code" in error) || error.code !== "ERR_SQLITE_ERROR") {
    return null;
  }
  if ("errcode" in error && typeof error.errcode === "number") return error.errcode;
  return BY_MESSAGE.find(([text]) => error.message.includes(text))?.[1] ?? null;
}

/** Returns whether the error is a lock held by another connection. */
export function isBusy(error: unknown): boolean {
  const code = primaryCode(error);
  return code === BUSY || code === LOCKED;
}

/** Returns whether the error is a write to a read-only file. */
export function isReadOnly(error: unknown): boolean {
  return primaryCode(error) === READONLY;
}

/** Returns the cause of a {@link StoreError}, or any other error unchanged. */
export function causeOf(error: unknown): unknown {
  return error instanceof StoreError ? error.cause : error;
}

function primaryCode(error: unknown): number | null {
  const code = sqliteCode(error);
  return code === null ? null : code & 0xff;
}

/**
 * Converts errors of work that also runs the caller's code (its records, its callbacks): those of SQLite
 * become {@link StoreError}s, those of the caller stay unchanged.
 */
export function toCallersError(error: unknown, attempt: string): unknown {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const ours = code === "ERR_SQLITE_ERROR" || code === "ERR_INVALID_STATE";
  return ours ? toStoreError(error, attempt) : error;
}

/**
 * Converts an error of `node:sqlite` or the file system to a {@link StoreError}; one that already is
 * stays unchanged.
 *
 * @param error The error
 * @param attempt What was attempted, such as `Opening a.db`
 */
export function toStoreError(error: unknown, attempt: string): StoreError {
  if (error instanceof StoreError) return error;
  const code = sqliteCode(error);
  const system = error instanceof Error && "code" in error ? error.code : undefined;
  if (system === "ERR_OUT_OF_RANGE") {
    const message = `${attempt}: a number is too large; doctor reports the record`;
    return new StoreError("corrupt", message, { cause: error });
  }
  const detail = error instanceof Error ? error.message : String(error);
  if (detail.includes(FROZEN)) return frozenError(attempt, detail, error);
  const [known, what, more]: Meaning =
    (code === null ? undefined : MEANING[code] ?? MEANING[code & 0xff]) ??
      ["unavailable", "it failed", fileHint(system)];
  return new StoreError(known, `${attempt}: ${what} (${detail})`, { ...more, cause: error });
}

/** What the triggers of a frozen file say, followed by the bucket's name. */
export const FROZEN = "the control plane is being switched to bucket ";

/** Creates the error for a write while the control plane is switched. */
export function frozenError(attempt: string, found: string, cause?: unknown): StoreError {
  return new StoreError("unavailable", `${attempt}: ${found}`, { hint: "try again", cause });
}
