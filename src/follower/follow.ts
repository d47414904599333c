/**
 * Beginning to follow a bucket.
 *
 * @module
 */

import { type JetStreamOptions, openBucket } from "../jetstream/mod.ts";
import type { Bucket } from "../jetstream/log/bucket.ts";
import { leftBucket } from "../jetstream/log/marked.ts";
import { readMarker } from "../jetstream/log/marker.ts";
import { withoutLogins } from "../nats/connection/servers.ts";
import { absolute } from "../sqlite/file/file.ts";
import { openFile } from "./file/prepare.ts";
import { FileFollower } from "./follower.ts";
import type { Parts } from "./parts.ts";
import type { Follower, FollowOptions } from "./types.ts";

/** How long reading the mark may take, milliseconds. */
const MARK_MS = 5000;

/**
 * Follows a control plane in a JetStream bucket: keeps a SQLite file current with it. The file has the
 * tables of `openSqlite` and can become a primary when the cluster is lost. One process applies to a
 * file; others that follow with the same file read it, and take over when that process is gone.
 *
 * Resolves when stream and file were compared and following has begun, not when the file is current:
 * {@link Follower.whenExact} waits for that.
 *
 * @param options The bucket, and the file
 * @returns The follower; close it when done
 * @throws {StoreError} `not_found`: no such bucket; `refused`: the file is a primary, moved or follows
 * another bucket, or the control plane has left the bucket; `unavailable`; `unsupported`; `aborted`
 *
 * @example
 * ```ts ignore
 * import { followStore } from "@unibus/membership";
 *
 * await using follower = await followStore({
 *   nats: { servers: "nats://127.0.0.1:4222" },
 *   db: "./local_files/follower.db",
 * });
 * const { position, digest } = await follower.whenExact();
 * console.log(position, digest);
 * ```
 */
export async function followStore(options: FollowOptions): Promise<Follower> {
  const { nats, signal } = options;
  const { bucket, end } = await openBucket({
    ...nats,
    create: false,
    resize: false,
    signal: signal ?? nats.signal,
  });
  try {
    const { marker, revision } = await readMarker(bucket, Date.now() + MARK_MS);
    if (marker?.moved !== undefined) throw leftBucket(`Following bucket ${bucket.name}`, marker);
    bucket.mark.begin(marker ?? {}, revision);
  } catch (error) {
    await end();
    throw error;
  }
  return await follow(bucket, nats, options, { guards: false, end });
}

/** Follows a bucket that is open. */
export async function follow(
  bucket: Bucket,
  { servers = bucket.nc.getServer() }: JetStreamOptions,
  { db, accept = false, onAlarm = () => {}, onDegraded = () => {} }: Omit<FollowOptions, "nats">,
  more: Pick<Parts, "guards" | "onDoubt" | "onReleased" | "end">,
): Promise<FileFollower> {
  let follower: FileFollower | null = null;
  try {
    const place = {
      bucket: bucket.name,
      servers: withoutLogins(servers),
      at: new Date().toISOString(),
    };
    const thread = openFile(db, place);
    const path = absolute(db);
    follower = new FileFollower({ bucket, path, thread, accept, onAlarm, onDegraded, ...more });
    await follower.start();
    return follower;
  } catch (error) {
    await (follower === null ? more.end() : follower.close());
    throw error;
  }
}
