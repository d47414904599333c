/**
 * What a start does with a file whose control plane was being switched, and how a move is called off.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { Bucket } from "../../jetstream/log/bucket.ts";
import { readMarker, writeMarker } from "../../jetstream/log/marker.ts";
import { type JetStreamOptions, openBucket } from "../../jetstream/mod.ts";
import { absolute } from "../../sqlite/file/file.ts";
import { JourneyFile } from "../../sqlite/file/journey/file.ts";
import { soon } from "../steps.ts";
import { settle } from "./mark.ts";

/** Options of {@link settleGrow} and {@link callOffGrow}. */
export interface SettleGrowOptions {
  /** Path of the SQLite file. */
  db: string;
  /** The servers and the bucket, as for `openJetStream`. */
  nats: JetStreamOptions;
  /** Ends it; the file stays frozen. */
  signal?: AbortSignal;
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
 * process has taken over; `unavailable`: no server; `not_found`: no such file or bucket; `aborted`
 */
export async function callOffGrow(options: SettleGrowOptions): Promise<boolean> {
  return await withBucket(options, (bucket) => callOffJourney(options.db, bucket));
}

async function withBucket<T>(
  { nats, signal }: SettleGrowOptions,
  work: (bucket: Bucket) => Promise<T>,
): Promise<T> {
  const { bucket, end } = await openBucket({
    ...nats,
    create: false,
    resize: false,
    ...signal && { signal },
  });
  try {
    return await work(bucket);
  } finally {
    await end();
  }
}

/** Options of {@link settleJourney}. */
export interface SettleOptions {
  /** Ends it; the file stays frozen. */
  signal?: AbortSignal | undefined;
  /** Called before each attempt. */
  onTry?: () => void;
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
 * @throws {StoreError} `refused`: the file has moved, or it is frozen and the bucket is not given
 */
export async function callOffJourney(db: string, bucket: Bucket | null): Promise<boolean> {
  using file = new JourneyFile(absolute(db));
  const { role, frozenAt } = file.role;
  const { journey } = file;
  if (role === "primary" && journey === null) return false;
  const outcome = bucket === null ? null : await settleFile(file, bucket);
  if (role !== "primary" || outcome === "moved" || outcome === null && frozenAt !== null) {
    const found = role === "primary" && outcome === null
      ? "only its bucket says whether it has moved"
      : "its control plane has moved";
    throw new StoreError("refused", `Calling off the move of ${file.path}: ${found}`);
  }
  if (bucket !== null) await markCalledOff(bucket, journey!.id);
  await file.end();
  return true;
}

/** Lets a later move of the same control plane use the bucket. */
async function markCalledOff(bucket: Bucket, id: string): Promise<void> {
  const { marker, revision } = await readMarker(bucket, soon());
  if (marker?.journey !== id || marker.state !== "in_progress") return;
  bucket.mark.own(id);
  await writeMarker(bucket, { ...marker, calledOff: new Date().toISOString() }, revision, soon());
}
