/**
 * Users and memberships in memory, fed by one feed: authorization at memory speed that fails closed.
 *
 * What the cache may answer rests on a sequence and a time. `upTo` is the sequence up to which it has
 * seen everything. A probe writes a fence, which needs a majority; once `upTo` has reached that, the
 * cache is known to hold every change acknowledged before the probe was sent (`freshAt`). When `freshAt`
 * is older than `maxStaleness` the answer is no, so a node that is cut off stops admitting anybody, also
 * when a server on its side still answers.
 *
 * When the leader last heard from a quorum would tell the same without a write, but not exactly: a
 * leader that was paused, or whose network was, counts what had been on its way to it as heard just now.
 *
 * A stream that was deleted, or deleted and made again, is not the one the store was opened on: then
 * the answer is no, whatever the new one holds.
 *
 * @module
 */

import { nuid } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import { AccessListeners } from "../../core/async/listeners.ts";
import type { AccessChange, Member, User } from "../../core/model.ts";
import { isActiveAdmin } from "../../core/rules.ts";
import { findAdmins, readAdminIndex } from "./admins.ts";
import { within } from "../../core/async/wait.ts";
import { BATCH_LIMIT, type Bucket, MARKER_TTL_SECONDS } from "../log/bucket.ts";
import { Feed } from "../log/feed.ts";
import type { Fence } from "../log/fence.ts";
import { FENCE_KEY, userKey } from "../records/keys.ts";
import { isStillOpened, lossOf, quorumAge, streamInfo } from "../log/stream.ts";
import { decodeUser } from "../records/values.ts";
import { View } from "./view.ts";
import { left } from "../log/wire.ts";

/** How the cache behaves. */
export interface CacheOptions {
  /** Age, in milliseconds, beyond which the cache stops answering yes. */
  maxStaleness: number;
  /** How long an operation may take, milliseconds. */
  opTimeout: number;
  /** Memberships held at most; above it the leader is asked. */
  maxMembers: number;
}

/** What the cache holds and how old that is. */
export interface CacheStatus {
  /** Whether it may answer yes. */
  fresh: boolean;
  /** Whether everything there was has been read. */
  warm: boolean;
  /** The sequence up to which everything has been seen. */
  upTo: number;
  /** Age of that knowledge, milliseconds. */
  ageMs: number;
  /** Users held. */
  users: number;
  /** Memberships held; `null` above the bound. */
  members: number | null;
}

/** How long the feed may take to bring a write of our own, milliseconds. */
const FEED_PATIENCE = 300;
/** How long changes are gathered before they are told: a transaction's come together, and once each. */
const GATHER = 10;
/** How soon a probe follows when a part of a batch is missing, milliseconds. */
const MEND = 20;
/** While more messages are waiting, a loading does not look at where batches end, which takes half its time again. */
const NEAR = 2 * BATCH_LIMIT;
/** Pauses before the cache is loaded again while somebody listens, milliseconds. */
const RELOAD = { first: 100, longest: 5000 };

/** Begins at the first question, not when the store is opened: tools that ask nothing pay nothing. */
export class Cache {
  readonly #bucket: Bucket;
  readonly #fence: Fence;
  readonly #options: CacheOptions;
  #view: View;
  #feed: Feed | null = null;
  #warm: Promise<void> | null = null;
  /** A sequence that answers must have seen: of our own writes, and of what listeners were told. */
  #floor = 0;
  #waiting: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  readonly #listeners = new AccessListeners(() => this.#keep());
  readonly #changes = new Map<string, AccessChange>();
  #telling: ReturnType<typeof setTimeout> | undefined;
  #reload: ReturnType<typeof setTimeout> | undefined;
  #pause = RELOAD.first;

  constructor(bucket: Bucket, fence: Fence, options: CacheOptions) {
    this.#bucket = bucket;
    this.#fence = fence;
    this.#options = options;
    this.#view = new View(options.maxMembers);
  }

  /** What the cache holds, the sequence up to which it has seen everything, and how old that knowledge is. */
  status(): CacheStatus {
    const { isWarm, upTo, freshAt, users, members } = this.#view;
    return {
      fresh: isWarm && this.#isFresh(),
      warm: isWarm,
      upTo,
      ageMs: performance.now() - freshAt,
      users: users.size,
      members: members?.size ?? null,
    };
  }

  /** The sequence that reads must have seen: no replica may know less than authorizations rest on. */
  get floor(): number {
    return Math.max(this.#floor, this.#view.freshUpTo);
  }

  /** Notes a write of our own: answers wait until it has been seen. */
  wrote(sequence: number): void {
    if (sequence > this.#floor) this.#floor = sequence;
  }

  /** Begins to load, unless that has been done. Not remembered when it fails: the next call tries again. */
  warm(): void {
    if (this.#warm !== null || this.#closed) return;
    const loading = this.#load().catch(() => {
      // Given up already, and perhaps begun anew.
      if (this.#warm !== loading) return;
      this.#warm = null;
      this.#later();
    });
    this.#warm = loading;
  }

  /** Tells `listener` of changes of access; while anybody listens the cache is kept loaded. */
  watch(listener: (change: AccessChange) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Whether the key belongs to an active user. */
  isAuthorized(signPub: string): boolean | Promise<boolean> {
    if (this.#isReady()) return this.#view.users.get(signPub) === true && this.#isFresh();
    return this.#ask(
      (view) => view.users.get(signPub) === true,
      async (deadline) =>
        (await this.#read(signPub, deadline))?.status === "active" &&
        await isStillOpened(this.#bucket, deadline),
    );
  }

  /** Whether there is an active admin. */
  hasAdmin(): boolean | Promise<boolean> {
    if (this.#isReady()) return this.#view.admins.size > 0 && this.#isFresh();
    return this.#ask((view) => view.admins.size > 0, async (deadline) => {
      const bucket = this.#bucket;
      const { names } = await readAdminIndex(bucket, this.floor, left(deadline));
      // Whom version 0.1 made an admin, the index does not name.
      const others = async () => (await findAdmins(bucket, left(deadline), 1)).keys();
      return (await this.#hasAdmin(names, deadline) ||
        await this.#hasAdmin(await others(), deadline)) &&
        await isStillOpened(bucket, deadline);
    });
  }

  async #hasAdmin(names: Iterable<string>, deadline: number): Promise<boolean> {
    for (const signPub of names) {
      const user = await this.#read(signPub, deadline);
      if (user !== null && isActiveAdmin(user)) return true;
    }
    return false;
  }

  /** A membership; `undefined` when the cache cannot tell and the leader must be asked. */
  member(roomId: string, endpoint: string): Member | null | undefined {
    if (!this.#knowsMembers()) return undefined;
    return this.#view.isHidden(roomId) ? null : this.#view.members!.get(endpoint + roomId) ?? null;
  }

  /** How many members a room has; `undefined` when the cache cannot tell. */
  countMembers(roomId: string): number | undefined {
    if (!this.#knowsMembers()) return undefined;
    return this.#view.isHidden(roomId) ? 0 : this.#view.sizes.get(roomId) ?? 0;
  }

  /** Active admins as far as known; `null` when the cache is not warm. */
  admins(): ReadonlySet<string> | null {
    return this.#isReady() ? this.#view.admins : null;
  }

  /** Ends the feed and whoever waits. */
  close(): void {
    this.#closed = true;
    this.#listeners.clear();
    this.#giveUp(this.#view);
  }

  #isCold(): boolean {
    return !this.#view.isWarm;
  }

  #isReady(): boolean {
    return !this.#isCold() && this.#view.upTo >= this.#floor;
  }

  #knowsMembers(): boolean {
    const { members, isTorn } = this.#view;
    return this.#isReady() && this.#isFresh() && members !== null && !isTorn;
  }

  #isFresh(): boolean {
    const { freshAt, freshWall } = this.#view;
    const { maxStaleness } = this.#options;
    if (this.#bucket.alarm !== null) return false;
    return performance.now() - freshAt <= maxStaleness && Date.now() - freshWall <= maxStaleness;
  }

  /**
   * Answers from what is known once a write of our own has been seen. Asks the leader while the cache is
   * being loaded, which for a large bucket takes longer than an operation may, and when the feed is late:
   * after a node died it takes seconds to come back.
   */
  async #ask(
    answer: (view: View) => boolean,
    askLeader: (deadline: number) => Promise<boolean>,
  ): Promise<boolean> {
    const { opTimeout } = this.#options;
    const deadline = performance.now() + opTimeout;
    const late = performance.now() + Math.min(FEED_PATIENCE, opTimeout / 2);
    while (!this.#isReady() && !this.#isCold() && performance.now() < late) {
      const seen = new Promise<void>((resolve) => this.#waiting.push(resolve));
      // Not seen in time: the leader is asked.
      await inTime(seen, late).catch(() => {});
    }
    if (this.#closed) throw new StoreError("closed", "The store is closed");
    if (this.#isReady()) return this.#isFresh() && answer(this.#view);
    this.warm();
    return await inTime(askLeader(Date.now() + deadline - performance.now()), deadline);
  }

  async #read(signPub: string, deadline: number): Promise<User | null> {
    const key = userKey(signPub);
    const entry = (await this.#fence.read([key], deadline)).get(key);
    return entry === undefined ? null : decodeUser(key, signPub, entry.data);
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  async #load(): Promise<void> {
    const view = new View(this.#options.maxMembers, () => {
      this.#pause = RELOAD.first;
      // What had happened until now was not told.
      this.#tell({});
    }, (change) => this.#tell(change));
    this.#view = view;
    let probed = false;
    const feed = new Feed(this.#bucket, {
      // All keys, of which sealed keys and invites are passed over: then the sequence says it all.
      pattern: ">",
      heartbeat: Math.max(100, Math.min(500, Math.floor(this.#options.maxStaleness / 4))),
      opTimeout: this.#options.opTimeout,
      onEntry: (entry, pending) => {
        const wasTorn = view.isTorn;
        view.take(entry, view.isWarm || pending < NEAR ? feed.part : null);
        if (view.isWarm && view.isTorn && !wasTorn) this.#probeIn(MEND, view);
        // All there was has come: only a probe can tell so, and the next would be a while.
        if (pending === 0 && !view.isWarm && !probed) {
          probed = true;
          void this.#probe(view);
        }
        if (this.#waiting.length > 0 && this.#isReady()) this.#wake();
      },
      onEnd: () => this.#giveUp(view),
    });
    this.#feed = feed;
    try {
      const deadline = Date.now() + this.#options.opTimeout;
      if (!await isStillOpened(this.#bucket, deadline)) throw new Error("not the bucket it was");
      await feed.start();
    } catch (error) {
      feed.stop();
      throw error;
    }
    if (this.#closed || this.#view !== view) return feed.stop();
    void this.#probe(view);
  }

  /**
   * Ends this view for good; the next question loads anew, and until then the leader answers.
   * `anew`: the stream is not the one it was, and its sequences mean something else.
   */
  #giveUp(view: View, anew = false): void {
    if (this.#view !== view) return;
    clearTimeout(this.#timer);
    this.#feed?.stop();
    this.#feed = null;
    this.#view = new View(this.#options.maxMembers);
    this.#warm = null;
    if (anew) this.#floor = 0;
    this.#wake();
    // What happens from now on is not seen for a while.
    this.#tell({});
    this.#later();
  }

  /** Keeps the cache loaded while somebody listens; what it returns ends that. */
  #keep(): () => void {
    this.#pause = RELOAD.first;
    this.warm();
    return () => {
      clearTimeout(this.#reload);
      clearTimeout(this.#telling);
      this.#changes.clear();
    };
  }

  /** Loads again after a pause, where somebody listens. */
  #later(): void {
    if (this.#closed || !this.#listeners.any) return;
    clearTimeout(this.#reload);
    this.#reload = setTimeout(() => this.warm(), this.#pause);
    this.#pause = Math.min(this.#pause * 2, RELOAD.longest);
  }

  /** Tells listeners in a moment: of what is gathered till then each change once. */
  #tell(change: AccessChange): void {
    if (!this.#listeners.any) return;
    if (this.#changes.size === 0) this.#telling = setTimeout(() => this.#tellAll(), GATHER);
    const { endpoint, roomId } = change;
    const key = endpoint !== undefined ? `e${endpoint}` : roomId !== undefined ? `r${roomId}` : "";
    this.#changes.set(key, change);
  }

  #tellAll(): void {
    const changes = this.#changes.has("") ? [{}] : [...this.#changes.values()];
    this.#changes.clear();
    // Who is told reads: from another replica too it must be what was told of.
    this.wrote(this.#view.upTo);
    for (const change of changes) this.#listeners.emit(change);
  }

  /** The sequence of a fence; `null` where none is needed, and where the leader may not write. */
  async #writeFence(deadline: number): Promise<number | null> {
    if (!this.#bucket.isClustered) return null;
    try {
      return await this.#bucket.put(FENCE_KEY, nuid.next(), deadline);
    } catch (error) {
      // Storage that is full shuts nobody out; that somebody leads, and hears the others, is known then.
      if (error instanceof StoreError && error.code === "unavailable") return null;
      throw error;
    }
  }

  /** Finds out where the stream ends, now and then on. */
  async #probe(view: View): Promise<void> {
    const interval = Math.max(50, Math.min(1000, this.#options.maxStaleness / 4));
    const isCurrent = () => !this.#closed && this.#view === view;
    const seen = view.received;
    const sent = performance.now();
    const sentWall = Date.now();
    const deadline = Date.now() + Math.max(interval, 500);
    try {
      const fence = await this.#writeFence(deadline);
      const info = await streamInfo(this.#bucket, deadline);
      if (!isCurrent()) return;
      const last = info?.state.last_seq ?? -1;
      const silence = Math.max(sent - view.freshAt, sentWall - view.freshWall);
      if (info === null || lossOf(this.#bucket, info) !== null || last < seen) {
        // The stream is gone, was made anew or was put back to an earlier state.
        return this.#giveUp(view, true);
      }
      if (Number.isFinite(silence) && silence > MARKER_TTL_SECONDS * 500) {
        // Delete markers may have come and gone unseen.
        return this.#giveUp(view);
      }
      const age = fence === null ? quorumAge(info) : 0;
      view.await({ sequence: fence ?? last, seen, at: sent - age, wall: sentWall - age });
      if (view.received === seen && seen < last) {
        // Nothing came meanwhile. What stood between may be gone: expired delete markers.
        const next = await this.#bucket.next(">", seen + 1, deadline);
        if (!isCurrent()) return;
        if (next === null) view.advance(last);
      }
      if (this.#isReady()) this.#wake();
    } catch {
      // Not heard: `freshAt` stays where it is, and the answer turns to no in time.
    } finally {
      if (isCurrent()) this.#probeIn(view.isTorn ? MEND : interval, view);
    }
  }

  #probeIn(ms: number, view: View): void {
    // One may be set already, also by a probe that began while another was under way.
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#probe(view), ms);
  }
}

async function inTime<T>(promise: Promise<T>, deadline: number): Promise<T> {
  return await within(Math.max(0, deadline - performance.now()), promise, () => {
    throw new StoreError("unavailable", "The cache did not catch up in time");
  });
}
