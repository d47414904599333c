/**
 * One load of the cache: users and memberships at one sequence, and the time at which they were
 * known to be complete.
 *
 * @module
 */

import type { AccessChange, Member, User } from "../../core/model.ts";
import { isActiveAdmin } from "../../core/rules.ts";
import type { Entry } from "../log/bucket.ts";
import type { Part } from "../log/feed.ts";
import { Gaps } from "../log/gaps.ts";
import { Invited } from "./invited.ts";
import { MARKER_KEY, parseKey } from "../records/keys.ts";
import { decodeMember, decodeRoom, decodeUser, isVisible, readable } from "../records/values.ts";

/** Maximum number of probes kept while the feed catches up. */
const AWAITED = 100;

/** A pending probe. */
export interface Probe {
  /** The sequence that the feed must reach: the fence, or the stream's last message. */
  sequence: number;
  /** The feed's sequence when the probe started. */
  seen: number;
  /** Start time by the monotonic clock. */
  at: number;
  /** Start time by the system's clock. */
  wall: number;
}

/** The contents of one load; discarded as a whole if it cannot be continued. */
export class View {
  /** All users, and whether they are active. */
  readonly users = new Map<string, boolean>();
  /** Active admins. */
  readonly admins = new Set<string>();
  /** Users who were invited to a room. */
  readonly invited = new Invited();
  /** Memberships by endpoint and room; `null` above the limit. */
  members: Map<string, Member> | null = new Map();
  /** Number of {@link members} per room. */
  readonly sizes = new Map<string, number>();
  /** The sequence of the last message received. */
  received = 0;
  /**
   * Everything up to this sequence has been applied; after it there is at most a part of a batch.
   */
  upTo = 0;
  /** When the contents were known to be complete, by the monotonic clock. */
  freshAt = -Infinity;
  /** The same by the system's clock, which also advances while the machine sleeps. */
  freshWall = -Infinity;
  /** The stream's last sequence at that time: a replica with a lower one has older contents. */
  freshUpTo = 0;
  /** Probes that wait for the feed to catch up, oldest first. */
  readonly #awaited: Probe[] = [];
  /** Received messages of an incomplete batch. */
  #gathered: Entry[] = [];
  #batch = "";
  #index = 0;
  /** Missing parts of batches. */
  readonly #gaps = new Gaps();
  /** Rooms with a large change in progress or an invalid record, and whether readers see them. */
  readonly #claims = new Map<string, boolean>();

  readonly #maxMembers: number;
  readonly #onWarm: () => void;
  readonly #onChange: (change: AccessChange) => void;

  /**
   * @param maxMembers Maximum number of memberships
   * @param onWarm Called once, when loading is complete
   * @param onChange Called with the users or rooms whose access a message may have changed
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

  /** Reports whether loading is complete. */
  get isWarm(): boolean {
    return this.freshAt !== -Infinity;
  }

  /** Reports whether a large change in progress, or an invalid record, hides the room from readers. */
  isHidden(roomId: string): boolean {
    return this.#claims.get(roomId) === false;
  }

  /**
   * Reports whether a part of a batch is missing: it was replaced before it was sent, and its
   * replacement has not arrived yet. Each record by itself is then correct or newer, but two of
   * them may never have existed together.
   */
  get isTorn(): boolean {
    return this.#gaps.open;
  }

  /**
   * Applies the next message of the stream. The messages of a batch are applied together when the
   * batch is complete.
   *
   * @param part The message's position in its batch; `null` to apply it by itself
   */
  take(entry: Entry, part: Part | null): void {
    if (this.#batch !== (part?.batch ?? "")) this.#cut();
    // While a part is missing, its replacement may be missing too.
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

  /** Records that the stream has no message between the last received one and this sequence. */
  advance(sequence: number): void {
    this.#cut();
    if (sequence > this.received) this.received = sequence;
    this.#count();
  }

  /** Completes a batch whose last message was replaced or has expired. */
  #cut(): void {
    if (this.#gathered.length === 0) return;
    this.#gaps.note(this.received);
    this.#count();
  }

  #count(): void {
    for (const gathered of this.#gathered) this.#apply(gathered);
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

  /**
   * Adds a probe: once its sequence has been seen, everything acknowledged before its start is
   * known.
   */
  await(probe: Probe): void {
    this.#awaited.push(probe);
    // If the feed lags for long, keep the oldest, which it reaches first, and drop some of the
    // others.
    if (this.#awaited.length > AWAITED) this.#awaited.splice(1, 1);
    this.#settle();
  }

  #apply(entry: Entry): void {
    const change = this.#changed(entry);
    // While loading, messages are not changes.
    if (change !== null && this.isWarm) this.#onChange(change);
  }

  #changed(entry: Entry): AccessChange | null {
    // Most messages are sealed keys, so they are skipped first.
    if (entry.key.startsWith("room_keys.") || entry.key.startsWith("invites.")) return null;
    const parsed = parseKey(entry.key);
    const gone = entry.data.length === 0;
    switch (parsed?.space) {
      case "users": {
        const { signPub } = parsed;
        const user = gone ? null : readable(() => decodeUser(entry.key, signPub, entry.data));
        this.#setUser(signPub, user);
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
        // A move or an import started or ended; nothing else there changes access.
        return entry.key === MARKER_KEY ? {} : null;
      default:
        return null;
    }
  }

  #setMember({ room, endpoint }: { room: string; endpoint: string }, entry: Entry | null): void {
    if (this.members === null) return;
    const id = endpoint + room;
    const member = entry && readable(() => decodeMember(entry.key, room, endpoint, entry.data));
    if (member === null) {
      if (this.members.delete(id)) this.#resize(room, -1);
    } else {
      if (!this.members.has(id)) this.#resize(room, 1);
      this.members.set(id, member);
      if (this.members.size > this.#maxMembers) this.members = null;
    }
  }

  #resize(room: string, by: number): void {
    const size = (this.sizes.get(room) ?? 0) + by;
    if (size === 0) this.sizes.delete(room);
    else this.sizes.set(room, size);
  }

  #setRoom(id: string, entry: Entry | null): AccessChange | null {
    const stored = entry && readable(() => decodeRoom(entry.key, id, entry.data));
    const claim = this.#claims.get(id);
    if (entry !== null && (stored === null || stored.pending !== null)) {
      // Nobody is a member of a room that cannot be read.
      const visible = stored !== null && isVisible(stored);
      this.#claims.set(id, visible);
      // A large change renews its claim with each batch.
      return visible === claim ? null : { roomId: id };
    }
    this.#claims.delete(id);
    // A rekey in one transaction does not change access.
    const rekeyed = stored !== null && stored.room.epoch > 1;
    return rekeyed && claim !== false ? null : { roomId: id };
  }

  #setUser(signPub: string, user: User | null): void {
    if (user === null) this.users.delete(signPub);
    else this.users.set(signPub, user.status === "active");
    this.invited.set(signPub, user?.invitedTo);
    if (user !== null && isActiveAdmin(user)) this.admins.add(signPub);
    else this.admins.delete(signPub);
  }
}
