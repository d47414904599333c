/**
 * What happens to a disk while its server is stopped.
 *
 * @module
 */

import { cp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Random } from "../../tools/random.ts";

/** A file of the stream's messages, or its index. */
async function filesOf(store: string, end: string): Promise<string[]> {
  const all = await readdir(store, { recursive: true });
  return all.filter((it) => it.includes("KV_UNIBUS") && it.endsWith(end)).map((it) =>
    join(store, it)
  );
}

/** Removes the index of a stream, as after a power cut: the server reads its blocks again. */
export async function removeIndex(store: string): Promise<void> {
  for (const path of await filesOf(store, "index.db")) await rm(path);
}

/** The files of a stream's messages. */
export function blocksOf(store: string): Promise<string[]> {
  return filesOf(store, ".blk");
}

/** Flips one bit of one file, any bit of all as likely as any other; says which. */
export async function flipBit(store: string, random: Random): Promise<string> {
  const files = await blocksOf(store);
  const sizes = await Promise.all(files.map(async (it) => (await stat(it)).size));
  let at = random.integer(0, sizes.reduce((sum, it) => sum + it, 0) - 1);
  for (const [i, path] of files.entries()) {
    if (at < sizes[i]!) {
      await flipIn(path, at, random.integer(0, 7));
      return `bit of byte ${at} of ${sizes[i]} in ${path.split("/").at(-1)}`;
    }
    at -= sizes[i]!;
  }
  throw new Error("The stream has no blocks");
}

/** Flips one bit. */
export async function flipIn(path: string, at: number, bit: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[at]! ^= 1 << bit;
  await writeFile(path, bytes);
}

/** Cuts the end of the last block off. */
export async function cutTail(store: string, random: Random): Promise<string> {
  const files = await blocksOf(store);
  const number = (path: string) => Number(/(\d+)\.blk$/.exec(path)![1]);
  const last = files.toSorted((a, b) => number(a) - number(b)).at(-1)!;
  const { size } = await stat(last);
  // Mostly little, as after a power cut.
  const cut = Math.ceil(size * random.fraction() ** 4);
  await truncate(last, size - cut);
  return `the last ${cut} of ${size} bytes`;
}

/** Copies a folder that may be changed. */
export async function copyOf(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true });
}
