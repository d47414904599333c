/**
 * Whether a stream still holds every message that a file holds: a server that repairs a damaged block
 * drops messages in its middle, and older ones that they had replaced can come back.
 *
 * @module
 */

import type { StoreError } from "../../core/errors.ts";
import { counted } from "../../core/text/counted.ts";
import { isData } from "../../jetstream/contents/compare.ts";
import type { Bucket } from "../../jetstream/log/bucket.ts";
import { scan } from "../../jetstream/log/feed.ts";
import { hashOf } from "../file/changes.ts";
import type { Compared, Held, Sample } from "../file/messages.ts";
import type { Thread } from "../file/thread.ts";
import { alarm } from "./alarms.ts";
import { FEED_PIECE } from "./applier.ts";

/** Messages compared at once. */
const PIECE = 1000;

/** What an audit goes over. */
export interface AuditOptions {
  /** The bucket. */
  bucket: Bucket;
  /** The file. */
  thread: Thread;
  /** What the file holds; exact. */
  held: Held;
  /** The first token of the keys. Default: all keys. */
  space?: string;
  /** Whether keys may have been deleted unseen: then one that is gone is no finding. Default `false`. */
  allowGone?: boolean;
  /** The server whose replica is read. Default: that of any server. */
  server?: string | undefined;
  /** The share of the time in which it reads, up to 1. Default 1. */
  pace?: number | undefined;
  /** Ends it. */
  signal?: AbortSignal;
}

/**
 * Reads the stream and compares it with the file, up to the file's position; the file may be applied to
 * meanwhile.
 *
 * @returns The alarm, `null` when nothing was found
 */
export async function auditStream(options: AuditOptions): Promise<StoreError | null> {
  const { bucket, thread, held: { position: since }, space, allowGone = false } = options;
  const asked: Promise<Compared>[] = [];
  let seen: Sample["seen"] = [];
  let failed = false;
  const send = () => {
    const one = thread.ask("compare", { seen, since });
    one.then(({ found }) => failed ||= found !== null, () => failed = true);
    asked.push(one);
    seen = [];
  };
  await scan(bucket, {
    signal: options.signal,
    piece: FEED_PIECE,
    pace: options.pace,
    server: options.server,
    ...(space === undefined ? {} : { pattern: `${space}.>` }),
    onEntry: (entry) => {
      const { key, revision, data } = entry;
      if (!isData(key)) return;
      seen.push({ key, revision, hash: data.length > 0 ? hashOf(entry) : null });
      if (seen.length >= PIECE) send();
      return failed ? false : undefined;
    },
  });
  send();
  let accounted = 0;
  for (const compared of await Promise.all(asked)) {
    if (compared.found !== null) return alarm("sequence", bucket.name, compared.found);
    accounted += compared.accounted;
  }
  const wanted = await thread.ask("count", {
    prefix: space === undefined ? "" : `${space}.`,
    since,
  });
  // Those that were applied since they were compared are no longer counted.
  if (allowGone || wanted <= accounted) return null;
  return alarm(
    "messages",
    bucket.name,
    `the stream lacks ${wanted - accounted} of ${counted(wanted, "key")} that the follower has`,
  );
}
