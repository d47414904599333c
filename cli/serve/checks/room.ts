/**
 * Computes the disk space for the nats-server and the part of it for blobs.
 *
 * @module
 */

import { mkdir, readdir, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import type { Settings } from "../../settings/settings.ts";

/**
 * Returns the nats-server's disk limit in bytes: the setting, or the available space plus what it
 * already uses. Its own default, three quarters of the free space at its start, shrinks with each
 * restart of a server with much data.
 */
export async function maxFileStore(
  { natsStore, natsMaxStore }: Pick<Settings, "natsStore" | "natsMaxStore">,
): Promise<number> {
  if (natsMaxStore !== null) return natsMaxStore;
  await mkdir(natsStore, { recursive: true, mode: 0o700 });
  const { bavail, bsize } = await statfs(natsStore);
  return bavail * bsize + await sizeOf(natsStore);
}

/** Returns the limit for blobs in bytes: all but the reserve, at least half. */
export function maxBlobStore(
  fileStore: number,
  { diskReserve }: Pick<Settings, "diskReserve">,
): number {
  return fileStore - Math.min(diskReserve, fileStore / 2);
}

/** Returns the total size of the files in a directory, recursively. */
async function sizeOf(directory: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    // A file that has been deleted meanwhile counts as 0.
    bytes += await stat(join(entry.parentPath, entry.name)).then(({ size }) => size, () => 0);
  }
  return bytes;
}
