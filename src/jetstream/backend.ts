/**
 * The JetStream backend, composed of its components.
 *
 * @module
 */

import type { Backend, RestoreOptions } from "../core/backend.ts";
import type { Counts, HealthCheck, StoreRecord } from "../core/model.ts";
import { noCounts } from "../core/order.ts";
import { StoreError } from "../core/errors.ts";
import { type Author, did } from "../core/history/entry.ts";
import { formatRevision, type Revision } from "../core/history/revision.ts";
import type { HistorySource } from "../core/history/source.ts";
import type { Search } from "../core/store/search.ts";
import { notEmpty } from "../core/rules.ts";
import { Unreadable, unreadable } from "../core/checks/problems.ts";
import { type BulkOptions, BulkWriter } from "./log/bulk.ts";
import type { Bucket } from "./log/bucket.ts";
import { Cache, type CacheOptions, type CacheStatus } from "./cache/cache.ts";
import { markFilled } from "./cache/admins.ts";
import { compare, type Diff, isData } from "./contents/compare.ts";
import { Context } from "./transactions/context.ts";
import { scan } from "./log/feed.ts";
import { Fence } from "./log/fence.ts";
import { checkHealth } from "./health.ts";
import { BucketHistory } from "./history/source.ts";
import { isIndex } from "./records/keys.ts";
import { claimBucket, guardOf, type Marker, readMarker, writeMarker } from "./log/marker.ts";
import { countMembers, pruneInvites, pruneSealedKeys } from "./transactions/prune.ts";
import { Lists } from "./transactions/lists.ts";
import { RoomReads } from "./transactions/reads.ts";
import { RoomTransactions } from "./transactions/rooms.ts";
import { Spool } from "./contents/spool.ts";
import { streamInfo } from "./log/stream.ts";
import { BucketRecords } from "./contents/stored.ts";
import { InviteTransactions, UserTransactions } from "./transactions/users.ts";
import { aborted, wait } from "./log/wire.ts";

/** The backend of one bucket. */
export class JetStreamBackend implements Backend {
  readonly name = "jetstream";
  readonly created: boolean;
  readonly search?: Search;
  readonly history?: HistorySource;
  readonly #bucket: Bucket;
  readonly #options: CacheOptions;
  readonly #cache: Cache;
  readonly #context: Context;
  readonly #rooms: RoomTransactions;
  readonly #reads: RoomReads;
  readonly #users: UserTransactions;
  readonly #invites: InviteTransactions;
  readonly #lists: Lists;
  readonly #end: () => Promise<void>;
  readonly #endFollowing: () => void = () => {};

  /**
   * @param bucket The bucket, with an existing stream
   * @param options Options of the cache
   * @param beside Its search, if any, whether it keeps a history and where that is read, and what is called
   * last, for example to close the connection
   */
  constructor(
    bucket: Bucket,
    options: CacheOptions,
    { search, history = (archive) => archive, keepsHistory, end }: {
      search?: Search;
      history?: (archive: BucketHistory) => HistorySource;
      keepsHistory: boolean;
      end: () => Promise<void>;
    },
  ) {
    this.#bucket = bucket;
    this.created = bucket.isNew;
    if (search !== undefined) this.search = search;
    this.#options = options;
    this.#end = end;
    const fence = new Fence(bucket, options.opTimeout);
    this.#cache = new Cache(bucket, fence, options);
    const { opTimeout } = options;
    this.#context = new Context(bucket, fence, this.#cache, { opTimeout, keepsHistory });
    if (keepsHistory) {
      const archive = new BucketHistory(this.#context);
      this.history = history(archive);
      this.#endFollowing = () => archive.close();
    }
    this.#rooms = new RoomTransactions(this.#context);
    this.#reads = new RoomReads(this.#context);
    this.#users = new UserTransactions(this.#context);
    this.#invites = new InviteTransactions(this.#context);
    this.#lists = new Lists(this.#context);
  }

  get generation(): number {
    return this.#bucket.generation;
  }

  /** The bucket. */
  get bucket(): Bucket {
    return this.#bucket;
  }

  /** Loads what answers authorization; returns its state. */
  warm(): CacheStatus {
    this.#cache.warm();
    return this.#cache.status();
  }

  /** Notes that a live move has brought the control plane here, by a mark with this sequence. */
  tookOver(generation: number, sequence: number): void {
    this.#bucket.generation = generation;
    this.#context.noteWritten(sequence);
  }

  createRoom: Backend["createRoom"] = (...args) => this.#rooms.create(...args);
  getRoom: Backend["getRoom"] = (id) => this.#reads.get(id);
  listRooms: Backend["listRooms"] = (range) => this.#lists.rooms(range);
  listRoomsForEndpoint: Backend["listRoomsForEndpoint"] = (...args) => this.#lists.roomsOf(...args);
  deleteRoom: Backend["deleteRoom"] = (...args) => this.#rooms.delete(...args);
  addMember: Backend["addMember"] = (...args) => this.#rooms.add(...args);
  getMember: Backend["getMember"] = (...args) => this.#reads.member(...args);
  listMembers: Backend["listMembers"] = (...args) => this.#lists.members(...args);
  listWaiting: Backend["listWaiting"] = (...args) => this.#lists.waiting(...args);
  countMembers: Backend["countMembers"] = (roomId) => countMembers(this.#context, roomId);
  joinRoom: Backend["joinRoom"] = (...args) => this.#rooms.join(...args);
  changeRoomOwner: Backend["changeRoomOwner"] = (...args) => this.#rooms.changeOwner(...args);
  handOverRoom: Backend["handOverRoom"] = (...args) => this.#rooms.handOver(...args);
  removeMember: Backend["removeMember"] = (...args) => this.#rooms.remove(...args);
  rekeyRoom: Backend["rekeyRoom"] = (...args) => this.#rooms.rekey(...args);
  putSealedKey: Backend["putSealedKey"] = (...args) => this.#rooms.putKey(...args);
  getSealedKey: Backend["getSealedKey"] = (...args) => this.#reads.sealedKey(...args);
  listSealedKeys: Backend["listSealedKeys"] = (...args) => this.#lists.sealedKeys(...args);
  pruneSealedKeys: Backend["pruneSealedKeys"] = (...args) =>
    pruneSealedKeys(this.#context, ...args);
  addUser: Backend["addUser"] = (...args) => this.#users.add(...args);
  getUser: Backend["getUser"] = (signPub) => this.#users.get(signPub);
  listUsers: Backend["listUsers"] = (range) => this.#lists.users(range);
  setUserStatus: Backend["setUserStatus"] = (...args) => this.#users.setStatus(...args);
  setUserRole: Backend["setUserRole"] = (...args) => this.#users.setRole(...args);
  deleteUser: Backend["deleteUser"] = (...args) => this.#users.delete(...args);

  async reach(revision: Revision, signal?: AbortSignal): Promise<void> {
    const deadline = this.#context.deadline();
    const { generation, number } = revision;
    for (let pause = 1;; pause = Math.min(2 * pause, 100)) {
      if (generation < this.generation) return;
      if (generation === this.generation) {
        // Only what the stream is known to have is waited for by later reads.
        const has = number <= this.#context.floor || this.#cache.status().upTo >= number ||
          ((await streamInfo(this.#bucket, deadline, signal))?.state.last_seq ?? 0) >= number;
        if (has) {
          this.#bucket.witness?.reach?.(number);
          return this.#context.noteWritten(number);
        }
      }
      if (Date.now() + pause >= deadline) {
        throw new StoreError(
          "unavailable",
          `Revision ${formatRevision(revision)} is not in bucket ${this.#bucket.name} yet`,
        );
      }
      await wait(pause, signal);
    }
  }

  isAuthorized: Backend["isAuthorized"] = (signPub) => this.#cache.isAuthorized(signPub);
  hasAdmin: Backend["hasAdmin"] = () => this.#cache.hasAdmin();
  createInvite: Backend["createInvite"] = (...args) => this.#invites.create(...args);
  getInvite: Backend["getInvite"] = (id) => this.#invites.get(id);
  listInvites: Backend["listInvites"] = (range) => this.#lists.invites(range);
  consumeInvite: Backend["consumeInvite"] = (...args) => this.#invites.consume(...args);
  cancelInvite: Backend["cancelInvite"] = (...args) => this.#invites.cancel(...args);
  pruneInvites: Backend["pruneInvites"] = (...args) => pruneInvites(this.#context, ...args);

  async *records(
    ...[signal, onRevision]: Parameters<Backend["records"]>
  ): AsyncGenerator<StoreRecord> {
    using stored = await BucketRecords.read(this.#bucket, signal);
    // The entry of a change comes behind its last message.
    onRevision?.({ generation: this.generation, number: stored.last + 1 });
    for (const record of stored.all()) {
      if (signal?.aborted) throw aborted(signal);
      if (record instanceof Unreadable) {
        throw unreadable(record, `Reading bucket ${this.#bucket.name}`);
      }
      yield record;
    }
  }

  async restore(
    records: AsyncIterable<StoreRecord>,
    { replace = false, history, signal, onProgress }: RestoreOptions,
    author: Author,
  ): Promise<Counts> {
    // Everything is read and checked before the bucket is changed.
    using spool = new Spool();
    const counts = noCounts();
    for await (const record of records) {
      if (signal?.aborted) throw aborted(signal);
      spool.add(record);
      counts[record.kind]++;
    }
    // Read to its end, where a snapshot says whether it is whole; a bucket gets a history by a move.
    const past = await history?.() ?? null;
    for await (const _ of past?.entries ?? []) if (signal?.aborted) throw aborted(signal);
    const info = await streamInfo(this.#bucket, this.#context.deadline());
    const sequence = info?.state.last_seq ?? 0;
    const read = await readMarker(this.#bucket, this.#context.deadline());
    const again = read.marker?.state === "in_progress" && read.marker.by === "import";
    if (!replace && !again) await this.#requireEmpty(signal);
    const marker: Marker = {
      state: "in_progress",
      by: "import",
      source: null,
      startedAt: new Date().toISOString(),
      // Clients refuse a lower one.
      ...read.marker?.generation !== undefined && { generation: read.marker.generation },
    };
    let revision = await claimBucket(this.#bucket, marker, { read, sequence });
    const { guard } = guardOf(revision);
    await markFilled(this.#bucket, marker, guard, this.#context.deadline());
    const diffs = () => compare(this.#bucket, () => spool.records(), { signal });
    await applyDiffs(this.#bucket, diffs, {
      signal,
      guard,
      ...(onProgress === undefined ? {} : { onProgress }),
    });
    const entry = this.#context.entryOf({ author, draft: did.restored(counts) });
    revision = await writeMarker(
      this.#bucket,
      {
        ...marker,
        state: "complete",
        completedAt: new Date().toISOString(),
        counts,
      },
      revision,
      this.#context.deadline(),
      entry,
    );
    const last = entry === undefined ? revision : revision + 1;
    this.#context.noteWritten(last);
    author.wrote(formatRevision({ generation: this.generation, number: last }));
    onProgress?.(Object.values(counts).reduce((a, b) => a + b));
    return counts;
  }

  async #requireEmpty(signal: AbortSignal | undefined): Promise<void> {
    const bucket = this.#bucket;
    for (let key; (key = await firstRecord(bucket, signal)) !== null;) {
      // Not confirmed by a majority: it has just been deleted.
      if (await this.#context.readOne(key) === null) continue;
      throw notEmpty(`Restoring into bucket ${bucket.name}`);
    }
  }

  watchAccess: Backend["watchAccess"] = (listener) => this.#cache.watch(listener);

  health(): Promise<HealthCheck[]> {
    return checkHealth(this.#bucket, this.#cache, this.#options);
  }

  async close(): Promise<void> {
    this.#endFollowing();
    this.#cache.close();
    await this.#end();
  }
}

/** Options of {@link applyDiffs}. */
export interface ApplyOptions extends Pick<BulkOptions, "signal" | "guard"> {
  /** Called before the first change is written. */
  onFirst?: () => void;
  /** Called with the number of records with acknowledged changes. */
  onProgress?: (done: number) => void;
}

/** Applies the differences of a comparison; returns the numbers of entries written and removed. */
export async function applyDiffs(
  bucket: Bucket,
  diffs: () => AsyncIterable<Diff>,
  { onFirst, onProgress, ...bulk }: ApplyOptions = {},
): Promise<{ written: number; removed: number }> {
  const writer = new BulkWriter(bucket, bulk);
  let written = 0;
  let removed = 0;
  for await (const diff of diffs()) {
    if (written + removed === 0) onFirst?.();
    const value = diff.change === "extra" ? null : diff.value;
    const wait = writer.write(diff.key, value, isIndex(diff.key) ? 0 : 1);
    if (diff.change === "extra") removed++;
    else written++;
    if (wait !== undefined) {
      await wait;
      onProgress?.(writer.done);
    }
  }
  await writer.flush();
  return { written, removed };
}

/** Reports whether the bucket has no records. */
export async function isEmpty(bucket: Bucket, signal?: AbortSignal): Promise<boolean> {
  return await firstRecord(bucket, signal) === null;
}

/** Returns the key of the oldest record; `null` if there are no records. */
async function firstRecord(bucket: Bucket, signal?: AbortSignal): Promise<string | null> {
  let found: string | null = null;
  await scan(bucket, {
    signal,
    onEntry: (entry) => {
      if (entry.data.length === 0 || !isData(entry.key)) return;
      found = entry.key;
      return false;
    },
  });
  return found;
}
