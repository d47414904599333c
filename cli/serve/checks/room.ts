/**
 * Computes the disk space for the nats-server and the part of it for blobs.
 *
 * @module
 */

import { mkdir, statfs } from "node:fs/promises";
import { sizeOf } from "../../cluster/directory.ts";
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
