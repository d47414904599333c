/**
 * The switch of a live move out of a bucket: all writers stop, the follower gets the rest, the mark is
 * written. Whatever goes wrong before the mark calls it off.
 *
 * @module
 */

import { isStoreError, StoreError } from "../../../core/errors.ts";
import { freezeWriters } from "../../../jetstream/freeze.ts";
import type { Bucket } from "../../../jetstream/log/bucket.ts";
import type { Moved } from "../../../jetstream/log/marked.ts";
import { wait } from "../../../jetstream/log/wire.ts";
import { holdAlone, type Users, usersOf } from "./alone.ts";
import { type Announced, leave, settle } from "./marks.ts";
import type { ShrinkOptions, ShrinkPhase } from "./types.ts";

/** What a switch works on. */
export interface Switching extends Users {
  /** The bucket. */
  bucket: Bucket;
  /** Absolute path of the file that it becomes. */
  db: string;
  /** The generation of the control plane from now on. */
  generation: number;
  /** What the caller wants. */
  options: ShrinkOptions;
  /** Called with each step. */
  onPhase: (phase: ShrinkPhase, waitsFor?: string) => void;
}

/** After what a switch is called off, milliseconds; calling it off takes time as well. */
const PATIENCE = 700;
/** Pause before the file is tried again, milliseconds. */
const AGAIN = 20;

/**
 * Moves the control plane out of its bucket. The store's calls are still held then.
 *
 * @returns Where it went
 * @throws {StoreError} Why it was called off: `unavailable` if another attempt may succeed
 */
export async function leaveBucket(parts: Switching, announced: Announced): Promise<Moved> {
  const { to, bucket, follower, db, generation, onPhase } = parts;
  const { blobs, node, by = "library", patience = PATIENCE, signal } = parts.options;
  const { journey, at } = announced.marker.shrink;
  const late = AbortSignal.timeout(patience);
  const either = signal === undefined ? late : AbortSignal.any([late, signal]);
  const end = Date.now() + patience;
  let waitsFor = "writes that had begun";
  let hint: string | undefined;
  let moved: Moved | null = null;
  let freezing: Promise<void> | undefined;
  const check = () => {
    if (Date.now() >= end || either.aborted) throw either.reason ?? new Error("late");
  };
  try {
    onPhase("freeze");
    await to.hold({ patience });
    waitsFor = "the server to stop all writers";
    freezing = blobs?.freeze();
    const [fence] = await Promise.all([freezeWriters(bucket, end), freezing]);
    onPhase("follow");
    waitsFor = "the follower";
    const { position, digest } = await follower.whenExact(fence, { signal: either });
    await follower.prepare(journey);
    waitsFor = `other programs to close ${follower.path}`;
    hint = usersOf(follower.path);
    while (!await holdAlone(parts)) {
      check();
      await wait(AGAIN);
    }
    check();
    hint = undefined;
    onPhase("mark");
    waitsFor = "the answer to the mark";
    moved = { node, db, at, position, digest, by };
    if (await leave(bucket, announced, moved, generation)) return moved;
    throw new Error("its answer was lost, or a record was written");
  } catch (error) {
    try {
      // Until it is settled, which may take long, reads are answered.
      to.releaseReads();
      if (await settle(bucket, announced) && moved !== null) return moved;
      await follower.share();
    } catch (failure) {
      to.release();
      throw failure;
    }
    to.release();
    // What has begun must not stop them after the thaw.
    await freezing?.catch(() => {});
    await blobs?.thaw();
    throw reasonOf(error, bucket, { waitsFor, hint, patience, signal });
  }
}

function reasonOf(
  error: unknown,
  bucket: Bucket,
  { waitsFor, hint, patience, signal }: {
    waitsFor: string;
    hint: string | undefined;
    patience: number;
    signal?: AbortSignal | undefined;
  },
): StoreError {
  const what = `Moving bucket ${bucket.name} to a file: the switch was called off`;
  if (signal?.aborted) return new StoreError("aborted", what, { cause: signal.reason });
  if (isStoreError(error) && error.code !== "unavailable") return error;
  const found = `it waited for ${waitsFor}, of ${patience} ms in all`;
  return new StoreError("unavailable", `${what}: ${found}`, {
    cause: error,
    ...hint === undefined ? {} : { field: "follower", hint },
  });
}
