/**
 * How much of the disk our nats-server may use, and how much of that is not for blobs.
 *
 * @module
 */

import { mkdir, readdir, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import type { Settings } from "../settings/settings.ts";

/**
 * The most bytes the nats-server may keep: as set, or what the disk has for it. Its own default, three
 * quarters of what is free when it starts, shrinks with each restart of a server that keeps much.
 */
export async function maxFileStore(
  { natsStore, natsMaxStore }: Pick<Settings, "natsStore" | "natsMaxStore">,
): Promise<number> {
  if (natsMaxStore !== null) return natsMaxStore;
  await mkdir(natsStore, { recursive: true, mode: 0o700 });
  const { bavail, bsize } = await statfs(natsStore);
  return bavail * bsize + await sizeOf(natsStore);
}

/** The most bytes of it that blobs may take; where all is less than twice the reserve, half of it. */
export function maxBlobStore(
  fileStore: number,
  { diskReserve }: Pick<Settings, "diskReserve">,
): number {
  return fileStore - Math.min(diskReserve, fileStore / 2);
}

/** Bytes of the files in a directory, at all depths. */
async function sizeOf(directory: string): Promise<number> {
  let bytes = 0;
  for (const it of await readdir(directory, { withFileTypes: true, recursive: true })) {
    if (!it.isFile()) continue;
    // One that is gone by now takes no room.
    bytes += await stat(join(it.parentPath, it.name)).then(({ size }) => size, () => 0);
  }
  return bytes;
}
