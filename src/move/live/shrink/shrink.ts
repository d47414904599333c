/**
 * The live move from a bucket to a file.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { isStoreError, StoreError } from "../../../core/errors.ts";
import { switchOf } from "../../../core/store/switching.ts";
import type { Store } from "../../../core/store.ts";
import { counted } from "../../../core/text/counted.ts";
import { checkBeside } from "../../../follower/file/check_beside.ts";
import { FileFollower } from "../../../follower/follower.ts";
import { closeReaders, followerOf } from "../../../follower/open.ts";
import { JetStreamBackend } from "../../../jetstream/backend.ts";
import { readMarker, refuseInProgress } from "../../../jetstream/log/marker.ts";
import { aborted, wait } from "../../../jetstream/log/wire.ts";
import { absolute } from "../../../sqlite/file/file.ts";
import { openSqlite } from "../../../sqlite/mod.ts";
import { whenRemembered } from "../../history/followed.ts";
import { soon } from "../../steps.ts";
import { mayPass, reasonOf, requireAlone, type Users } from "./alone.ts";
import { announce } from "./marks.ts";
import { type Becomes, place, requirePlace, take } from "./place.ts";
import { leaveBucket, type Switching } from "./switch.ts";
import type { ShrinkOptions, ShrinkPhase, ShrinkReport } from "./types.ts";

/** How long the follower may take to be exact before the move begins, milliseconds. */
const CATCH_UP = 30_000;
/** Pauses before making the file the store's is tried again, milliseconds. */
const FORWARD = { first: 100, longest: 2000 };
/** How long the file is kept ready for the switch, milliseconds. */
const READY = 10_000;
/** Pauses after a switch that was called off, milliseconds. */
const RETRY = { first: 500, longest: 10_000 };

/**
 * Moves the control plane of an open store from its bucket to a file, while it serves. The store's
 * follower becomes the file, so nothing is copied. Writes wait for less than a second; reads and
 * authorizations are answered throughout. The store answers from the file afterwards.
 *
 * All writers of the bucket, in any process, are stopped at the server. The bucket's mark then says that
 * the control plane has left: that is the point of no return. Before it the move can be called off, and
 * is, when the switch takes too long; it is then tried again. After it there is only forward: what fails is
 * tried again until it is made, and when the process is killed, {@link finishShrink} finishes it at the
 * next start. Stores and followers that are
 * open elsewhere are refused from then on.
 *
 * @param store The store, opened with `openJetStream` and a follower
 * @param options Where it moves to
 * @returns What was done
 * @throws {StoreError} `refused`: the file cannot be put there, the follower is not exact, holds invalid
 * records or is open in another program, or the control plane has left already; `corrupt`: the follower has
 * an alarm, or is damaged; `in_progress`: another move has begun; `unavailable`: every switch was called
 * off; `aborted`
 *
 * @example
 * ```ts ignore
 * const report = await shrinkStore(store, { db: "./local_files/unibus.db", node: "n1" });
 * console.log(report.pauseMs, report.backup);
 * ```
 */
export async function shrinkStore(store: Store, options: ShrinkOptions): Promise<ShrinkReport> {
  const { blobs, dryRun = false, attempts = 10, ready, node, signal } = options;
  const db = absolute(options.db);
  const to = switchOf(store);
  const { current: backend } = to;
  const follower = followerOf(backend);
  if (!(backend instanceof JetStreamBackend) || !(follower instanceof FileFollower)) {
    throw new StoreError("invalid", "store must be one in a bucket, opened with a follower", {
      field: "store",
    });
  }
  const { bucket } = backend;
  const report: ShrinkReport = {
    version: 1,
    dryRun,
    db,
    backup: null,
    bucket: bucket.name,
    journey: "",
    position: 0,
    digest: "",
    generation: bucket.generation + 1,
    undone: [],
    attempts: 0,
    pauseMs: 0,
  };
  let calledOff: StoreError | null = null;
  let waitsFor: string | null = null;
  const onPhase = (phase: ShrinkPhase, why = waitsFor) => {
    waitsFor = why;
    options.onProgress?.({
      phase,
      attempt: report.attempts,
      calledOff: calledOff?.message ?? null,
      waitsFor,
    });
  };
  onPhase("check");
  const users = { to, backend, follower };
  const storeId = await check(users, db, signal);
  if (options.history !== false) await whenRemembered(bucket, follower, signal);
  if (dryRun) {
    const { position, digest } = follower.state();
    return { ...report, position, digest };
  }
  await blobs?.copy();
  for (let pause = RETRY.first;; pause = Math.min(2 * pause, RETRY.longest)) {
    await ready?.();
    // So that little is left when all wait for it.
    await follower.rest(READY);
    await follower.whenExact(undefined, { signal });
    report.attempts++;
    onPhase("begin");
    // Another one for each attempt: what an earlier one sent is never taken for it.
    const journey = report.journey = randomBytes(16).toString("hex");
    try {
      const announced = await announce(
        bucket,
        { journey, node, at: new Date().toISOString() },
        storeId,
      );
      const begun = performance.now();
      const { generation } = report;
      const parts = { ...users, bucket, db, generation, options, onPhase };
      const moved = await leaveBucket(parts, announced);
      report.position = moved.position;
      report.digest = moved.digest;
      const becomes = { moved, journey, generation, storeId };
      Object.assign(report, await finish(parts, becomes, begun));
      return report;
    } catch (error) {
      if (!isStoreError(error, "unavailable") || to.current !== backend) throw error;
      if (bucket.mark.moved !== null || report.attempts >= attempts) throw error;
      calledOff = error;
    }
    await wait(pause, signal);
  }
}

/**
 * Checks all that takes long, before anybody waits.
 *
 * @returns The identity of the control plane
 */
async function check(
  users: Users,
  db: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const { backend: { bucket }, follower } = users;
  const read = await readMarker(bucket, soon());
  refuseInProgress(bucket, read);
  const storeId = requirePlace(db, follower.path, read.marker?.source ?? null);
  if (follower.alarm !== null) throw follower.alarm;
  const refuse = (field: string, found: string, hint: string): never => {
    const what = `Moving bucket ${bucket.name} to a file`;
    throw new StoreError("refused", `${what}: the follower ${follower.path} ${found}`, {
      field,
      hint,
    });
  };
  const exact = async () => {
    const late = AbortSignal.timeout(CATCH_UP);
    const either = signal === undefined ? late : AbortSignal.any([late, signal]);
    try {
      return await follower.whenExact(undefined, { signal: either });
    } catch (error) {
      if (signal?.aborted) throw aborted(signal);
      if (!late.aborted) throw error;
      const { position, failure } = follower.state();
      const why = failure === null ? "" : `: ${failure.message}`;
      return refuse("position", `is not exact, at position ${position}${why}`, "wait until it is");
    }
  };
  const state = await exact();
  if (state.role !== "apply") {
    refuse("role", "is written by another process", "end the other process that follows with it");
  }
  if (state.quarantined > 0) {
    const found = `lacks ${counted(state.quarantined, "invalid record")} of its bucket`;
    refuse("quarantined", found, "repair them in the bucket with membershipd doctor --repair");
  }
  await checkBeside(follower.path, signal);
  await requireAlone(users, exact, signal);
  return storeId;
}

/** What was made behind the point of no return. */
type Made = Pick<ShrinkReport, "undone" | "backup" | "pauseMs">;

/** Makes the follower the store's file. There is only forward: what fails is tried again. */
async function finish(parts: Switching, becomes: Becomes, begun: number): Promise<Made> {
  const { to, bucket, backend, options, onPhase } = parts;
  const made: Made = { undone: [], backup: null, pauseMs: 0 };
  for (let pause = FORWARD.first;; pause = Math.min(2 * pause, FORWARD.longest)) {
    try {
      onPhase("finish");
      await replace(parts, becomes, begun, made);
      onPhase("done");
      return made;
    } catch (error) {
      try {
        if (!mayPass(error) || to.current !== backend) throw error;
        onPhase("finish", reasonOf(error));
        // Nothing changes in the bucket, so it answers them meanwhile.
        to.releaseReads();
        await wait(pause, options.stop);
      } catch (end) {
        bucket.mark.leave(becomes);
        to.release();
        throw end;
      }
    }
  }
}

/** Makes the follower's file the primary, and the store's; notes in `made` what an earlier try has not. */
async function replace(
  { to, backend, follower, db, onPhase }: Switching,
  becomes: Becomes,
  begun: number,
  made: Made,
): Promise<void> {
  // Searches and the history read the follower's file, which only it may have open now. The last one that
  // closes it, in its thread, writes its log into it.
  await to.hold({ reads: true });
  await closeReaders(backend);
  // It is exact where the control plane left; of the mark behind that it need not know.
  await follower.close({ drain: false });
  onPhase("flip");
  made.undone.push(...take(db, follower.path, becomes));
  onPhase("rename");
  made.backup ??= place(db, follower.path, becomes.journey);
  onPhase("open");
  const closed = to.replace(switchOf(openSqlite(db, { create: false })).take());
  to.release();
  made.pauseMs = performance.now() - begun;
  await closed;
}
