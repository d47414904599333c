/**
 * Keeps users and memberships in memory, updated by one feed: authorization at memory speed that
 * fails closed.
 *
 * What the cache may answer depends on a sequence and a time. `upTo` is the sequence up to which it
 * has seen everything. A probe writes a fence, which requires a majority; once `upTo` has reached
 * the fence, the cache contains every change acknowledged before the probe was sent (`freshAt`). If
 * `freshAt` is older than `maxStaleness`, the answer is no, so an isolated node stops admitting
 * clients even if its local server still answers.
 *
 * The leader's time of last quorum contact would not require a write but is not exact: after a
 * pause of the leader or its network, messages that were in transit count as current contact.
 *
 * A stream that was deleted or recreated is not the one the store was opened on: the answer is then
 * no, whatever the new one contains.
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
import { FENCE_KEY, MARKER_KEY, userKey } from "../records/keys.ts";
import { isStillOpened, lossOf, quorumAge, streamInfo } from "../log/stream.ts";
import { decodeUser } from "../records/values.ts";
import { View } from "./view.ts";
import { left } from "../log/wire.ts";

/** Options of the cache. */
export interface CacheOptions {
  /** Age in milliseconds above which the cache no longer answers yes. */
  maxStaleness: number;
  /** Time limit of an operation in milliseconds. */
  opTimeout: number;
  /** Maximum number of memberships in memory; above it, the leader is queried. */
  maxMembers: number;
}

/** The state of the cache. */
export interface CacheStatus {
  /** Whether it is recent enough to answer yes. */
  fresh: boolean;
  /** Whether it is completely loaded. */
  warm: boolean;
  /** The sequence up to which it has seen everything. */
  upTo: number;
  /** Age of its contents in milliseconds. */
  ageMs: number;
  /** Number of users. */
  users: number;
  /** Number of memberships; `null` above the limit. */
  members: number | null;
}

/** Time limit in milliseconds for the feed to deliver our own write. */
const FEED_PATIENCE = 300;
/**
 * Time in milliseconds during which changes are collected before listeners are notified, once per
 * change.
 */
const GATHER = 10;
/** Delay of a probe in milliseconds when a part of a batch is missing. */
const MEND = 20;
/**
 * While more messages are pending, loading ignores where batches end, which would take half as long
 * again.
 */
const NEAR = 2 * BATCH_LIMIT;
/** Messages above which loading leaves out the history, which takes a consumer more. */
const LARGE = 10 * NEAR;
/** Delays in milliseconds before the cache is reloaded while there are listeners. */
const RELOAD = { first: 100, longest: 5000 };

/**
 * The cache. It is loaded at the first query, not when the store is opened, which saves tools the
 * cost.
 */
export class Cache {
  readonly #bucket: Bucket;
  readonly #fence: Fence;
  readonly #options: CacheOptions;
  #view: View;
  #feed: Feed | null = null;
  #warm: Promise<void> | null = null;
  /** Minimum sequence of answers: that of our own writes and of notified changes. */
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

  /** Returns the state of the cache. */
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

  /** Minimum sequence of reads: no replica may be older than the authorizations. */
  get floor(): number {
    return Math.max(this.#floor, this.#view.freshUpTo);
  }

  /** Records our own write: answers wait until it has been seen. */
  wrote(sequence: number): void {
    if (sequence > this.#floor) this.#floor = sequence;
  }

  /**
   * Starts loading, unless it has been started. A failure is not remembered: the next call retries.
   */
  warm(): void {
    if (this.#warm !== null || this.#closed) return;
    const loading = this.#load().catch(() => {
      // Already abandoned, and possibly restarted.
      if (this.#warm !== loading) return;
      this.#warm = null;
      this.#later();
    });
    this.#warm = loading;
  }

  /** Notifies `listener` of changes of access; keeps the cache loaded while there are listeners. */
  watch(listener: (change: AccessChange) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Reports whether a key belongs to an active user. */
  isAuthorized(signPub: string): boolean | Promise<boolean> {
    if (this.#isReady()) return this.#view.users.get(signPub) === true && this.#isFresh();
    return this.#ask(
      (view) => view.users.get(signPub) === true,
      async (deadline) =>
        (await this.#read(signPub, deadline))?.status === "active" &&
        await isStillOpened(this.#bucket, deadline),
    );
  }

  /** Reports whether there is an active admin. */
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

  /** Returns a membership; `undefined` if the cache cannot tell and the leader must be queried. */
  member(roomId: string, endpoint: string): Member | null | undefined {
    if (!this.#knowsMembers()) return undefined;
    return this.#view.isHidden(roomId) ? null : this.#view.members!.get(endpoint + roomId) ?? null;
  }

  /** Returns the number of members of a room; `undefined` if the cache cannot tell. */
  countMembers(roomId: string): number | undefined {
    if (!this.#knowsMembers()) return undefined;
    return this.#view.isHidden(roomId) ? 0 : this.#view.sizes.get(roomId) ?? 0;
  }

  /** Returns the known active admins; `null` if the cache is not loaded. */
  admins(): ReadonlySet<string> | null {
    return this.#isReady() ? this.#view.admins : null;
  }

  /**
   * Returns the users who were invited to a room, in order; `null` if the cache cannot tell and the users
   * must be read.
   */
  async invitedTo(roomId: string): Promise<string[] | null> {
    await this.#catchUp();
    if (this.#isReady() && this.#isFresh()) return this.#view.invited.to(roomId);
    this.warm();
    return null;
  }

  /** Stops the feed and rejects pending calls. */
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
    if (this.#bucket.alarm !== null || this.#bucket.mark.moved !== null) return false;
    return performance.now() - freshAt <= maxStaleness && Date.now() - freshWall <= maxStaleness;
  }

  /**
   * Answers from the cache once it has seen our own writes. Queries the leader while the cache is
   * loading, which for a large bucket takes longer than the time limit of an operation, and when
   * the feed is late: after the failure of a node it takes seconds to recover.
   */
  async #ask(
    answer: (view: View) => boolean,
    askLeader: (deadline: number) => Promise<boolean>,
  ): Promise<boolean> {
    const deadline = performance.now() + this.#options.opTimeout;
    await this.#catchUp();
    if (this.#isReady()) return this.#isFresh() && answer(this.#view);
    this.warm();
    return await inTime(askLeader(Date.now() + deadline - performance.now()), deadline);
  }

  /** Waits until the feed has delivered our own writes, unless that takes too long. */
  async #catchUp(): Promise<void> {
    const late = performance.now() + Math.min(FEED_PATIENCE, this.#options.opTimeout / 2);
    while (!this.#isReady() && !this.#isCold() && performance.now() < late) {
      const seen = new Promise<void>((resolve) => this.#waiting.push(resolve));
      // Not seen in time: query the leader.
      await inTime(seen, late).catch(() => {});
    }
    if (this.#closed) throw new StoreError("closed", "The store is closed");
  }

  async #read(signPub: string, deadline: number): Promise<User | null> {
    const key = userKey(signPub);
    const found = await this.#fence.read([key, MARKER_KEY], deadline);
    const mark = found.get(MARKER_KEY);
    // Without a feed nothing else tells that the control plane has left the bucket.
    if (mark !== undefined) this.#bucket.mark.notice(mark);
    const entry = found.get(key);
    if (entry === undefined || this.#bucket.mark.moved !== null) return null;
    return decodeUser(key, signPub, entry.data);
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  async #load(): Promise<void> {
    const view = new View(this.#options.maxMembers, () => {
      this.#pause = RELOAD.first;
      // Earlier changes were not reported.
      this.#tell({});
    }, (change) => this.#tell(change));
    this.#view = view;
    if (this.#bucket.inDoubt) throw new Error("the stream is in doubt");
    const info = await streamInfo(this.#bucket, Date.now() + this.#options.opTimeout);
    if (lossOf(this.#bucket, info) !== null) throw new Error("the bucket was replaced");
    if (this.#closed || this.#view !== view) return;
    let probed = false;
    const feed = new Feed(this.#bucket, {
      // All messages, although the history, sealed keys and invites are ignored, so that the sequence is
      // meaningful.
      pattern: null,
      // The history of a week may be larger than all records. While loading nothing depends on it.
      first: info!.state.messages > LARGE ? ">" : undefined,
      heartbeat: Math.max(100, Math.min(500, Math.floor(this.#options.maxStaleness / 4))),
      opTimeout: this.#options.opTimeout,
      onEntry: (entry, pending) => {
        // What was in memory before is right; what is loaded now may not be.
        if (!view.isWarm && this.#bucket.inDoubt) return this.#giveUp(view);
        const wasTorn = view.isTorn;
        view.take(entry, view.isWarm || pending < NEAR ? feed.part : null);
        if (view.isWarm && view.isTorn && !wasTorn) this.#probeIn(MEND, view);
        // Loaded completely: only a probe can confirm that, and the next one would be later.
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
      await feed.start();
    } catch (error) {
      feed.stop();
      throw error;
    }
    if (this.#closed || this.#view !== view) return feed.stop();
    void this.#probe(view);
  }

  /**
   * Discards this view; the next query starts a new one, and until it is loaded the leader answers.
   * `isReplaced`: the stream was replaced, so its sequences are no longer comparable.
   */
  #giveUp(view: View, isReplaced = false): void {
    if (this.#view !== view) return;
    clearTimeout(this.#timer);
    this.#feed?.stop();
    this.#feed = null;
    this.#view = new View(this.#options.maxMembers);
    this.#warm = null;
    if (isReplaced) this.#floor = 0;
    this.#wake();
    // Changes from now on are not seen for a while.
    this.#tell({});
    this.#later();
  }

  /** Keeps the cache loaded while there are listeners; the returned function ends that. */
  #keep(): () => void {
    this.#pause = RELOAD.first;
    this.warm();
    return () => {
      clearTimeout(this.#reload);
      clearTimeout(this.#telling);
      this.#changes.clear();
    };
  }

  /** Reloads after a delay if there are listeners. */
  #later(): void {
    if (this.#closed || !this.#listeners.any) return;
    clearTimeout(this.#reload);
    this.#reload = setTimeout(() => this.warm(), this.#pause);
    this.#pause = Math.min(this.#pause * 2, RELOAD.longest);
  }

  /** Schedules the notification of listeners, once for each change collected until then. */
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
    // A notified listener reads: even from another replica, the result must include the change.
    this.wrote(this.#view.upTo);
    for (const change of changes) this.#listeners.emit(change);
  }

  /**
   * Writes a fence and returns its sequence; `null` if none is needed or the leader cannot write.
   */
  async #writeFence(deadline: number): Promise<number | null> {
    if (!this.#bucket.isClustered) return null;
    try {
      return await this.#bucket.put(FENCE_KEY, nuid.next(), deadline);
    } catch (error) {
      // Full storage must not lock out users; the error still proves that there is a leader with a
      // quorum.
      if (error instanceof StoreError && error.code === "unavailable") return null;
      throw error;
    }
  }

  /** Probes the end of the stream periodically. */
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
        // The stream was deleted, recreated or reset to an earlier state.
        return this.#giveUp(view, true);
      }
      if (Number.isFinite(silence) && silence > MARKER_TTL_SECONDS * 500) {
        // Delete markers may have been written and expired unseen.
        return this.#giveUp(view);
      }
      const age = fence === null ? quorumAge(info) : 0;
      view.await({ sequence: fence ?? last, seen, at: sent - age, wall: sentWall - age });
      if (view.received === seen && seen < last) {
        // No message arrived meanwhile; those in between may be expired delete markers.
        const next = await this.#bucket.next(null, seen + 1, deadline);
        if (!isCurrent()) return;
        if (next === null) view.advance(last);
      }
      if (this.#isReady()) this.#wake();
    } catch {
      // No answer: `freshAt` is not updated, and the answer eventually becomes no.
    } finally {
      if (isCurrent()) this.#probeIn(view.isTorn ? MEND : interval, view);
    }
  }

  #probeIn(ms: number, view: View): void {
    // A timer may already be set, also by a probe that started during another one.
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#probe(view), ms);
  }
}

async function inTime<T>(promise: Promise<T>, deadline: number): Promise<T> {
  return await within(Math.max(0, deadline - performance.now()), promise, () => {
    throw new StoreError("unavailable", "The cache did not catch up in time");
  });
}
