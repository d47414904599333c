/**
 * The note in a SQLite file that its control plane has moved.
 *
 * @module
 */

import type { Bucket } from "../jetstream/log/bucket.ts";
import type { JetStreamOptions } from "../jetstream/mod.ts";
import { withoutLogins } from "../nats/connection/servers.ts";
import type { SqliteSource } from "../sqlite/file/source.ts";

/** Records in the file where its control plane is now, unless it already says so. */
export function noteMove(
  source: SqliteSource,
  bucket: Bucket,
  { servers = bucket.nc.getServer() }: JetStreamOptions,
  generation: number,
): void {
  // Without user and password, because more people can read the file than may migrate it.
  const place = { bucket: bucket.name, servers: withoutLogins(servers) };
  const { role, place: last, generation: before } = source.role;
  const { at: _, ...known } = last ?? { at: "" };
  const isNoted = role === "moved" && JSON.stringify(known) === JSON.stringify(place);
  if (isNoted && before === generation) return;
  source.setMoved({ ...place, at: new Date().toISOString() }, generation);
}
