/**
 * What a start does with a file whose control plane was being switched, and how a move is called off.
 *
 * @module
 */

import { isStoreError, StoreError } from "../../core/errors.ts";
import type { Bucket } from "../../jetstream/log/bucket.ts";
import { readMarker, writeMarker } from "../../jetstream/log/marker.ts";
import { type JetStreamOptions, openBucket } from "../../jetstream/mod.ts";
import { absolute } from "../../sqlite/file/file.ts";
import { type FrozenJourney, JourneyFile, journeyOf } from "../../sqlite/file/journey/file.ts";
import { soon } from "../steps.ts";
import { settle, type SettleOptions } from "./mark.ts";

/** Options of {@link settleGrow}. */
export interface SettleGrowOptions {
  /** Path of the SQLite file. */
  db: string;
  /** The servers and the bucket, as for `openJetStream`. */
  nats: JetStreamOptions;
  /** Ends it; the file stays frozen. */
  signal?: AbortSignal;
}

/** Options of {@link callOffGrow}. */
export interface CallOffGrowOptions extends SettleGrowOptions {
  /**
   * Call the move off although its bucket does not exist any more. If the file is frozen, nobody knows
   * whether the control plane had moved: then all that was written to the bucket is lost, such as
   * revocations, and the file serves as it was. A second copy on another node may be newer. A frozen file
   * needs a majority of the servers, on which the bucket is created again, without records. Default `false`.
   */
  force?: boolean;
}

/**
 * Settles the switch of a file that a killed {@link growStore} left frozen, before the file is opened: the
 * control plane has moved, or the file's writers are let in again and the move can continue. Tries until
 * the bucket answers. A file that is not frozen is left as it is.
 *
 * @param options The file and the bucket
 * @returns `moved`, or `primary`: the file can be opened for writing
 * @throws {StoreError} `refused`: another bucket; `conflict`: another process settles it; `unavailable`: no
 * server; `not_found`: no such file or bucket; `aborted`
 *
 * @example
 * ```ts ignore
 * import { settleGrow } from "@unibus/membership";
 *
 * const nats = { servers: "nats://127.0.0.1:4222" };
 * console.log(await settleGrow({ db: "./local_files/unibus.db", nats }));
 * ```
 */
export async function settleGrow(options: SettleGrowOptions): Promise<"moved" | "primary"> {
  return await withBucket(options, (bucket) => settleJourney(options.db, bucket, options));
}

/**
 * Calls off a move by {@link growStore} that was interrupted. Later changes of the file are not noted, and
 * a later move begins again.
 *
 * @param options The file and the bucket
 * @returns Whether there was a move
 * @throws {StoreError} `refused`: the control plane has moved, or another bucket; `conflict`: another
 * process has taken over; `unavailable`: no server; `not_found`: no such file, or no such bucket and not
 * `force`; `aborted`
 */
export async function callOffGrow(options: CallOffGrowOptions): Promise<boolean> {
  const { db, force = false } = options;
  const callOff = (bucket: Bucket) => callOffJourney(db, bucket, options);
  try {
    return await withBucket(options, callOff);
  } catch (error) {
    const journey = isStoreError(error, "not_found") && error.field === "bucket"
      ? journeyOf(absolute(db))
      : null;
    if (journey === null) throw error;
    if (!force) throw bucketGone(absolute(db), journey);
    return journey.frozenAt === null
      ? await callOffJourney(db, null)
      : await withBucket(options, callOff, { create: true, firstSequence: Date.now() });
  }
}

function bucketGone(db: string, { bucket, frozenAt }: FrozenJourney): StoreError {
  const since = frozenAt === null ? null : new Date(frozenAt).toISOString();
  return new StoreError(
    "not_found",
    `Calling off the move of ${db}: bucket ${bucket} does not exist on these servers` +
      (since === null ? "" : `, and only its mark says whether the switch of ${since} was made`),
    {
      field: "bucket",
      hint:
        "connect to the servers of the move. If the bucket is gone for good, call the move off with " +
        "force" +
        (since === null ? "" : ": the file serves as it was then, and later changes such as " +
          "revocations are lost; a second copy on another node may be newer"),
    },
  );
}

/**
 * Opens the bucket of a move. With `create`, a bucket that is gone is made again: a completed mark that is
 * still on its way expects a revision of the former one, which no revision of this one is, if it begins at
 * a `firstSequence` above all of them. A bucket has fewer changes than milliseconds since 1970.
 */
async function withBucket<T>(
  { nats, signal }: SettleGrowOptions,
  work: (bucket: Bucket) => Promise<T>,
  lost: { create: boolean; firstSequence?: number } = { create: false },
): Promise<T> {
  const { bucket, end } = await openBucket({
    ...nats,
    ...lost,
    resize: false,
    ...signal && { signal },
  });
  try {
    return await work(bucket);
  } finally {
    await end();
  }
}

/** What a file is after a switch was settled. */
export type Outcome = "moved" | "primary";

/**
 * Settles the switch of a frozen file: it has moved, or its writers are let in again and the move can
 * continue. Tries until the bucket answers.
 *
 * @throws {StoreError} `conflict`: another process does; `aborted`
 */
export async function settleJourney(
  db: string,
  bucket: Bucket,
  options: SettleOptions = {},
): Promise<Outcome> {
  using file = new JourneyFile(absolute(db));
  return await settleFile(file, bucket, options);
}

/** The same, with an open file. */
export async function settleFile(
  file: JourneyFile,
  bucket: Bucket,
  options: SettleOptions = {},
): Promise<Outcome> {
  const { role, frozenAt } = file.role;
  if (role === "moved") return "moved";
  const { journey } = file;
  if (journey === null || frozenAt === null) return "primary";
  if (journey.bucket !== bucket.name) {
    throw new StoreError(
      "refused",
      `Settling ${file.path}: its control plane was being switched to bucket ${journey.bucket}, not ` +
        bucket.name,
      { field: "bucket" },
    );
  }
  const found = await settle(bucket, file, journey, options);
  if (found.moved) {
    const { bucket: name, servers } = journey;
    await file.setMoved(journey, { bucket: name, servers, at: new Date().toISOString() });
    return "moved";
  }
  await file.thaw(found.journey);
  return "primary";
}

/**
 * Calls off the move of a file: its changes are no longer noted, and a later move begins again.
 *
 * @param bucket The bucket; `null` if it is gone for good
 * @returns Whether there was a move
 * @throws {StoreError} `refused`: the file has moved; `not_found`: it is frozen and the bucket is gone
 */
export async function callOffJourney(
  db: string,
  bucket: Bucket | null,
  { signal }: Pick<SettleOptions, "signal"> = {},
): Promise<boolean> {
  using file = new JourneyFile(absolute(db));
  const { role, frozenAt } = file.role;
  const { journey } = file;
  if (role === "primary" && journey === null) return false;
  if (role === "primary" && bucket === null && frozenAt !== null) {
    throw bucketGone(file.path, { ...journey!, frozenAt });
  }
  const outcome = bucket === null ? role : await settleFile(file, bucket, { signal });
  if (outcome !== "primary") {
    const found = "its control plane has moved";
    throw new StoreError("refused", `Calling off the move of ${file.path}: ${found}`);
  }
  if (bucket === null) {
    await file.abandon(journey!);
    return true;
  }
  await markCalledOff(bucket, journey!.id);
  await file.end();
  return true;
}

/** Lets a later move of the same control plane use the bucket. */
export async function markCalledOff(bucket: Bucket, id: string): Promise<void> {
  const { marker, revision } = await readMarker(bucket, soon());
  if (marker?.journey !== id || marker.state !== "in_progress") return;
  // The move that brought the control plane out of the bucket.
  if (marker.moved !== undefined) return;
  bucket.mark.own(id);
  await writeMarker(bucket, { ...marker, calledOff: new Date().toISOString() }, revision, soon());
}
