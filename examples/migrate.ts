/**
 * A migration script: moves a SQLite file to NATS JetStream with progress, looks at what it did, and
 * can be run again at any time: it goes on where it ended.
 *
 *     deno run -A examples/migrate.ts unibus.db nats://127.0.0.1:4222
 *
 * @module
 */

import process from "node:process";
import { migrateSqliteToKv, openJetStream, StoreError } from "@unibus/membership";

/** Moves the file `db` to the servers' bucket. */
export async function migrate(
  db: string,
  servers: string,
  say: (line: string) => void,
): Promise<void> {
  const controller = new AbortController();
  // What has been moved stays, and the next run goes on from there.
  const stop = () => controller.abort();
  process.once("SIGINT", stop);
  try {
    let told = 0;
    const report = await migrateSqliteToKv({
      db,
      nats: { servers },
      signal: controller.signal,
      onProgress: ({ phase, done, total }) => {
        if (Date.now() - told < 500 && done < total) return;
        told = Date.now();
        say(`${phase} ${done} of ${total}`);
      },
    });
    say(`${report.target}: ${report.written} entries written, saved as ${report.backup}`);
    say(`the same on both sides: SHA-256 ${report.digests!.all}`);
  } finally {
    process.removeListener("SIGINT", stop);
  }
  // From now on the app opens the bucket instead of the file.
  await using store = await openJetStream({ servers });
  say(`an active admin: ${await store.hasAdmin()}`);
}

if (import.meta.main) {
  const [db, servers] = process.argv.slice(2);
  if (db === undefined || servers === undefined) {
    console.error("Usage: migrate.ts FILE NATS-URL");
    process.exit(2);
  }
  try {
    await migrate(db, servers, console.log);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    console.error(`${error.code}: ${error.message}`);
    process.exit(1);
  }
}
