/**
 * The replicated backend: the control plane in one NATS JetStream KV bucket.
 *
 * @module
 */

import type { StreamInfo } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Backend } from "../core/backend.ts";
import { StoreError } from "../core/errors.ts";
import { type Connection, connectNats, type NatsOptions } from "../nats/connection/connect.ts";
import { within } from "../core/async/wait.ts";
import { createStore, type Store, type StoreOptions } from "../core/store.ts";
import type { Search } from "../core/store/search.ts";
import { integer } from "../core/validate.ts";
import { JetStreamBackend } from "./backend.ts";
import { Bucket } from "./log/bucket.ts";
import type { HistorySource } from "../core/history/source.ts";
import { ensureArchive } from "./history/archive.ts";
import { fsyncState } from "./log/fsync.ts";
import type { BucketHistory } from "./history/source.ts";
import { readMarker, refuseInProgress } from "./log/marker.ts";
import { checkServer, type EnsureOptions, ensureStream } from "./log/stream.ts";
import { watchMark, whyNoResponder } from "./moved.ts";

/** A warning for the operator; the store works. */
export interface StoreWarning {
  /** Stable code. */
  code: "no_fsync" | "fsync_unknown" | "other_replicas";
  /** The problem and what to do. */
  message: string;
}

/** Options of {@link openJetStream}. Either `servers` or `connection` is required. */
export interface JetStreamOptions extends Omit<NatsOptions, "servers">, StoreOptions {
  /** URL or URLs of the servers, such as `nats://127.0.0.1:4222`. */
  servers?: string | string[];
  /** Your own connection, of any NATS transport; it stays open when the store is closed. */
  connection?: Connection;
  /** Name of the bucket. Default `UNIBUS`. */
  bucket?: string;
  /**
   * Copies of the stream, 1 to 5; an existing stream is changed in place. Default: unchanged, 1 if
   * new.
   */
  replicas?: number;
  /**
   * Whether to change an existing stream to `replicas`. Default true. With `false` the number
   * applies only to a new stream, and `onWarning` reports a different one: a restarting server must
   * not undo what an operator has set meanwhile.
   */
  resize?: boolean;
  /** Create the bucket if it does not exist (default), or reject with `not_found`. */
  create?: boolean;
  /**
   * Time limit of an operation without progress in milliseconds. Default 5,000. An operation of up
   * to 1,000 messages is a single step; a larger one has this time for each further 1,000.
   */
  opTimeout?: number;
  /**
   * Time limit of opening in milliseconds. Default: 5,000 until a server answers, so that a wrong
   * URL is reported soon, and 120,000 until the cluster is ready.
   */
  bootstrapTimeout?: number;
  /**
   * Age in milliseconds above which cached data is too old to authorize anyone. Default 5,000, at
   * least 500. A cluster confirms its quorum about once a second, so a value below 3,000 may reject
   * users of a healthy cluster.
   */
  maxStaleness?: number;
  /** Keeps a history: an entry for each change, which `store.history` returns. Default `true`. */
  history?: boolean;
  /** Maximum number of memberships in memory; above it, the leader is queried. Default 200,000. */
  maxCachedMembers?: number;
  /** Open a bucket even if a move or an import into it is in progress, to repair or resume it. */
  allowInProgress?: boolean;
  /**
   * URL of the server's monitoring port, such as `http://127.0.0.1:8222`, to check whether it
   * syncs.
   */
  monitorUrl?: string;
  /** Called with warnings for the operator. */
  onWarning?: (warning: StoreWarning) => void;
}

/** A bucket opened without a store, for the move and the tools. */
export interface OpenBucket {
  /** The bucket. */
  bucket: Bucket;
  /** The stream's information when it was found or created. */
  info: StreamInfo;
  /** Closes the connection if the caller did not provide it. */
  end(): Promise<void>;
}

/** Connects, checks the server, and finds or creates the stream. */
export async function openBucket(
  options: JetStreamOptions & Pick<EnsureOptions, "firstSequence">,
): Promise<OpenBucket> {
  const name = bucketName(options.bucket ?? "UNIBUS");
  const replicas = options.replicas === undefined
    ? undefined
    : integer("replicas", options.replicas, 1, 5);
  const { bootstrapTimeout } = options;
  const timeout = integer("bootstrapTimeout", bootstrapTimeout ?? 120_000, 1, 3_600_000);
  const deadline = Date.now() + timeout;
  const { connection, servers, signal } = options;
  if (connection === undefined && servers === undefined) {
    throw new StoreError("invalid", "servers or connection must be set", { field: "servers" });
  }
  const nc = connection as NatsConnection | undefined ??
    await connectNats({ ...options, servers: servers! });
  const end = async () => {
    if (connection !== undefined || nc.isClosed()) return;
    await flushed(nc);
    await nc.close();
  };
  try {
    const bucket = new Bucket(nc, name);
    checkServer(bucket);
    const info = await ensureStream(bucket, {
      create: options.create ?? true,
      deadline,
      ...(replicas === undefined ? {} : { replicas }),
      resize: options.resize ?? true,
      firstSequence: options.firstSequence,
      signal,
    });
    bucket.created = info.created;
    const { num_replicas: found } = info.config;
    if (replicas !== undefined && found !== replicas) {
      options.onWarning?.({
        code: "other_replicas",
        message: `Bucket ${name} keeps its ${found} replicas, although ${replicas} were ` +
          `requested; run membershipd cluster scale --replicas ${replicas} to change them`,
      });
    }
    return { bucket, info, end };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Opens a store in a bucket; the public function is in `src/follower/open.ts`. */
export async function openJetStream(options: JetStreamOptions): Promise<Store> {
  return storeOf(
    await openBeside(options, () => Promise.resolve({ end: () => Promise.resolve() })),
    options,
  );
}

/** Makes the store of a backend. */
export function storeOf(backend: Backend, { clock }: Pick<JetStreamOptions, "clock">): Store {
  return createStore(backend, clock === undefined ? {} : { clock });
}

/** What stands beside a store on the same bucket. */
export interface Beside {
  /** Its search. */
  search?: Search;
  /** Returns where its history is read, given that of the bucket. */
  history?: (archive: BucketHistory) => HistorySource;
  /** Called first when the store is closed. */
  end(): Promise<void>;
}

/**
 * Opens the backend of a store with something beside it on the same bucket.
 *
 * @param attach Called before the backend answers anything
 */
export async function openBeside(
  options: JetStreamOptions,
  attach: (bucket: Bucket) => Promise<Beside>,
): Promise<Backend> {
  const opTimeout = integer("opTimeout", options.opTimeout ?? 5000, 1, 600_000);
  const maxStaleness = integer("maxStaleness", options.maxStaleness ?? 5000, 500, 600_000);
  const { history = true } = options;
  const maxMembers = integer("maxCachedMembers", options.maxCachedMembers ?? 200_000, 0, 1e9);
  const { bucket, info, end: disconnect } = await openBucket(options);
  const unwatch = watchMark(bucket);
  const end = async () => {
    unwatch();
    await disconnect();
  };
  let beside: Beside;
  try {
    const read = await readMarker(bucket, Date.now() + opTimeout);
    if (options.allowInProgress !== true) refuseInProgress(bucket, read);
    bucket.onNoResponder = whyNoResponder(bucket);
    bucket.generation = read.marker?.generation ?? 0;
    bucket.mark.begin(read.marker ?? {}, read.revision);
    if (history) {
      const replicas = info.config.num_replicas;
      const { resize = true, signal } = options;
      await ensureArchive(bucket, { replicas, resize, deadline: Date.now() + opTimeout, signal });
    }
    if (options.onWarning !== undefined) await warn(options.onWarning, options.monitorUrl);
    beside = await attach(bucket);
  } catch (error) {
    await end();
    throw error;
  }
  return new JetStreamBackend(
    bucket,
    { opTimeout, maxStaleness, maxMembers },
    {
      ...beside,
      keepsHistory: history,
      end: async () => {
        await beside.end();
        await end();
      },
    },
  );
}

/** Timeout in milliseconds of a flush before closing. */
const FLUSH_MS = 1000;

/**
 * Waits until the server has received everything that was sent, because closing drops the rest: a
 * consumer whose deletion never arrived makes the bucket look in use for 30 s.
 */
async function flushed(nc: NatsConnection): Promise<void> {
  await within(FLUSH_MS, nc.flush(), () => {}).catch(() => {});
}

/** Checks the name of a bucket. */
function bucketName(name: string): string {
  if (/^[A-Za-z0-9_-]{1,64}$/.test(name)) return name;
  throw new StoreError(
    "invalid",
    `bucket must be 1 to 64 letters, digits, - and _, found ${JSON.stringify(name)}`,
    { field: "bucket" },
  );
}

async function warn(
  onWarning: (warning: StoreWarning) => void,
  monitorUrl: string | undefined,
): Promise<void> {
  const state = await fsyncState(monitorUrl);
  if (state === "never") {
    onWarning({
      code: "no_fsync",
      message:
        "The nats-server acknowledges writes before it syncs them to disk: a power failure loses " +
        "acknowledged writes; set sync_interval: always in its jetstream block",
    });
  } else if (state === "unknown") {
    onWarning({
      code: "fsync_unknown",
      message:
        "Unknown whether the nats-server syncs writes to disk before it acknowledges them; set " +
        "monitorUrl to the URL of its monitoring port to check",
    });
  }
}
