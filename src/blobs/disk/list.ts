/**
 * Lists the blobs on a disk. Reads every directory, so it is slow.
 *
 * @module
 */

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { systemCode } from "../../core/host/system_code.ts";
import type { BlobInfo } from "../types.ts";

/** Number of files read concurrently; low, because other operations need the disk too. */
const TOGETHER = 16;

/** Yields the blobs below `root`, by id. `check` is called between directories, and can throw to end it. */
export async function* listDisk(root: string, check: () => void): AsyncGenerator<BlobInfo> {
  for (const first of await shards(root)) {
    for (const second of await shards(join(root, first))) {
      check();
      const directory = join(root, first, second);
      const names = (await entries(directory) ?? []).filter((it) => /^[0-9a-f]{64}$/.test(it))
        .sort();
      for (let i = 0; i < names.length; i += TOGETHER) {
        const found = await Promise.all(
          names.slice(i, i + TOGETHER)
            .map(async (id) => ({ id, size: await sizeOf(join(directory, id)) })),
        );
        for (const { id, size } of found) if (size !== null) yield { id, size };
      }
    }
  }
}

async function shards(directory: string): Promise<string[]> {
  return (await entries(directory) ?? []).filter((it) => /^[0-9a-f]{2}$/.test(it)).sort();
}

/** Returns the names in a directory; `null` if there is none. */
export async function entries(directory: string): Promise<string[] | null> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(systemCode(error))) return null;
    throw error;
  }
}

/** Returns the size of a file, or `null` if it does not exist or is not a regular file. */
export async function sizeOf(path: string): Promise<number | null> {
  try {
    const status = await stat(path);
    return status.isFile() ? status.size : null;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return null;
    throw error;
  }
}
