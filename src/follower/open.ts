/**
 * A store in JetStream with a follower beside it, as a witness of what the stream held.
 *
 * @module
 */

import { isStoreError, type StoreError } from "../core/errors.ts";
import type { Backend } from "../core/backend.ts";
import type { Store } from "../core/store.ts";
import { switchOf } from "../core/store/switching.ts";
import type { Bucket, Witness } from "../jetstream/log/bucket.ts";
import {
  type JetStreamOptions,
  openBeside,
  openJetStream as openAlone,
  storeOf,
} from "../jetstream/mod.ts";
import { absolute } from "../sqlite/file/file.ts";
import { FileSearch } from "../sqlite/search/mod.ts";
import { follow } from "./follow.ts";
import { FollowerHistory } from "./history/source.ts";
import type { Parts } from "./parts.ts";
import { isFollowing, type Opened, Plane } from "./watch/plane.ts";
import type { Follower } from "./types.ts";
import { damagedFile } from "./watch/degraded.ts";

/** What {@link openJetStream} takes. Either `servers` or `connection` is needed. */
export interface OpenJetStreamOptions extends JetStreamOptions {
  /**
   * A SQLite file that keeps a second copy of the bucket; created if it does not exist. The store does
   * not open, and later answers no and `corrupt`, when the stream lost or changed something that the file
   * holds, until an operator has repaired that. Default: none.
   */
  follower?: string;
  /** Discard what the follower holds, with its alarm, and take the stream as it is. Default `false`. */
  accept?: boolean;
  /** Called when the stream is found to have lost or changed something; `corrupt`. */
  onAlarm?: (alarm: StoreError) => void;
  /**
   * Called with what is wrong while the store goes on: records of the bucket that are not valid, or a
   * damaged follower (`field` `invalid` or `file`); with `null` when that is over.
   */
  onDegraded?: (degraded: StoreError | null) => void;
  /** Called when the store answers again after a repair. */
  onRenewed?: () => void;
}

/**
 * Opens the control plane in a JetStream bucket, which is created if it does not exist. Needs nats-server
 * 2.12 or later. While a cluster is starting, it retries within `bootstrapTimeout`.
 *
 * @param options The servers or a connection, the bucket, and how to use it
 * @returns A store; close it when done
 * @throws {StoreError} `unavailable`: no server, wrong credentials, or TLS failed; `unsupported`: the
 * server is too old or has no JetStream, or a newer program created the bucket; `refused`: the bucket
 * belongs to another program, or `follower` is not the file of a follower; `in_progress`: a migration
 * into the bucket is not complete; `invalid`: an option, or more replicas than servers; `not_found`:
 * no such bucket, and `create` is `false`; `corrupt`: the stream lost or changed what `follower` holds
 *
 * @example
 * ```ts ignore
 * import { openJetStream } from "@unibus/membership";
 *
 * await using store = await openJetStream({ servers: "nats://127.0.0.1:4222", replicas: 3 });
 * console.log(await store.hasAdmin());
 * ```
 *
 * @example Keep a second copy beside it
 * ```ts ignore
 * import { openJetStream } from "@unibus/membership";
 *
 * await using store = await openJetStream({
 *   servers: "nats://127.0.0.1:4222",
 *   follower: "./local_files/follower.db",
 * });
 * ```
 */
export async function openJetStream(options: OpenJetStreamOptions): Promise<Store> {
  const { follower } = options;
  if (follower === undefined) return await openAlone(options);
  return (await openFollowed({ ...options, follower })).store;
}

/** A store and the follower beside it, which is closed with the store. */
export interface Followed {
  /** The store. */
  store: Store;
  /** The follower. */
  follower: Follower;
}

/** Options of {@link openFollowed}. */
export interface FollowedOptions extends OpenJetStreamOptions {
  /** The follower's file. */
  follower: string;
  /** Open also when there is an alarm: the store then answers no, and every method is `corrupt`. */
  openShut?: boolean;
}

/**
 * As {@link openJetStream} with a follower; returns that too. After an alarm it waits for a repair, and
 * opens everything again as at a start.
 */
export async function openFollowed(options: FollowedOptions): Promise<Followed> {
  const path = absolute(options.follower);
  const { onRenewed = () => {} } = options;
  const again = {
    ...options,
    ...{ create: false, resize: false, accept: false, openShut: false, allowInProgress: false },
  };
  let isOpen = false;
  const told = {
    onAlarm(alarm: StoreError) {
      plane.raise(alarm);
      options.onAlarm?.(alarm);
    },
    onReleased(isKept: boolean) {
      if (isOpen) plane.renewAfter(path, isKept);
    },
  };
  const open = async (options: OnceOptions) => {
    const token = {};
    const opened = await openOnce({ ...options, ...told, onEnd: () => plane.end(token) });
    followers.set(opened.backend, opened.follower);
    return { ...opened, token };
  };
  const plane: Plane = new Plane((signal) => open({ ...again, signal }), onRenewed);
  const first = await open(options);
  const store = storeOf(first.backend, options);
  plane.begin(first, switchOf(store));
  isOpen = true;
  if (!isFollowing(plane)) plane.renewAfter(path, false);
  return { store, follower: plane };
}

type OnceOptions = FollowedOptions & Pick<Parts, "onReleased"> & { onEnd?: () => Promise<void> };

async function openOnce(options: OnceOptions): Promise<Omit<Opened, "token">> {
  let follower: Guard | null = null;
  let search: FileSearch | null = null;
  let history: FollowerHistory | null = null;
  // All that read the file beside the follower.
  const close = async () => {
    await Promise.all([search?.close(), history?.close()]);
  };
  const rest = async () => {
    await Promise.all([search?.rest(), history?.rest()]);
  };
  const onAlarm = (alarm: StoreError) => {
    // A repair needs the file for itself.
    void close();
    options.onAlarm?.(alarm);
  };
  const backend = await openBeside(options, async (bucket) => {
    const it = follower = await guard(bucket, { ...options, onAlarm });
    search = new FileSearch({
      path: it.path,
      isFollower: true,
      before: searchingBehind(bucket, it),
    });
    const isUsable = () => isFollowing(it);
    return {
      search,
      history: (archive) => history = new FollowerHistory({ path: it.path, archive, isUsable }),
      end: async () => {
        await options.onEnd?.();
        await close();
        await it.close();
      },
    };
  });
  readers.set(backend, rest);
  return { backend, follower: follower! };
}

/** What closes the connections that read the follower's file for a backend. */
const readers = new WeakMap<Backend, () => Promise<void>>();

/**
 * Closes what reads the follower's file for a backend, such as searches, until the next read: only the
 * follower has it open then.
 */
export async function closeReaders(backend: Backend): Promise<void> {
  await readers.get(backend)?.();
}

const followers = new WeakMap<Backend, Follower>();

/** Returns the follower beside a backend; `null` if there is none. */
export function followerOf(backend: Backend): Follower | null {
  return followers.get(backend) ?? null;
}

/** How long a search waits for the store's own writes, and for what it must include, milliseconds. */
const BEHIND_MS = 1_000;

/** Notes what the store writes, and what it must include; returns a function that waits until the follower has it, if it is quick. */
function searchingBehind(bucket: Bucket, follower: Guard): () => Promise<unknown> {
  let last = 0;
  bucket.witness = {
    get received() {
      return follower.received;
    },
    acknowledged(sequence, received) {
      last = Math.max(last, sequence);
      follower.acknowledged(sequence, received);
    },
    reach: (sequence) => void (last = Math.max(last, sequence)),
    keys: async (prefix, after) => await follower.keys?.(prefix, after) ?? null,
  };
  const isDone = () => follower.state().position >= last;
  return async () => {
    if (bucket.mark.moved !== null) throw bucket.mark.moved;
    const { degraded } = follower.state();
    if (degraded?.field === "file") throw degraded;
    if (isDone()) return;
    await follower.whenExact(last, { signal: AbortSignal.timeout(BEHIND_MS) }).catch(() => {});
  };
}

/** A follower that knows of writes. */
type Guard = Follower & Witness;

/** Follows a bucket and shuts it at the first alarm. */
async function guard(bucket: Bucket, options: OnceOptions): Promise<Guard> {
  const { accept = false, onAlarm, onDegraded, onReleased, openShut = false } = options;
  // What is refused to the store is not refused to its follower.
  const own = bucket.beside();
  const shut = (alarm: StoreError) => {
    bucket.alarm = own.alarm = alarm;
    onAlarm?.(alarm);
  };
  try {
    const file = { db: options.follower, accept, onAlarm: shut, onDegraded };
    const follower = await follow(own, options, file, {
      guards: true,
      onReleased,
      onDoubt: (inDoubt) => bucket.inDoubt = inDoubt,
      end: () => Promise.resolve(),
    });
    if (follower.alarm !== null && !openShut) {
      await follower.close();
      throw follower.alarm;
    }
    bucket.witness = own.witness = follower;
    return follower;
  } catch (error) {
    if (!openShut || !isStoreError(error, "corrupt")) throw error;
    const found = damagedFile(bucket.name, error.message);
    shut(found);
    return damaged(options.follower, bucket.name, found);
  }
}

/** What stands for a follower whose file cannot be read. */
function damaged(path: string, bucket: string, alarm: StoreError): Guard {
  const close = () => Promise.resolve();
  return {
    path,
    alarm,
    received: 0,
    acknowledged() {},
    state: () => ({
      role: "read",
      bucket,
      position: 0,
      exact: false,
      digest: "",
      entries: 0,
      quarantined: 0,
      lag: null,
      updatedAt: null,
      history: null,
      alarm,
      degraded: null,
      failure: null,
    }),
    whenExact: () => Promise.reject(alarm),
    close,
    [Symbol.asyncDispose]: close,
  };
}
