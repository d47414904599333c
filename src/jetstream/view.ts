/**
 * What one loading of the cache holds: users and memberships as of one sequence, and since when that
 * is known to be all there is.
 *
 * @module
 */

import type { AccessChange, Member, User } from "../model.ts";
import { isActiveAdmin } from "../rules.ts";
import type { Entry } from "./bucket.ts";
import { FENCE_KEY, parseKey } from "./keys.ts";
import { decodeMember, decodeRoom, decodeUser, isVisible } from "./values.ts";

/** Probes remembered while the feed catches up. */
const AWAITED = 100;

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
  /** Rooms that are not there for readers while a large change is under way. */
  readonly hidden = new Set<string>();
  /** When the stream was made. */
  created = "";
  /** Everything up to this sequence has been seen. */
  upTo = 0;
  /** When that was known to be everything, by the clock of the process. */
  freshAt = -Infinity;
  /** The same by the system's clock, which goes on while the machine sleeps. */
  freshWall = -Infinity;
  /** The stream's last sequence at that time: a replica that has not come so far knows less. */
  freshUpTo = 0;
  /** Sequences and times of probes, oldest first, that wait for the feed to catch up. */
  readonly #awaited: { sequence: number; at: number; wall: number }[] = [];

  readonly #maxMembers: number;
  readonly #onWarm: () => void;

  /**
   * @param maxMembers Memberships held at most
   * @param onWarm Called once, when everything there was has been seen
   */
  constructor(maxMembers: number, onWarm: () => void = () => {}) {
    this.#maxMembers = maxMembers;
    this.#onWarm = onWarm;
  }

  /** Whether everything there was has been seen. */
  get isWarm(): boolean {
    return this.freshAt !== -Infinity;
  }

  /** Takes in what is next in the stream; says whose access it may have changed. */
  take(entry: Entry): AccessChange | null {
    const change = this.#apply(entry);
    this.advance(entry.revision);
    return change;
  }

  /** Everything up to `sequence` has been seen. */
  advance(sequence: number): void {
    if (sequence > this.upTo) this.upTo = sequence;
    const wasWarm = this.isWarm;
    while (this.#awaited.length > 0 && this.#awaited[0]!.sequence <= this.upTo) {
      const { sequence: known, at, wall } = this.#awaited.shift()!;
      if (at < this.freshAt) continue;
      this.freshUpTo = Math.max(this.freshUpTo, known);
      this.freshAt = at;
      this.freshWall = wall;
    }
    if (this.isWarm && !wasWarm) this.#onWarm();
  }

  /** Once `sequence` has been seen, everything acknowledged before `at` is known. */
  await(sequence: number, at: number, wall: number): void {
    this.#awaited.push({ sequence, at, wall });
    // A feed that lags for long: the oldest it will reach first, of the rest some may go.
    if (this.#awaited.length > AWAITED) this.#awaited.splice(1, 1);
    this.advance(this.upTo);
  }

  #apply(entry: Entry): AccessChange | null {
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
    const wasHidden = this.hidden.delete(id);
    if (stored !== null && !isVisible(stored)) this.hidden.add(id);
    // A rekey in one transaction leaves who may do what as it is.
    const rekeyed = stored !== null && stored.pending === null && stored.room.epoch > 1;
    return rekeyed && !wasHidden ? null : { roomId: id };
  }

  #setUser(signPub: string, user: User | null): void {
    if (user === null) this.users.delete(signPub);
    else this.users.set(signPub, user.status === "active");
    if (user !== null && isActiveAdmin(user)) this.admins.add(signPub);
    else this.admins.delete(signPub);
  }
}
