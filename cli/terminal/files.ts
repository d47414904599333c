/**
 * Reads snapshot files as streams and writes them atomically.
 *
 * @module
 */

import { createReadStream } from "node:fs";
import { type FileHandle, lstat, open, realpath, stat } from "node:fs/promises";
import { isStoreError, StoreError } from "../../src/core/errors.ts";
import { systemCode } from "../../src/core/host/system_code.ts";
import { orAbort } from "../../src/core/async/wait.ts";
import { writeWhole as write } from "../../src/files/write.ts";
import { fileHint } from "../../src/core/hints.ts";
import type { Io } from "./io.ts";

function failed(attempt: string, cause: unknown): StoreError {
  if (isStoreError(cause)) return cause;
  const code = systemCode(cause);
  if (code === "ENOENT") return new StoreError("not_found", `${attempt}: no such file`, { cause });
  if (code === "EISDIR") {
    return new StoreError("refused", `${attempt}: is a directory`, { cause });
  }
  if (code === "EACCES" || code === "EPERM" || code === "EROFS") {
    return new StoreError("refused", `${attempt}: permission denied`, { cause, ...fileHint(code) });
  }
  const why = code === "ENOSPC" ? "the disk is full" : code || String(cause);
  return new StoreError("unavailable", `${attempt}: ${why}`, { cause, ...fileHint(code) });
}

/** Reads the bytes of a file, or of stdin for `-`. */
export async function* bytesOf(
  io: Io,
  path: string,
  onBytes: (done: number) => void = () => {},
): AsyncGenerator<Uint8Array> {
  const source: AsyncIterable<Uint8Array> = path === "-"
    ? io.stdin
    : createReadStream(path, { highWaterMark: 262_144 });
  const chunks = source[Symbol.asyncIterator]();
  let done = 0;
  let ended = false;
  try {
    for (;;) {
      // A pipe may never send anything.
      const chunk = await orAbort(chunks.next(), io.signal);
      if (chunk.done) break;
      yield chunk.value;
      done += chunk.value.length;
      onBytes(done);
    }
    ended = true;
  } catch (error) {
    throw io.signal.aborted ? error : failed(`Reading ${path === "-" ? "stdin" : path}`, error);
  } finally {
    // Not awaited: it would wait for a chunk that may never arrive.
    if (!ended) void chunks.return?.().catch(() => {});
  }
}

/** Options of {@link writeWhole}. */
export interface WriteOptions {
  /** Replace an existing file. */
  force: boolean;
  /** Aborts the write; no files are left behind. */
  signal: AbortSignal;
}

/**
 * Writes a file atomically, readable by its owner only: writes and syncs a temporary file, then
 * renames it.
 *
 * @throws {StoreError} refused: the file exists and `force` is not set, or its path cannot be written
 * @throws {StoreError} not_found: its directory does not exist
 * @throws {StoreError} unavailable: writing failed, for example because the disk is full
 */
export async function writeWhole(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  { force, signal }: WriteOptions,
): Promise<void> {
  const attempt = `Writing ${path}`;
  const target = await place(path, attempt, force);
  try {
    await write(target, chunks, { replace: force, signal });
  } catch (error) {
    if (signal.aborted) throw error;
    if (systemCode(error) === "EEXIST") throw exists(path);
    if (systemCode(error) !== "ENOENT") throw failed(attempt, error);
    throw new StoreError("not_found", `${attempt}: the directory does not exist`, { cause: error });
  }
}

function exists(path: string): StoreError {
  return new StoreError(
    "refused",
    `Writing ${path}: the file already exists; use --force to replace it`,
  );
}

/** Resolves symbolic links of the path, and refuses early what would fail after the work. */
async function place(path: string, attempt: string, force: boolean): Promise<string> {
  try {
    const target = await realpath(path);
    if (!(await lstat(target)).isFile()) {
      throw new StoreError("refused", `${attempt}: not a regular file; use - to write to stdout`);
    }
    if (!force) throw exists(path);
    return target;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return path;
    throw failed(attempt, error);
  }
}

/** Returns a file's size for the progress, or `null` if it is unknown. */
export async function sizeOf(path: string): Promise<number | null> {
  if (path === "-") return null;
  const found = await stat(path).catch(() => null);
  return found?.isFile() && found.size > 0 ? found.size : null;
}

/** Reports whether a file starts with SQLite's file header. */
export async function isSqliteFile(path: string): Promise<boolean> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    throw failed(`Reading ${path}`, error);
  }
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(16), 0, 16, 0);
    return new TextDecoder().decode(buffer.subarray(0, bytesRead)) === "SQLite format 3\0";
  } catch (error) {
    throw failed(`Reading ${path}`, error);
  } finally {
    await file.close();
  }
}
