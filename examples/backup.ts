/**
 * Backs a store up to a file every hour, and keeps the last days. Each file is a snapshot: the whole
 * control plane as of one moment, with a digest, and nothing secret in it.
 *
 *     deno run -A examples/backup.ts unibus.db backups
 *
 * @module
 */

import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { pipeline } from "node:stream/promises";
import { setTimeout } from "node:timers/promises";
import { exportSnapshot, openSqlite, type Store, verifySnapshot } from "@unibus/membership";

const HOUR = 3_600_000;

/** Writes one snapshot into `directory`, and removes all but the newest `keep`. Returns its path. */
export async function backup(store: Store, directory: string, keep: number): Promise<string> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const name = `unibus-${new Date().toISOString().replaceAll(":", "")}.ndjson`;
  const path = join(directory, name);
  // Written beside its place and read again: a file with the right name is a whole one.
  const temporary = `${path}.part`;
  try {
    const file = createWriteStream(temporary, { mode: 0o600, flags: "wx" });
    await pipeline(exportSnapshot(store), file);
    await verifySnapshot(createReadStream(temporary));
    const written = await open(temporary);
    await written.sync();
    await written.close();
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
  const all = (await readdir(directory)).filter((it) => /^unibus-.*\.ndjson$/.test(it)).sort();
  for (const old of all.slice(0, -keep)) await rm(join(directory, old));
  return path;
}

if (import.meta.main) {
  const [db, directory] = process.argv.slice(2);
  if (db === undefined || directory === undefined) {
    console.error("Usage: backup.ts FILE DIRECTORY");
    process.exit(2);
  }
  const controller = new AbortController();
  process.once("SIGINT", () => controller.abort());
  await using store = openSqlite(db, { create: false });
  while (!controller.signal.aborted) {
    try {
      console.log(await backup(store, directory, 3 * 24));
    } catch (error) {
      // The next hour is another try; the files that are there stay.
      console.error(`No backup this time: ${error}`);
    }
    await setTimeout(HOUR, null, { signal: controller.signal }).catch(() => {});
  }
}
