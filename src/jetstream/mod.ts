/**
 * The replicated backend: the control plane in one NATS JetStream KV bucket.
 *
 * @module
 */

import type { StreamInfo } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../core/errors.ts";
import { type Connection, connectNats, type NatsOptions } from "../nats/connection/connect.ts";
import { within } from "../core/async/wait.ts";
import { createStore, type Store, type StoreOptions } from "../core/store.ts";
import { integer } from "../core/validate.ts";
import { JetStreamBackend } from "./backend.ts";
import { Bucket } from "./log/bucket.ts";
import { fsyncState } from "./log/fsync.ts";
import { readMarker, refuseInProgress } from "./log/marker.ts";
import { checkServer, ensureStream } from "./log/stream.ts";

/** Something an operator should know, which does not stop the store. */
export interface StoreWarning {
  /** Stable code. */
  code: "no_fsync" | "fsync_unknown" | "other_replicas";
  /** What it is and what to do. */
  message: string;
}

/** What {@link openJetStream} takes. Either `servers` or `connection` is needed. */
export interface JetStreamOptions extends Omit<NatsOptions, "servers">, StoreOptions {
  /** URL or URLs of the servers, such as `nats://127.0.0.1:4222`. */
  servers?: string | string[];
  /** A connection of your own, of any NATS transport; it stays open when the store is closed. */
  connection?: Connection;
  /** Name of the bucket. Default `UNIBUS`. */
  bucket?: string;
  /** Copies of the stream, 1 to 5; an existing one is changed in place. Default: 1, or as it is. */
  replicas?: number;
  /**
   * Whether an existing stream is brought to `replicas`, which is the default. With `false` the number
   * counts only where the stream is made, and `onWarning` hears of another one: a server that starts
   * again must not undo what an operator has set meanwhile.
   */
  resize?: boolean;
  /** Make the bucket when there is none (default), or reject with `not_found`. */
  create?: boolean;
  /**
   * How long one operation may go without progress, milliseconds. Default 5,000. One of up to 1,000
   * messages is a single step; a larger one has this long for each further 1,000.
   */
  opTimeout?: number;
  /**
   * How long opening may take, milliseconds. Default: 5,000 until a server answers, so that a wrong URL
   * is told soon, and 120,000 for the cluster behind it to come up.
   */
  bootstrapTimeout?: number;
  /**
   * Age, in milliseconds, beyond which what is known is too old to say yes. At least 500; a cluster
   * confirms its quorum about once a second, so below 3,000 a healthy one may be doubted. Default 5,000.
   */
  maxStaleness?: number;
  /** Memberships held in memory at most; above it the leader is asked. Default 200,000. */
  maxCachedMembers?: number;
  /** Open a bucket although its mark says a move or an import is in progress, to repair or continue. */
  allowInProgress?: boolean;
  /** URL of the server's monitoring port, such as `http://127.0.0.1:8222`, to see whether it syncs. */
  monitorUrl?: string;
  /** Called with what an operator should know. Default: nothing is said. */
  onWarning?: (warning: StoreWarning) => void;
}

/** A bucket opened for the move and the tools, below the store. */
export interface OpenBucket {
  /** The bucket. */
  bucket: Bucket;
  /** The stream as it was found or made. */
  info: StreamInfo;
  /** Closes the connection if it is ours. */
  end(): Promise<void>;
}

/** Connects, checks the server, and makes sure of the stream. */
export async function openBucket(options: JetStreamOptions): Promise<OpenBucket> {
  const name = bucketName(options.bucket ?? "UNIBUS");
  const replicas = options.replicas === undefined
    ? undefined
    : integer("replicas", options.replicas, 1, 5);
  const { bootstrapTimeout } = options;
  const timeout = integer("bootstrapTimeout", bootstrapTimeout ?? 120_000, 1, 3_600_000);
  const deadline = Date.now() + timeout;
  const { connection, servers, signal } = options;
  if (connection === undefined && servers === undefined) {
    throw new StoreError("invalid", "servers or connection must be given", { field: "servers" });
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
      signal,
    });
    bucket.created = info.created;
    const { num_replicas: found } = info.config;
    if (replicas !== undefined && found !== replicas) {
      options.onWarning?.({
        code: "other_replicas",
        message: `Bucket ${name} has ${found} replicas and keeps them, although ${replicas} were ` +
          `asked for; membershipd cluster scale --replicas ${replicas} changes them`,
      });
    }
    return { bucket, info, end };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Opens a store in a bucket; the public function is in `src/follower/open.ts`. */
export function openJetStream(options: JetStreamOptions): Promise<Store> {
  return openBeside(options, () => Promise.resolve(() => Promise.resolve()));
}

/**
 * Opens a store with something beside it on the same bucket.
 *
 * @param attach Called before the store answers anything; what it returns is called first on closing
 */
export async function openBeside(
  options: JetStreamOptions,
  attach: (bucket: Bucket) => Promise<() => Promise<void>>,
): Promise<Store> {
  const opTimeout = integer("opTimeout", options.opTimeout ?? 5000, 1, 600_000);
  const maxStaleness = integer("maxStaleness", options.maxStaleness ?? 5000, 500, 600_000);
  const maxMembers = integer("maxCachedMembers", options.maxCachedMembers ?? 200_000, 0, 1e9);
  const { bucket, end } = await openBucket(options);
  let detach: () => Promise<void>;
  try {
    if (options.allowInProgress !== true) {
      refuseInProgress(bucket, await readMarker(bucket, Date.now() + opTimeout));
    }
    if (options.onWarning !== undefined) await warn(options.onWarning, options.monitorUrl);
    detach = await attach(bucket);
  } catch (error) {
    await end();
    throw error;
  }
  const backend = new JetStreamBackend(
    bucket,
    { opTimeout, maxStaleness, maxMembers },
    async () => {
      await detach();
      await end();
    },
  );
  return createStore(backend, options.clock === undefined ? {} : { clock: options.clock });
}

/** How long closing waits for a server that does not answer, milliseconds. */
const FLUSH_MS = 1000;

/**
 * Waits until the server has all that was sent. Closing drops the rest: a consumer whose end never
 * arrived makes the bucket look used for 30 s.
 */
async function flushed(nc: NatsConnection): Promise<void> {
  await within(FLUSH_MS, nc.flush(), () => {}).catch(() => {});
}

/** A name that NATS takes for a bucket. */
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
        "The nats-server acknowledges before it syncs to disk: a power cut loses acknowledged " +
        "writes; set sync_interval: always in its jetstream block",
    });
  } else if (state === "unknown") {
    onWarning({
      code: "fsync_unknown",
      message:
        "Cannot tell whether the nats-server syncs to disk before it acknowledges; give the URL " +
        "of its monitoring port (monitorUrl) to find out",
    });
  }
}
