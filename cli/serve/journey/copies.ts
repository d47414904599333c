/**
 * Waits for the copies of what is moved.
 *
 * @module
 */

import { writeBlobProbe } from "../../../src/blobs/objects/probe.ts";
import { orAbort, pause } from "../../../src/core/async/wait.ts";
import { StoreError } from "../../../src/core/errors.ts";
import { copiesOf, isWhole, type StreamInfo } from "../../../src/jetstream/cluster/copies.ts";
import { findStream } from "../../../src/jetstream/log/wire.ts";
import { holds } from "../../../src/jetstream/cluster/replica.ts";
import { archiveOf } from "../../../src/jetstream/history/archive.ts";
import { Bucket } from "../../../src/jetstream/log/bucket.ts";
import { writeFence } from "../../../src/jetstream/log/fence.ts";
import type { Trip, World } from "./types.ts";

/** Copies of each bucket. */
export const COPIES = 3;
/** How long all copies may take to be current, milliseconds. */
const CURRENT_MS = 60_000;
const LOOK_MS = 200;
/** How long a write may take, milliseconds. */
const WRITE_MS = 5_000;

/** A message that every copy of a stream must hold. */
interface Written extends Partial<AsyncDisposable> {
  /** Its sequence; 0 for none. */
  sequence: number;
}

/** A stream that is moved. */
interface Moving {
  name: string;
  /** Writes to it now. */
  write(info: StreamInfo): Promise<Written>;
}

/** What was found of a stream. */
interface Look {
  /** Copies that are current and hold what was written. */
  good: number;
  /** The nodes of the others. */
  late: string[];
  isWhole: boolean;
}

/** What is waited for. */
export interface Waiting {
  /** Name of the control plane's bucket. */
  bucket: string;
  /** Whether the history is moved too. */
  history: boolean;
}

/**
 * Waits until all copies of both buckets and of the history are current, and each one has stored what was
 * written then. The leader takes one that is gone for current for some seconds. To the archive of the
 * history only the move writes, so each copy must hold the last entry.
 *
 * @throws {StoreError} `unavailable`: they are not, and which
 */
export async function whenCurrent(
  { connection }: Pick<World["bus"], "connection">,
  { bucket, history }: Waiting,
  trip: Pick<Trip, "begin" | "tell" | "signal">,
): Promise<void> {
  const { signal } = trip;
  const control = new Bucket(connection, bucket);
  const blobs = `${bucket}_BLOBS`;
  const streams: Moving[] = [
    {
      name: control.stream,
      write: async () => ({ sequence: await writeFence(control, Date.now() + WRITE_MS) }),
    },
    {
      name: `OBJ_${blobs}`,
      write: () => writeBlobProbe({ connection, bucket: blobs, timeout: WRITE_MS }),
    },
  ];
  if (history) {
    streams.push({
      name: archiveOf(bucket).stream,
      write: ({ state }) => Promise.resolve({ sequence: state.messages && state.last_seq }),
    });
  }
  const all = COPIES * streams.length;
  trip.begin("replicas", all);
  for (const deadline = Date.now() + CURRENT_MS;;) {
    const looks = await Promise.all(streams.map((it) => lookAt(control, it, deadline, signal)));
    const done = looks.reduce((sum, { good }) => sum + good, 0);
    trip.tell({ done });
    if (done === all && looks.every((it) => it.isWhole)) return;
    if (Date.now() > deadline) {
      const nodes = [...new Set(looks.flatMap(({ late }) => late))].join(", ");
      throw new StoreError(
        "unavailable",
        `Not all copies are current within ${CURRENT_MS / 1000} s: ${nodes || "some are missing"}`,
        { hint: "see membershipd cluster status" },
      );
    }
    await pause(LOOK_MS, signal);
  }
}

async function lookAt(
  bucket: Bucket,
  { name, write }: Moving,
  deadline: number,
  signal: AbortSignal,
): Promise<Look> {
  const info = await findStream(bucket.nc, name, deadline, signal);
  if (info === null) return { good: 0, late: [], isWhole: false };
  const copies = copiesOf(info);
  const written = await write(info).catch(() => null);
  try {
    const held = await Promise.all(copies.map(async ({ node, current, reachable }) => {
      if (written === null || !current || !reachable) return false;
      const { sequence } = written;
      if (sequence === 0) return true;
      return await orAbort(holds(bucket, node, sequence, name).catch(() => false), signal);
    }));
    const late = copies.filter((_, i) => !held[i]).map(({ node }) => node);
    return { good: copies.length - late.length, late, isWhole: isWhole(info) };
  } finally {
    await written?.[Symbol.asyncDispose]?.();
  }
}
