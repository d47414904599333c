/**
 * What one loading of the cache holds: users and memberships as of one sequence, and since when that
 * is known to be all there is.
 *
 * @module
 */

import type { AccessChange, Member, User } from "../../core/model.ts";
import { isActiveAdmin } from "../../core/rules.ts";
import type { Entry } from "../log/bucket.ts";
import type { Part } from "../log/feed.ts";
import { Gaps } from "../log/gaps.ts";
import { FENCE_KEY, parseKey } from "../records/keys.ts";
import { decodeMember, decodeRoom, decodeUser, isVisible } from "../records/values.ts";

/** Probes remembered while the feed catches up. */
const AWAITED = 100;

/** A probe under way. */
export interface Probe {
  /** What the feed must have brought: the fence, or the stream's last message. */
  sequence: number;
  /** What it had brought when the probe began. */
  seen: number;
  /** When it began, by the clock of the process. */
  at: number;
  /** The same by the system's clock. */
  wall: number;
}

/** What one loading has brought; given up as a whole when it cannot be continued. */
export class View {
  /** Every user: whether active. */
  readonly users = new Map<string, boolean>();
  /** Active admins. */
  readonly admins = new Set<string>();
  /** By endpoint and room; `null` above the bound. */
  members: Map<string, Member> | null = new Map();
  /** How many of {@link members} each room has. */
  readonly sizes = new Map<string, number>();
  /** The sequence of the last message that came. */
  received = 0;
  /** Everything up to this sequence is in; behind it stands at most a part of a batch. */
  upTo = 0;
  /** When that was known to be everything, by the clock of the process. */
  freshAt = -Infinity;
  /** The same by the system's clock, which goes on while the machine sleeps. */
  freshWall = -Infinity;
  /** The stream's last sequence at that time: a replica that has not come so far knows less. */
  freshUpTo = 0;
  /** Sequences and times of probes, oldest first, that wait for the feed to catch up. */
  readonly #awaited: Probe[] = [];
  /** What has come of the batch whose end has not. */
  #gathered: Entry[] = [];
  #batch = "";
  #index = 0;
  /** Parts of batches that are missing. */
  readonly #gaps = new Gaps();
  /** Rooms that a large change has claimed, and whether readers see them meanwhile. */
  readonly #claims = new Map<string, boolean>();

  readonly #maxMembers: number;
  readonly #onWarm: () => void;
  readonly #onChange: (change: AccessChange) => void;

  /**
   * @param maxMembers Memberships held at most
   * @param onWarm Called once, when everything there was has been seen
   * @param onChange Called with whose access a message may have changed
   */
  constructor(
    maxMembers: number,
    onWarm: () => void = () => {},
    onChange: (change: AccessChange) => void = () => {},
  ) {
    this.#maxMembers = maxMembers;
    this.#onWarm = onWarm;
    this.#onChange = onChange;
  }

  /** Whether everything there was has been seen. */
  get isWarm(): boolean {
    return this.freshAt !== -Infinity;
  }

  /** Whether a large change is under way that hides the room from readers. */
  isHidden(roomId: string): boolean {
    return this.#claims.get(roomId) === false;
  }

  /**
   * Whether a part of a batch is missing: it was replaced before it was sent, and what replaced it has
   * not come yet. Each record by itself is as it was or newer, but two of them may never have been so
   * together.
   */
  get isTorn(): boolean {
    return this.#gaps.open;
  }

  /**
   * Takes in what is next in the stream. The messages of a batch count together, when its end has come.
   *
   * @param part Where the message stands in its batch; `null` to count it by itself
   */
  take(entry: Entry, part: Part | null): void {
    if (this.#batch !== (part?.batch ?? "")) this.#cut();
    // As long as something is missing, what replaced it may be missing too.
    if (this.isTorn && entry.revision !== this.received + 1) this.#gaps.note(entry.revision);
    this.received = entry.revision;
    this.#gathered.push(entry);
    if (part !== null) {
      if (part.index !== this.#index + 1) this.#gaps.note(entry.revision);
      this.#batch = part.batch;
      this.#index = part.index;
      if (!part.last) return;
    }
    this.#count();
  }

  /** Nothing stands in the stream between what has come and this sequence. */
  advance(sequence: number): void {
    this.#cut();
    if (sequence > this.received) this.received = sequence;
    this.#count();
  }

  /** Ends a batch whose last message was replaced or has expired. */
  #cut(): void {
    if (this.#gathered.length === 0) return;
    this.#gaps.note(this.received);
    this.#count();
  }

  #count(): void {
    for (const it of this.#gathered) this.#apply(it);
    this.#gathered = [];
    this.#batch = "";
    this.#index = 0;
    this.upTo = this.received;
    this.#settle();
  }

  #settle(): void {
    const wasWarm = this.isWarm;
    while (this.#awaited.length > 0 && this.#awaited[0]!.sequence <= this.upTo) {
      const { sequence: known, seen, at, wall } = this.#awaited.shift()!;
      this.#gaps.reached(seen);
      if (at < this.freshAt) continue;
      this.freshUpTo = Math.max(this.freshUpTo, known);
      this.freshAt = at;
      this.freshWall = wall;
    }
    if (this.isWarm && !wasWarm) this.#onWarm();
  }

  /** Once its sequence has been seen, everything acknowledged before a probe began is known. */
  await(probe: Probe): void {
    this.#awaited.push(probe);
    // A feed that lags for long: the oldest it will reach first, of the rest some may go.
    if (this.#awaited.length > AWAITED) this.#awaited.splice(1, 1);
    this.#settle();
  }

  #apply(entry: Entry): void {
    const change = this.#changed(entry);
    // What a loading brings is no news, but for its end.
    if (change !== null && this.isWarm) this.#onChange(change);
  }

  #changed(entry: Entry): AccessChange | null {
    // Most are sealed keys; what the rest means is looked at more closely.
    if (entry.key.startsWith("room_keys.") || entry.key.startsWith("invites.")) return null;
    const parsed = parseKey(entry.key);
    const gone = entry.data.length === 0;
    switch (parsed?.space) {
      case "users": {
        const { signPub } = parsed;
        this.#setUser(signPub, gone ? null : decodeUser(entry.key, signPub, entry.data));
        return { endpoint: signPub };
      }
      case "members":
        this.#setMember(parsed, gone ? null : entry);
        return { endpoint: parsed.endpoint };
      case "rooms_by_member":
        return { endpoint: parsed.endpoint };
      case "rooms":
        return this.#setRoom(parsed.id, gone ? null : entry);
      case "meta":
        // A move or an import began or ended; a fence says nothing.
        return entry.key === FENCE_KEY ? null : {};
      default:
        return null;
    }
  }

  #setMember({ room, endpoint }: { room: string; endpoint: string }, entry: Entry | null): void {
    if (this.members === null) return;
    const id = endpoint + room;
    if (entry === null) {
      if (this.members.delete(id)) this.#resize(room, -1);
    } else {
      if (!this.members.has(id)) this.#resize(room, 1);
      this.members.set(id, decodeMember(entry.key, room, endpoint, entry.data));
      if (this.members.size > this.#maxMembers) this.members = null;
    }
  }

  #resize(room: string, by: number): void {
    const size = (this.sizes.get(room) ?? 0) + by;
    if (size === 0) this.sizes.delete(room);
    else this.sizes.set(room, size);
  }

  #setRoom(id: string, entry: Entry | null): AccessChange | null {
    const stored = entry && decodeRoom(entry.key, id, entry.data);
    const claim = this.#claims.get(id);
    if (stored !== null && stored.pending !== null) {
      const visible = isVisible(stored);
      this.#claims.set(id, visible);
      // A large change renews its claim with each batch.
      return visible === claim ? null : { roomId: id };
    }
    this.#claims.delete(id);
    // A rekey in one transaction leaves who may do what as it is.
    const rekeyed = stored !== null && stored.room.epoch > 1;
    return rekeyed && claim !== false ? null : { roomId: id };
  }

  #setUser(signPub: string, user: User | null): void {
    if (user === null) this.users.delete(signPub);
    else this.users.set(signPub, user.status === "active");
    if (user !== null && isActiveAdmin(user)) this.admins.add(signPub);
    else this.admins.delete(signPub);
  }
}
