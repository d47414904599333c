/**
 * Writes files atomically and durably: after a power failure a file is complete or does not exist.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync } from "node:fs";
import { link, lstat, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { systemCode } from "../core/host/system_code.ts";

/** Options of {@link writeWhole}. */
export interface WriteOptions {
  /** Replaces an existing file, which fails with `EEXIST` otherwise. Default false. */
  replace?: boolean;
  /** The new file's mode. Default 0600. */
  mode?: number;
  /** Aborts writing and leaves no file behind. */
  signal?: AbortSignal;
}

/** Writes a temporary file, syncs it, and then renames it to `path`. */
export async function writeWhole(
  path: string,
  content: string | Uint8Array | AsyncIterable<Uint8Array>,
  { replace = false, mode = 0o600, signal }: WriteOptions = {},
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  const chunks = typeof content === "string" || content instanceof Uint8Array ? [content] : content;
  try {
    const file = await open(temporary, "wx", mode);
    try {
      for await (const chunk of chunks) {
        signal?.throwIfAborted();
        await file.writeFile(chunk);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    if (replace) await rename(temporary, path);
    else await nameNew(temporary, path);
    await syncDirectory(dirname(path));
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Renames a file without replacing another. Atomic if the file system supports hard links. */
async function nameNew(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    if (systemCode(error) === "EEXIST") throw error;
    if (await lstat(path).catch(() => null) !== null) {
      throw Object.assign(new Error(`File exists: ${path}`), { code: "EEXIST" });
    }
    await rename(temporary, path);
  }
}

/** Syncs a directory, so that renames in it are durable, if the system supports it. */
export async function syncDirectory(path: string): Promise<void> {
  try {
    const directory = await open(path, "r");
    await directory.sync().finally(() => directory.close());
  } catch (error) {
    throwUnlessIncapable(error);
  }
}

/** Does the same as {@link syncDirectory}, synchronously. */
export function syncDirectorySync(path: string): void {
  try {
    syncFileSync(path, "r");
  } catch (error) {
    throwUnlessIncapable(error);
  }
}

/** Syncs a file's content to disk. */
export function syncFileSync(path: string, flags: string): void {
  const fd = openSync(path, flags);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Ignores errors of systems that cannot open or sync directories; the file itself is synced. */
function throwUnlessIncapable(error: unknown): void {
  const incapable = ["EACCES", "EPERM", "EISDIR", "EINVAL", "ENOTSUP"];
  if (!incapable.includes(systemCode(error))) throw error;
}
