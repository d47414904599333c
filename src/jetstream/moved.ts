/**
 * How an open bucket learns that its writers are stopped, and that its control plane has left it.
 *
 * @module
 */

import { watchStatus } from "../nats/connection/watch.ts";
import { callOff, thawWriters } from "./freeze.ts";
import type { Bucket } from "./log/bucket.ts";
import { readMarker } from "./log/marker.ts";
import { isFrozen, lacksHistory, streamInfo } from "./log/stream.ts";
import { CHANGE_TIMEOUT, InFlight, subscribe, wait } from "./log/wire.ts";
import { MARKER_KEY } from "./records/keys.ts";

/** Milliseconds after which a bucket that a process which is gone left frozen is thawed. */
const ABANDONED = 15_000;
/** How long looking for the reason of a refused write may take, milliseconds. */
const LOOK = 500;
/** Pauses before the mark is read after somebody sent one, milliseconds: it may take a moment to be stored. */
const PAUSES = [0, 100, 500];

/**
 * Looks at the mark whenever somebody sends one, and when the connection is back; returns a function
 * that ends it. For a store whose cache is not loaded: a feed sees the mark by itself.
 */
export function watchMark(bucket: Bucket): () => void {
  const ending = new AbortController();
  const look = async () => {
    for (const pause of PAUSES) {
      await wait(pause, ending.signal);
      if (bucket.mark.moved !== null) return;
      const entry = await bucket.get(MARKER_KEY, Date.now() + LOOK).catch(() => null);
      if (entry !== null) bucket.mark.notice(entry);
    }
  };
  const lookSoon = () => void look().catch(() => {});
  const sub = subscribe(bucket.nc, bucket.subject(MARKER_KEY), {
    callback(error) {
      if (error === null) lookSoon();
    },
  });
  const unwatch = watchStatus(bucket.nc, (type) => {
    if (type === "reconnect") lookSoon();
  });
  return () => {
    ending.abort();
    sub.unsubscribe();
    unwatch();
  };
}

/**
 * Creates what calls off a move out of a bucket whose process is gone: the mark has not changed for long.
 * It returns whether it did.
 *
 * @param abandoned Milliseconds after which it counts as gone
 */
export function callingOff(bucket: Bucket, abandoned = ABANDONED): () => Promise<boolean> {
  let seen = { revision: -1, since: 0 };
  return async () => {
    const read = await readMarker(bucket, Date.now() + LOOK);
    const now = performance.now();
    if (seen.revision !== read.revision) seen = { revision: read.revision, since: now };
    const isOurs = read.marker?.state === "complete" && read.marker.moved === undefined;
    if (!isOurs || now - seen.since <= abandoned) return false;
    await callOff(bucket, read, Date.now() + CHANGE_TIMEOUT);
    return true;
  };
}

/**
 * Creates what a bucket does when nobody takes its writes: finds out whether its writers are stopped,
 * and whether its control plane has left it. A bucket that was left frozen by a process that is gone
 * is thawed; one that an earlier version thawed takes history entries again.
 *
 * @param abandoned Milliseconds after which it counts as gone
 */
export function whyNoResponder(bucket: Bucket, abandoned?: number): () => Promise<void> {
  const callOffAbandoned = callingOff(bucket, abandoned);
  return async () => {
    const info = await streamInfo(bucket, Date.now() + LOOK).catch(() => null);
    // Without a leader nobody takes a write either.
    if (info === null) return;
    if (lacksHistory(bucket, info)) return await thawWriters(bucket, Date.now() + CHANGE_TIMEOUT);
    if (!isFrozen(bucket, info)) return;
    const entry = await bucket.get(MARKER_KEY, Date.now() + LOOK);
    if (entry !== null) bucket.mark.notice(entry);
    if (bucket.mark.moved !== null) throw bucket.mark.moved;
    if (await callOffAbandoned()) return;
    throw new InFlight(
      `bucket ${bucket.name} takes no writes while its control plane moves to a file`,
    );
  };
}
