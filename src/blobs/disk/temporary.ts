/**
 * Temporary files: whose they are, and which of them a dead writer has left.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import { lstat, readdir, unlink } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { systemCode } from "../../core/host/system_code.ts";

/** A file nobody has written to for this long has no writer, wherever that was. */
const ABANDONED_MS = 24 * 3600 * 1000;

const NAME = /^([0-9a-f]{12})-(\d+)-[0-9a-f]{24}\.part$/;

let known: string | undefined;

/**
 * Tells this machine's process ids from another's, where several share the directory. Asked for when
 * it is needed: in Deno it takes a permission that who has no blobs on disk does without.
 */
function machineName(): string {
  return known ??= createHash("sha256").update(hostname()).digest("hex").slice(0, 12);
}

/** A name for a temporary file of this process. */
export function temporaryName(): string {
  return `${machineName()}-${process.pid}-${randomBytes(12).toString("hex")}.part`;
}

/**
 * Removes what dead writers have left in `directory`: files of processes of this machine that are
 * no more, and any that nobody has written to for a day. Other files are left alone.
 */
export async function sweep(directory: string, now: number = Date.now()): Promise<void> {
  for (const name of await readdir(directory)) {
    const [, machine, pid] = NAME.exec(name) ?? [];
    if (machine === undefined) continue;
    const path = join(directory, name);
    const status = await lstat(path).catch(() => null);
    // Gone by now: another process sweeps too, or its writer was done.
    if (status === null) continue;
    const left = now - status.mtimeMs > ABANDONED_MS ||
      (machine === machineName() && !isWriter(Number(pid), status.mtimeMs, now));
    if (left) await unlink(path).catch(() => {});
  }
}

/** Whether the process may be the one that wrote a file last changed at `mtime`. */
function isWriter(pid: number, mtime: number, now: number): boolean {
  if (pid === process.pid) {
    // Process ids return, in containers nearly always: what is older than we are is not ours. The
    // margin is for a worker, whose time begins later than that of its process.
    return mtime >= now - process.uptime() * 1000 - 60_000;
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It is there, and not ours to signal.
    return systemCode(error) === "EPERM";
  }
}
