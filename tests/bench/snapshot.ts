/**
 * Snapshots: everything out of JetStream, against everything out of SQLite.
 *
 * @module
 */

import { openJetStream } from "../../src/jetstream/mod.ts";
import { exportSnapshot } from "../../src/snapshot/mod.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import type { Store } from "../../src/core/store.ts";
import { timed } from "./measure.ts";
import { type Row, whole } from "./table.ts";
import type { World } from "./world.ts";

async function drain(store: Store): Promise<void> {
  for await (const chunk of exportSnapshot(store)) void chunk;
}

/** Measures the export. */
export async function snapshot(world: World): Promise<Row[]> {
  const { records } = world;
  const { report } = await world.moved(records);
  const total = Object.values(report.counts).reduce((a, b) => a + b);
  await using sqlite = openSqlite(world.file(records));
  await using jetstream = await openJetStream({
    servers: world.server.url,
    bucket: world.bucket(records),
  });
  const file = await timed(() => drain(sqlite));
  const bucket = await timed(() => drain(jetstream));
  return [{
    what: `export ${whole(total)} records from JetStream`,
    found: `${whole(total / bucket * 1000)} records/s`,
    baseline: `from SQLite ${whole(total / file * 1000)} records/s`,
    ratio: file / bucket,
  }];
}
