/**
 * Writing files that survive a power cut: whole, under their name, or not there.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync } from "node:fs";
import { link, lstat, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { systemCode } from "../core/host/system_code.ts";

/** How {@link writeWhole} writes. */
export interface WriteOptions {
  /** Replaces a file that is there, which is `EEXIST` otherwise. Default false. */
  replace?: boolean;
  /** The new file's mode. Default 0600. */
  mode?: number;
  /** Ends it; nothing is left behind. */
  signal?: AbortSignal;
}

/** Writes a file beside its place, syncs it, and only then gives it its name. */
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

/** Gives a file a name that is free; where the file system can link, also when another takes it now. */
async function nameNew(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    if (systemCode(error) === "EEXIST") throw error;
    if (await lstat(path).catch(() => null) !== null) {
      throw Object.assign(new Error(`There is a file ${path}`), { code: "EEXIST" });
    }
    await rename(temporary, path);
  }
}

/** Makes the names in a directory as durable as the files, where the system can. */
export async function syncDirectory(path: string): Promise<void> {
  try {
    const directory = await open(path, "r");
    await directory.sync().finally(() => directory.close());
  } catch (error) {
    throwUnlessIncapable(error);
  }
}

/** {@link syncDirectory}, for code that waits. */
export function syncDirectorySync(path: string): void {
  try {
    syncFileSync(path, "r");
  } catch (error) {
    throwUnlessIncapable(error);
  }
}

/** Makes a file's content durable. */
export function syncFileSync(path: string, flags: string): void {
  const fd = openSync(path, flags);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Not every system opens a directory, or syncs one; the file itself is synced. */
function throwUnlessIncapable(error: unknown): void {
  const incapable = ["EACCES", "EPERM", "EISDIR", "EINVAL", "ENOTSUP"];
  if (!incapable.includes(systemCode(error))) throw error;
}
