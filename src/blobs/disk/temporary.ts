/**
 * Temporary files, and the removal of those that dead writers have left.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import { lstat, readdir, unlink } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { systemCode } from "../../core/host/system_code.ts";

/** A file that has not been written for this long has no writer, on any machine. */
const ABANDONED_MS = 24 * 3600 * 1000;

const NAME = /^([0-9a-f]{12})-(\d+)-[0-9a-f]{24}\.part$/;

let known: string | undefined;

/**
 * Returns a name of this machine, because several machines may share the directory. Read on first use,
 * because it needs a permission in Deno.
 */
function machineName(): string {
  return known ??= createHash("sha256").update(hostname()).digest("hex").slice(0, 12);
}

/** Returns a name for a temporary file of this process. */
export function temporaryName(): string {
  return `${machineName()}-${process.pid}-${randomBytes(12).toString("hex")}.part`;
}

/**
 * Removes temporary files of dead writers: those of ended processes of this machine, and any that have
 * not been written for a day. Other files are not touched.
 */
export async function sweep(directory: string, now: number = Date.now()): Promise<void> {
  for (const name of await readdir(directory)) {
    const [, machine, pid] = NAME.exec(name) ?? [];
    if (machine === undefined) continue;
    const path = join(directory, name);
    const status = await lstat(path).catch(() => null);
    // Removed in the meantime by another process.
    if (status === null) continue;
    const left = now - status.mtimeMs > ABANDONED_MS ||
      (machine === machineName() && !isWriter(Number(pid), status.mtimeMs, now));
    if (left) await unlink(path).catch(() => {});
  }
}

/** Returns whether the process may be the writer of a file last changed at `mtime`. */
function isWriter(pid: number, mtime: number, now: number): boolean {
  if (pid === process.pid) {
    // Process ids are reused, in containers nearly always: a file older than this process is not ours. The
    // margin is for a worker, whose uptime starts later than that of its process.
    return mtime >= now - process.uptime() * 1000 - 60_000;
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // The process exists but belongs to another user.
    return systemCode(error) === "EPERM";
  }
}
