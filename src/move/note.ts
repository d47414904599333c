/**
 * The note in a SQLite file that its control plane moved on.
 *
 * @module
 */

import type { Bucket } from "../jetstream/log/bucket.ts";
import type { JetStreamOptions } from "../jetstream/mod.ts";
import { showServers } from "../nats/connection/connect.ts";
import type { SqliteSource } from "../sqlite/file/source.ts";

/** Notes in the file where its control plane is now. A note that says so already is left alone. */
export function noteMove(
  source: SqliteSource,
  bucket: Bucket,
  { servers = bucket.nc.getServer() }: JetStreamOptions,
): void {
  // Without user and password: the file is read by more people than those who may move it.
  const place = { bucket: bucket.name, servers: [servers].flat().map(showServers) };
  const { at: _, ...before } = source.getMoved() ?? { at: "" };
  if (JSON.stringify(before) === JSON.stringify(place)) return;
  source.setMoved({ ...place, at: new Date().toISOString() });
}
