/**
 * Snapshot files: read as they come, written so that a half-written one is never seen.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, link, lstat, open, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isStoreError, StoreError } from "../../src/core/errors.ts";
import { fileHint } from "../../src/core/hints.ts";
import { orAbort } from "../terminal/abort.ts";
import type { Io } from "../terminal/io.ts";

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | null)?.code ?? "");
}

function failed(attempt: string, cause: unknown): StoreError {
  if (isStoreError(cause)) return cause;
  const code = codeOf(cause);
  if (code === "ENOENT") return new StoreError("not_found", `${attempt}: no such file`, { cause });
  if (code === "EISDIR") {
    return new StoreError("refused", `${attempt}: it is a directory`, { cause });
  }
  if (code === "EACCES" || code === "EPERM" || code === "EROFS") {
    return new StoreError("refused", `${attempt}: permission denied`, { cause, ...fileHint(code) });
  }
  const why = code === "ENOSPC" ? "the disk is full" : code || String(cause);
  return new StoreError("unavailable", `${attempt}: ${why}`, { cause, ...fileHint(code) });
}

/** The bytes of a file, or of stdin for `-`. */
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
      // A pipe may be silent for ever.
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
    // Not waited for: it waits for the chunk that may never come.
    if (!ended) void chunks.return?.().catch(() => {});
  }
}

/** How a file is written. */
export interface WriteOptions {
  /** Replace a file that is there. */
  force: boolean;
  /** Ends it; nothing is left behind. */
  signal: AbortSignal;
}

/**
 * Writes a file for its owner's eyes beside its place, syncs it, and only then gives it its name.
 * `refused` when there is one, unless `force`.
 */
export async function writeWhole(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  { force, signal }: WriteOptions,
): Promise<void> {
  const attempt = `Writing ${path}`;
  const target = await place(path, attempt, force);
  const temp = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString("hex")}.tmp`);
  let file: FileHandle | null = null;
  try {
    file = await open(temp, "wx", 0o600);
    for await (const chunk of chunks) {
      signal.throwIfAborted();
      for (let at = 0; at < chunk.length;) {
        at += (await file.write(chunk, at)).bytesWritten;
      }
    }
    await file.sync();
    await file.close();
    file = null;
    await name(temp, target, force);
    await syncDirectory(dirname(target));
  } catch (error) {
    await file?.close().catch(() => {});
    await rm(temp, { force: true });
    if (signal.aborted) throw error;
    if (codeOf(error) === "EEXIST") throw exists(path);
    if (codeOf(error) !== "ENOENT") throw failed(attempt, error);
    throw new StoreError("not_found", `${attempt}: there is no such directory`, { cause: error });
  }
}

function exists(path: string): StoreError {
  return new StoreError("refused", `Writing ${path}: there is such a file; --force replaces it`);
}

/** Where the file really goes, links followed; refuses before any work what would be refused after it. */
async function place(path: string, attempt: string, force: boolean): Promise<string> {
  try {
    const target = await realpath(path);
    if (!(await lstat(target)).isFile()) {
      throw new StoreError("refused", `${attempt}: it is not a file; - writes to stdout`);
    }
    if (!force) throw exists(path);
    return target;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return path;
    throw failed(attempt, error);
  }
}

/** Gives a file its name; where the file system can link, never over one that came meanwhile. */
async function name(temp: string, target: string, force: boolean): Promise<void> {
  if (!force) {
    try {
      await link(temp, target);
      await rm(temp);
      return;
    } catch (error) {
      if (codeOf(error) === "EEXIST") throw error;
    }
  }
  await rename(temp, target);
}

async function syncDirectory(path: string): Promise<void> {
  try {
    const directory = await open(path, "r");
    await directory.sync().finally(() => directory.close());
  } catch {
    // Not every system lets one open a directory; the file itself is synced.
  }
}

/** A file's size for progress, `null` where nobody can say. */
export async function sizeOf(path: string): Promise<number | null> {
  if (path === "-") return null;
  const found = await stat(path).catch(() => null);
  return found?.isFile() && found.size > 0 ? found.size : null;
}

/** Whether a file begins as SQLite's do. */
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
