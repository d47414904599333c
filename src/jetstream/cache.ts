/**
 * Users and memberships in memory, fed by one feed: authorization at memory speed that fails closed.
 *
 * What the cache may answer rests on a sequence and a time. `upTo` is the sequence up to which it has
 * seen everything. A probe asks the stream's leader for its last sequence and for how long ago it
 * last heard from a quorum; once `upTo` has reached that sequence, the cache is known to hold every
 * change acknowledged before that moment (`freshAt`): whoever led instead could be elected only after
 * it. When `freshAt` is older than `maxStaleness` the answer is no, so a node that is cut off stops
 * admitting anybody, also when a server on its side still answers.
 *
 * @module
 */

import { StoreError } from "../errors.ts";
import type { Member, User } from "../model.ts";
import { isActiveAdmin } from "../rules.ts";
import { activeAdmins } from "./admins.ts";
import { type Bucket, type Entry, MARKER_TTL_SECONDS } from "./bucket.ts";
import { Feed } from "./feed.ts";
import { parseKey, userKey } from "./keys.ts";
import { quorumAge, streamInfo } from "./stream.ts";
import { decodeMember, decodeRoom, decodeUser, isVisible } from "./values.ts";

/** How the cache behaves. */
export interface CacheOptions {
  /** Age, in milliseconds, beyond which the cache stops answering yes. */
  maxStaleness: number;
  /** How long an operation may take, milliseconds. */
  opTimeout: number;
  /** Memberships held at most; above it the leader is asked. */
  maxMembers: number;
}

/** Probes remembered while the feed catches up. */
const AWAITED = 100;

/** What one loading has brought; given up as a whole when it cannot be continued. */
class View {
  /** Every user: whether active. */
  readonly users = new Map<string, boolean>();
  /** Active admins. */
  readonly admins = new Set<string>();
  /** By endpoint and room; `null` above the bound. */
  members: Map<string, Member> | null = new Map();
  /** Rooms that are not there for readers while a large change is under way. */
  readonly hidden = new Set<string>();
  /** When the stream was made. */
  created = "";
  upTo = 0;
  freshAt = -Infinity;
  /** The same by the system's clock, which goes on while the machine sleeps. */
  freshWall = -Infinity;
  /** Sequences and times of probes, oldest first, that wait for the feed to catch up. */
  readonly #awaited: { sequence: number; at: number; wall: number }[] = [];

  readonly #maxMembers: number;

  constructor(maxMembers: number) {
    this.#maxMembers = maxMembers;
  }

  take(entry: Entry): void {
    this.#apply(entry);
    this.advance(entry.revision);
  }

  advance(sequence: number): void {
    if (sequence > this.upTo) this.upTo = sequence;
    while (this.#awaited.length > 0 && this.#awaited[0]!.sequence <= this.upTo) {
      const { at, wall } = this.#awaited.shift()!;
      if (at < this.freshAt) continue;
      this.freshAt = at;
      this.freshWall = wall;
    }
  }

  /** Once `sequence` has been seen, everything acknowledged before `at` is known. */
  await(sequence: number, at: number, wall: number): void {
    this.#awaited.push({ sequence, at, wall });
    // A feed that lags for long: the oldest it will reach first, of the rest some may go.
    if (this.#awaited.length > AWAITED) this.#awaited.splice(1, 1);
    this.advance(this.upTo);
  }

  #apply(entry: Entry): void {
    if (!/^(users|members|rooms)\./.test(entry.key)) return;
    const parsed = parseKey(entry.key);
    if (parsed === null) return;
    const gone = entry.data.length === 0;
    if (parsed.space === "users") {
      this.#setUser(
        parsed.signPub,
        gone ? null : decodeUser(entry.key, parsed.signPub, entry.data),
      );
    } else if (parsed.space === "members") {
      if (this.members === null) return;
      const id = parsed.endpoint + parsed.room;
      if (gone) this.members.delete(id);
      else {
        this.members.set(id, decodeMember(entry.key, parsed.room, parsed.endpoint, entry.data));
        if (this.members.size > this.#maxMembers) this.members = null;
      }
    } else if (parsed.space === "rooms") {
      if (gone || isVisible(decodeRoom(entry.key, parsed.id, entry.data))) {
        this.hidden.delete(parsed.id);
      } else this.hidden.add(parsed.id);
    }
  }

  #setUser(signPub: string, user: User | null): void {
    if (user === null) this.users.delete(signPub);
    else this.users.set(signPub, user.status === "active");
    if (user !== null && isActiveAdmin(user)) this.admins.add(signPub);
    else this.admins.delete(signPub);
  }
}

/** Begins at the first question, not when the store is opened: tools that ask nothing pay nothing. */
export class Cache {
  readonly #bucket: Bucket;
  readonly #options: CacheOptions;
  #view: View;
  #feed: Feed | null = null;
  #warm: Promise<void> | null = null;
  #own = 0;
  #waiting: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(bucket: Bucket, options: CacheOptions) {
    this.#bucket = bucket;
    this.#options = options;
    this.#view = new View(options.maxMembers);
  }

  /** What the cache holds, the sequence up to which it has seen everything, and how old that knowledge is. */
  status(): { upTo: number; ageMs: number; users: number; members: number | null } {
    const { upTo, freshAt, users, members } = this.#view;
    return {
      upTo,
      ageMs: performance.now() - freshAt,
      users: users.size,
      members: members?.size ?? null,
    };
  }

  /** Notes a write of our own: answers wait until it has been seen. */
  wrote(sequence: number): void {
    if (sequence > this.#own) this.#own = sequence;
  }

  /** Whether the key belongs to an active user. */
  isAuthorized(signPub: string): boolean | Promise<boolean> {
    if (this.#isCold()) return this.#askLeader((deadline) => this.#isActive(signPub, deadline));
    if (!this.#isReady()) return this.#ask((view) => view.users.get(signPub) === true);
    return this.#view.users.get(signPub) === true && this.#isFresh();
  }

  /** Whether there is an active admin. */
  hasAdmin(): boolean | Promise<boolean> {
    if (this.#isCold()) {
      return this.#askLeader(async (deadline) =>
        (await activeAdmins(this.#bucket, deadline, 1)).size > 0
      );
    }
    if (!this.#isReady()) return this.#ask((view) => view.admins.size > 0);
    return this.#view.admins.size > 0 && this.#isFresh();
  }

  /** A membership; `undefined` when the cache cannot tell and the leader must be asked. */
  member(roomId: string, endpoint: string): Member | null | undefined {
    if (!this.#isReady() || !this.#isFresh() || this.#view.members === null) return undefined;
    if (this.#view.hidden.has(roomId)) return null;
    return this.#view.members.get(endpoint + roomId) ?? null;
  }

  /** Active admins as far as known; `null` when the cache is not warm. */
  admins(): ReadonlySet<string> | null {
    return this.#isReady() ? this.#view.admins : null;
  }

  /** Ends the feed and whoever waits. */
  close(): void {
    this.#closed = true;
    this.#giveUp(this.#view);
  }

  #isCold(): boolean {
    return this.#view.freshAt === -Infinity;
  }

  #isReady(): boolean {
    return !this.#isCold() && this.#view.upTo >= this.#own;
  }

  #isFresh(): boolean {
    const { freshAt, freshWall } = this.#view;
    const { maxStaleness } = this.#options;
    return performance.now() - freshAt <= maxStaleness && Date.now() - freshWall <= maxStaleness;
  }

  /** Waits until a write of our own has been seen, then answers. */
  async #ask(answer: (view: View) => boolean): Promise<boolean> {
    const deadline = performance.now() + this.#options.opTimeout;
    while (!this.#isReady()) {
      if (this.#closed) throw new StoreError("closed", "The store is closed");
      // Given up meanwhile: nothing will be seen, and no is the answer.
      if (this.#isCold()) return false;
      await within(new Promise<void>((resolve) => this.#waiting.push(resolve)), deadline);
    }
    return this.#isFresh() && answer(this.#view);
  }

  /**
   * While the cache is being loaded, which for a large bucket takes longer than an operation may, the
   * leader answers; one that has not heard from a quorum lately is not believed.
   */
  async #askLeader(read: (deadline: number) => Promise<boolean>): Promise<boolean> {
    if (this.#closed) throw new StoreError("closed", "The store is closed");
    // Not remembered when it fails: the next question tries again.
    this.#warm ??= this.#load().catch(() => {
      this.#warm = null;
    });
    const deadline = Date.now() + this.#options.opTimeout;
    const before = await streamInfo(this.#bucket, deadline);
    if (!await within(read(deadline), performance.now() + this.#options.opTimeout)) return false;
    const after = await streamInfo(this.#bucket, deadline);
    return after !== null && before?.cluster?.leader === after.cluster?.leader &&
      quorumAge(after) <= this.#options.maxStaleness;
  }

  async #isActive(signPub: string, deadline: number): Promise<boolean> {
    const key = userKey(signPub);
    const entry = await this.#bucket.get(key, deadline);
    if (entry === null || entry.data.length === 0) return false;
    return decodeUser(key, signPub, entry.data).status === "active";
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  async #load(): Promise<void> {
    const view = new View(this.#options.maxMembers);
    this.#view = view;
    let probed = false;
    const feed = new Feed(this.#bucket, {
      // All keys, of which sealed keys and invites are passed over: then the sequence says it all.
      pattern: ">",
      heartbeat: Math.max(100, Math.min(1000, Math.floor(this.#options.maxStaleness / 4))),
      opTimeout: this.#options.opTimeout,
      onEntry: (entry, pending) => {
        view.take(entry);
        // All there was has come: only a probe can tell so, and the next would be a while.
        if (pending === 0 && view.freshAt === -Infinity && !probed) {
          probed = true;
          void this.#probe(view);
        }
        if (this.#waiting.length > 0 && this.#isReady()) this.#wake();
      },
      onEnd: () => this.#giveUp(view),
    });
    this.#feed = feed;
    await feed.start();
    if (this.#closed || this.#view !== view) return feed.stop();
    void this.#probe(view);
  }

  /** Ends this view for good; the next question loads anew, and until then the leader answers. */
  #giveUp(view: View): void {
    if (this.#view !== view) return;
    clearTimeout(this.#timer);
    this.#feed?.stop();
    this.#feed = null;
    this.#view = new View(this.#options.maxMembers);
    this.#warm = null;
    this.#wake();
  }

  /** Asks the leader where the stream ends, now and then on. */
  async #probe(view: View): Promise<void> {
    const interval = Math.max(50, Math.min(1000, this.#options.maxStaleness / 4));
    const isCurrent = () => !this.#closed && this.#view === view;
    const seen = view.upTo;
    const sent = performance.now();
    const sentWall = Date.now();
    const deadline = Date.now() + Math.max(interval, 500);
    try {
      const info = await streamInfo(this.#bucket, deadline);
      if (!isCurrent()) return;
      const last = info?.state.last_seq ?? -1;
      const silence = Math.max(sent - view.freshAt, sentWall - view.freshWall);
      view.created ||= info?.created ?? "";
      if (info === null || info.created !== view.created || last < seen) {
        // The stream is gone, was made anew or was put back to an earlier state.
        return this.#giveUp(view);
      }
      if (Number.isFinite(silence) && silence > MARKER_TTL_SECONDS * 500) {
        // Delete markers may have come and gone unseen.
        return this.#giveUp(view);
      }
      const age = quorumAge(info);
      view.await(last, sent - age, sentWall - age);
      if (this.#isReady()) this.#wake();
    } catch {
      // Not heard: `freshAt` stays where it is, and the answer turns to no in time.
    } finally {
      if (isCurrent()) {
        // One may be set already by a probe that began while this one was under way.
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => void this.#probe(view), interval);
      }
    }
  }
}

async function within<T>(promise: Promise<T>, deadline: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new StoreError("unavailable", "The cache did not catch up in time")),
      Math.max(0, deadline - performance.now()),
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
