/**
 * The stream of the bucket: creates it, verifies that it belongs to this program, and changes its
 * number of replicas.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import { NEWER } from "../../core/hints.ts";
import { counted } from "../../core/text/counted.ts";
import {
  DiscardPolicy,
  type JetStreamManager,
  type PeerInfo,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from "@nats-io/jetstream";
import type { Bucket } from "./bucket.ts";
import { apiCode, CHANGE_TIMEOUT, CODE, findStream, manage, NO_ACCOUNT, wait } from "./wire.ts";

/** The version of the layout described in keys.ts and values.ts. */
export const LAYOUT_VERSION = 1;
const LAYOUT_KEY = "unibus.membership.layout";
/** Metadata key of an incomplete copy. */
export const COPYING_KEY = "unibus.membership.copying";

/**
 * Checks that the server has atomic batches.
 *
 * @throws {StoreError} unsupported: it is too old
 */
export function requireVersion({ info }: NatsConnection): void {
  const version = info?.version ?? "unknown";
  const [major = 0, minor = 0] = version.split(".").map((it) => parseInt(it));
  if (major > 2 || major === 2 && minor >= 12) return;
  throw new StoreError(
    "unsupported",
    `The nats-server is version ${version}; at least 2.12 is needed (atomic batches)`,
    { hint: "upgrade that nats-server" },
  );
}

/**
 * Checks that the server can store the bucket.
 *
 * @throws {StoreError} unsupported: the server is too old or runs without JetStream
 */
export function checkServer({ nc }: Bucket): void {
  requireVersion(nc);
  if (nc.info?.jetstream !== true) {
    throw new StoreError(
      "unsupported",
      "The nats-server runs without JetStream; start it with a jetstream block or -js",
    );
  }
}

/** Reads the stream's information; returns `null` if it does not exist. */
export async function streamInfo(
  bucket: Bucket,
  deadline: number,
  signal?: AbortSignal,
): Promise<StreamInfo | null> {
  try {
    return await findStream(bucket.nc, bucket.stream, deadline, signal);
  } catch (error) {
    throw explained(error, bucket, 1);
  }
}

/** Whether the writers of a bucket are stopped. */
export function isFrozen(bucket: Bucket, { config: { subjects } }: StreamInfo): boolean {
  return !subjects?.includes(bucket.subject(">"));
}

/**
 * Whether the stream takes records and no history entries: an earlier version made it, or let its
 * writers go on.
 */
export function lacksHistory(bucket: Bucket, info: StreamInfo): boolean {
  return !isFrozen(bucket, info) &&
    bucket.subjects.some((it) => !info.config.subjects?.includes(it));
}

/**
 * Describes what happened to the stream on which the bucket was opened; returns `null` if it still
 * exists.
 */
export function lossOf(bucket: Bucket, info: StreamInfo | null): string | null {
  const restore = "restore its contents from a snapshot or a backup, then open the store again";
  if (info === null) {
    return `Bucket ${bucket.name} was deleted while the store was open; ${restore}`;
  }
  if (info.created !== bucket.created) {
    bucket.loss =
      `Bucket ${bucket.name} was deleted and created again (${info.created}) while the ` +
      `store was open; ${restore}`;
  }
  return bucket.loss;
}

/** Queries the server for {@link lossOf}. */
export async function isStillOpened(bucket: Bucket, deadline: number): Promise<boolean> {
  return lossOf(bucket, await streamInfo(bucket, deadline)) === null;
}

function explained(error: unknown, bucket: Bucket, replicas: number): unknown {
  const code = apiCode(error);
  if (code === CODE.notEnabledForAccount) {
    return new StoreError("unsupported", "JetStream is not enabled for this account", {
      cause: error,
      hint: NO_ACCOUNT,
    });
  }
  if (code === CODE.replicasNotSupported) {
    return new StoreError(
      "invalid",
      `replicas ${replicas} needs a cluster of at least that many servers, found one server`,
      { field: "replicas", cause: error },
    );
  }
  if (code === CODE.noPeers || code === CODE.insufficientResources) {
    return new StoreError(
      "unavailable",
      `Bucket ${bucket.name} with ${replicas} replicas: the cluster has not enough servers for it`,
      { cause: error },
    );
  }
  return error;
}

function configOf(bucket: Bucket, replicas: number): Partial<StreamConfig> & { name: string } {
  return {
    name: bucket.stream,
    subjects: bucket.subjects,
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    num_replicas: replicas,
    max_msgs_per_subject: 1,
    max_consumers: -1,
    max_msgs: -1,
    max_bytes: -1,
    max_age: 0,
    max_msg_size: -1,
    discard: DiscardPolicy.New,
    allow_direct: true,
    allow_rollup_hdrs: true,
    deny_delete: true,
    allow_msg_ttl: true,
    allow_atomic: true,
    metadata: { [LAYOUT_KEY]: String(LAYOUT_VERSION) },
  };
}

/** Options of {@link ensureStream}. */
export interface EnsureOptions {
  /** Number of copies. Default: unchanged. */
  replicas?: number;
  /** Whether to change an existing stream to `replicas`. */
  resize: boolean;
  /** Create it if it does not exist; otherwise throw `not_found`. */
  create: boolean;
  /** The sequence that a new one begins at. Default 1. */
  firstSequence?: number | undefined;
  /** When to stop retrying. */
  deadline: number;
  /** Aborts the wait. */
  signal?: AbortSignal;
}

/**
 * Creates the stream, or verifies that it belongs to this program and changes its number of
 * replicas if allowed. Retries until the deadline while a starting cluster has no leader or is
 * missing servers.
 */
export async function ensureStream(bucket: Bucket, options: EnsureOptions): Promise<StreamInfo> {
  const { replicas, deadline, signal } = options;
  const clustered = Boolean((bucket.nc.info as { cluster?: string } | undefined)?.cluster);
  if (replicas !== undefined && replicas > 1 && !clustered) {
    throw new StoreError(
      "invalid",
      `replicas ${replicas} needs a cluster of at least that many servers, found one server`,
      { field: "replicas" },
    );
  }
  let changed = false;
  for (;;) {
    let info = await streamInfo(bucket, deadline, signal);
    if (info === null) {
      if (!options.create) {
        throw new StoreError("not_found", `No bucket ${bucket.name} on this server`, {
          field: "bucket",
          hint: "check the name, or use `create: true` to create a new bucket",
        });
      }
      const { firstSequence } = options;
      const config = {
        ...configOf(bucket, replicas ?? 1),
        ...firstSequence === undefined ? {} : { first_seq: firstSequence },
      };
      const made: StreamInfo & { did_create?: boolean } | null = await attempt(
        replicas ?? 1,
        (jsm) => jsm.streams.add(config),
      );
      if (made === null) continue;
      // Another process may have created the same one at the same time.
      bucket.isNew = made.did_create === true;
      info = made;
      changed = true;
    }
    const ours = recognise(bucket, info);
    const subjects = lacksHistory(bucket, info) ? bucket.subjects : info.config.subjects;
    // A new stream already has the number.
    const { num_replicas: found } = info.config;
    const wanted = options.resize ? replicas ?? found : found;
    if (ours && found === wanted && subjects === info.config.subjects) {
      // An unreachable node does not prevent opening: only a change waits.
      return changed ? await waitCurrent(bucket, info, deadline, signal) : info;
    }
    changed = true;
    const { metadata } = info.config;
    await attempt(wanted, (jsm) =>
      jsm.streams.update(bucket.stream, {
        allow_atomic: true,
        allow_direct: true,
        allow_msg_ttl: true,
        num_replicas: wanted,
        subjects,
        metadata: { ...metadata, [LAYOUT_KEY]: String(LAYOUT_VERSION) },
      }));
  }

  /** Returns `null` if it can be retried. */
  async function attempt(
    wanted: number,
    call: (jsm: JetStreamManager) => Promise<StreamInfo>,
  ): Promise<StreamInfo | null> {
    const what = `Configure stream ${bucket.stream}`;
    try {
      return await manage(bucket.nc, what, call, { deadline, signal, tryTimeout: CHANGE_TIMEOUT });
    } catch (error) {
      const code = apiCode(error);
      // Another process was faster.
      if (code === CODE.streamNameInUse) return null;
      // Servers of the cluster may still be starting.
      const scarce = code === CODE.noPeers || code === CODE.insufficientResources;
      if (!scarce || Date.now() + 500 > deadline) throw explained(error, bucket, wanted);
      await wait(500, signal);
      return null;
    }
  }
}

/**
 * Checks that the stream belongs to this program.
 *
 * @throws {StoreError} refused: it was created by another program
 * @throws {StoreError} unsupported: it has a newer layout
 */
function recognise(bucket: Bucket, info: StreamInfo): boolean {
  if (info.config.metadata?.[COPYING_KEY] !== undefined) {
    throw new StoreError(
      "in_progress",
      `Bucket ${bucket.name} is an incomplete copy; run cluster import again`,
    );
  }
  const layout = info.config.metadata?.[LAYOUT_KEY];
  if (layout === undefined) {
    const { max_msgs_per_subject: history, max_age: age, storage } = info.config;
    if (info.state.messages === 0 && history === 1 && !age && storage === StorageType.File) {
      return false;
    }
    throw new StoreError(
      "refused",
      `Bucket ${bucket.name} was not created by unibus membership (it contains ${
        counted(info.state.messages, "message")
      }); use another bucket name`,
    );
  }
  if (layout !== String(LAYOUT_VERSION)) {
    throw new StoreError(
      "unsupported",
      `Bucket ${bucket.name} has layout ${layout}, this code reads ${LAYOUT_VERSION}`,
      { hint: NEWER },
    );
  }
  return info.config.allow_atomic === true && info.config.allow_direct === true &&
    info.config.allow_msg_ttl === true;
}

async function waitCurrent(
  bucket: Bucket,
  info: StreamInfo,
  deadline: number,
  signal?: AbortSignal,
): Promise<StreamInfo> {
  let now: StreamInfo | null = info;
  for (;;) {
    if (now !== null && isCurrent(now)) return now;
    if (Date.now() + 100 > deadline) {
      throw new StoreError(
        "unavailable",
        `Bucket ${bucket.name}: not all of its ${info.config.num_replicas} replicas are current`,
      );
    }
    await wait(100, signal);
    now = await streamInfo(bucket, deadline, signal);
  }
}

/** Reports whether there is a leader and every replica is up to date with it. */
export function isCurrent(info: StreamInfo): boolean {
  const replicas = info.cluster?.replicas ?? [];
  if (info.config.num_replicas <= 1) return replicas.length === 0;
  return Boolean(info.cluster?.leader) && replicas.length === info.config.num_replicas - 1 &&
    replicas.every(isCurrentReplica);
}

/** Reports whether a replica is up to date with the leader. */
export function isCurrentReplica({ current, offline }: PeerInfo): boolean {
  return current && !offline;
}

/**
 * Returns the time in milliseconds since the leader last heard from enough replicas to be sure that
 * there was no other leader. With one replica this is 0.
 */
export function quorumAge(info: StreamInfo): number {
  const others = (info.cluster?.replicas ?? [])
    // A peer that this leader has never heard from is reported as active 0 ns ago.
    .map((it) => it.active > 0 ? it.active / 1e6 : Infinity).sort((a, b) => a - b);
  const needed = Math.floor((others.length + 1) / 2);
  return needed === 0 ? 0 : others[needed - 1]!;
}
