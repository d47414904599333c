/**
 * The archive of a bucket's history: a stream that takes over each entry of the bucket's stream, where
 * entries live for some days only, and keeps them all under one subject. Its order is that of the
 * revisions.
 *
 * @module
 */

import {
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from "@nats-io/jetstream";
import { StoreError } from "../../core/errors.ts";
import type { Bucket } from "../log/bucket.ts";
import {
  apiCode,
  CHANGE_TIMEOUT,
  CODE,
  findStream,
  manage,
  purgeStream,
  updateStream,
  wait,
} from "../log/wire.ts";
import { HISTORY_PATTERN } from "../records/keys.ts";

/** Metadata key by which the stream is recognised; its value is the layout's version. */
const ARCHIVE_KEY = "unibus.membership.archive";
const ARCHIVE_VERSION = "1";

/** Pause before a cluster is asked again for enough servers, milliseconds. */
const AGAIN = 500;

/** Where a bucket's archive is. */
export interface ArchivePlace {
  /** The stream. */
  stream: string;
  /** The subject of all its messages. */
  subject: string;
}

/** Returns where the archive of a bucket is. */
export function archiveOf(bucket: string): ArchivePlace {
  return { stream: `${bucket}_HISTORY`, subject: `$UNIBUS.${bucket}.archive` };
}

/** Reads the archive's information; returns `null` if there is none. */
export function archiveInfo(bucket: Bucket, deadline: number): Promise<StreamInfo | null> {
  return findStream(bucket.nc, archiveOf(bucket.name).stream, deadline);
}

/** @param from The first sequence of the bucket's stream that is taken over; undefined for all */
function configOf(
  bucket: Bucket,
  replicas: number,
  from?: number,
): Partial<StreamConfig> & { name: string } {
  const { stream, subject } = archiveOf(bucket.name);
  return {
    name: stream,
    // For the entries that a move brings; the others come from the source.
    subjects: [subject],
    sources: [{
      name: bucket.stream,
      ...from !== undefined && { opt_start_seq: from },
      subject_transforms: [{ src: bucket.subject(HISTORY_PATTERN), dest: subject }],
    }],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    num_replicas: replicas,
    // Only what a pruning entry names is removed, from the front. So there are no gaps.
    max_age: 0,
    deny_delete: true,
    // Otherwise a source's times to live would apply here too.
    allow_msg_ttl: false,
    allow_direct: true,
    // A move brings them in batches: a message alone takes a sync of its own.
    allow_atomic: true,
    metadata: { [ARCHIVE_KEY]: ARCHIVE_VERSION },
  };
}

/** Options of {@link ensureArchive}. */
export interface EnsureArchiveOptions {
  /** Number of copies: that of the bucket. */
  replicas: number;
  /** Whether to change an existing archive to `replicas`. */
  resize: boolean;
  /** When to stop retrying. */
  deadline: number;
  /** Aborts the wait. */
  signal?: AbortSignal | undefined;
}

/**
 * Creates the archive of a bucket, or verifies that it is one, that takes the bucket's entries, and gives
 * it as many copies as the bucket has.
 *
 * @throws {StoreError} refused: a stream of that name belongs to another program
 */
export async function ensureArchive(
  bucket: Bucket,
  { replicas, resize, deadline, signal }: EnsureArchiveOptions,
): Promise<void> {
  const { stream } = archiveOf(bucket.name);
  const options = { deadline, signal, tryTimeout: CHANGE_TIMEOUT };
  const add = (jsm: JetStreamManager) => jsm.streams.add(configOf(bucket, replicas));
  let info = await archiveInfo(bucket, deadline);
  while (info === null) {
    try {
      info = await manage(bucket.nc, `Create stream ${stream}`, add, options);
    } catch (error) {
      // Another process was faster, with another number of copies; or servers are still starting.
      const code = apiCode(error);
      const scarce = code === CODE.noPeers || code === CODE.insufficientResources;
      if (code !== CODE.streamNameInUse && !(scarce && Date.now() + AGAIN < deadline)) throw error;
      if (scarce) await wait(AGAIN, signal);
      info = await archiveInfo(bucket, deadline);
    }
  }
  const { config } = info;
  if (config.metadata?.[ARCHIVE_KEY] !== ARCHIVE_VERSION) {
    throw new StoreError(
      "refused",
      `Stream ${stream}, the place for the history of bucket ${bucket.name}, was not created by ` +
        "unibus membership; use another bucket name",
      { field: "bucket" },
    );
  }
  const wanted = resize ? replicas : config.num_replicas;
  const isCurrent = config.num_replicas === wanted && config.allow_atomic === true &&
    config.sources?.[0]?.name === bucket.stream;
  if (isCurrent) return;
  const { sources, allow_atomic } = configOf(bucket, wanted);
  const changes = { num_replicas: wanted, sources, allow_atomic };
  await updateStream(bucket.nc, stream, changes, { deadline, signal });
}

/**
 * Creates the archive again: empty, and taking nothing over until {@link fillArchive}.
 *
 * @param first Its first sequence; after all earlier ones, so that no reader continues among others
 */
export async function emptyArchive(
  bucket: Bucket,
  { replicas, first, deadline }: Pick<EnsureArchiveOptions, "replicas" | "deadline"> & {
    first: number;
  },
): Promise<void> {
  const { stream } = archiveOf(bucket.name);
  const options = { deadline, tryTimeout: CHANGE_TIMEOUT };
  const configure = <T>(call: (jsm: JetStreamManager) => Promise<T>) =>
    manage(bucket.nc, `Create stream ${stream} again`, call, options);
  if (await archiveInfo(bucket, deadline) !== null) {
    await configure((jsm) => jsm.streams.delete(stream));
  }
  const config = { ...configOf(bucket, replicas), sources: [], first_seq: first };
  await configure((jsm) => jsm.streams.add(config));
}

/** Makes an archive take over the bucket's entries from a sequence on. */
export async function fillArchive(bucket: Bucket, from: number, deadline: number): Promise<void> {
  const { sources } = configOf(bucket, 1, from);
  await updateStream(bucket.nc, archiveOf(bucket.name).stream, { sources }, { deadline });
}

/** Removes the archive's messages before a sequence. */
export async function purgeArchive(
  bucket: Bucket,
  sequence: number,
  deadline: number,
): Promise<void> {
  await purgeStream(bucket.nc, archiveOf(bucket.name).stream, { seq: sequence }, deadline);
}
