/**
 * What a process knows of the bucket's mark: whether the control plane has left the bucket that a store
 * or a follower was opened on.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { parseValue } from "../records/values.ts";
import { MARKER_KEY } from "../records/keys.ts";

/** The file to which a control plane moved from a bucket. */
export interface Moved {
  /** The node. */
  node: string;
  /** Path of the file there. */
  db: string;
  /** When, ISO 8601. */
  at: string;
  /** The position of the stream that the file is exact at. */
  position: number;
  /** The digest of its records there. */
  digest: string;
  /** Who moved it, for the history. */
  by?: string;
}

/** The part of the mark that says whose the bucket is. */
export interface Owner {
  /** Where the control plane went. */
  moved?: Moved | undefined;
  /** The live move that it came by or left by. */
  journey?: string | undefined;
  /** How often it has changed sides. */
  generation?: number | undefined;
  /** Whether it is there. */
  state?: "in_progress" | "complete" | undefined;
}

/** Creates the error for a bucket that the control plane has left; `what` describes the attempt. */
export function leftBucket(what: string, { moved }: Owner): StoreError {
  const found = moved === undefined
    ? "its control plane moved away, and a later move came back into it"
    : `its control plane moved to ${moved.db} on node ${moved.node} at ${moved.at}`;
  return new StoreError("refused", `${what}: ${found}`, {
    field: "moved",
    hint: moved === undefined
      ? "open it again"
      : "use the server there; membershipd grow moves it back into this bucket",
  });
}

/** The mark as the users of one bucket in this process know it. */
export class Marked {
  readonly #bucket: string;
  readonly #listeners = new Set<(moved: StoreError) => void>();
  /** Live moves that this process makes. */
  readonly #ours = new Set<string>();
  /** The revision of the last mark that was looked at; before {@link begin} none is news. */
  #revision = Infinity;
  #journey: string | undefined;
  #generation = 0;
  #wasMoved = false;
  #isFilling = false;
  #moved: StoreError | null = null;

  constructor(bucket: string) {
    this.#bucket = bucket;
  }

  /** Set when the control plane has left the bucket: nothing is read or written then. */
  get moved(): StoreError | null {
    return this.#moved;
  }

  /** Whether the control plane had left the bucket when it was opened. */
  get wasMoved(): boolean {
    return this.#wasMoved;
  }

  /** Whether a move copies a control plane into the bucket, and compares it itself. */
  get isFilling(): boolean {
    return this.#isFilling;
  }

  /** Takes the mark that the bucket was opened with. */
  begin({ journey, generation = 0, moved, state }: Owner, revision: number): void {
    this.#wasMoved = moved !== undefined;
    this.#isFilling = state === "in_progress";
    this.#revision = revision;
    this.#journey = journey;
    this.#generation = generation;
  }

  /** Notes a live move that this process makes: its marks are not news here. */
  own(journey: string): void {
    this.#ours.add(journey);
  }

  /** Calls `listener` when the control plane leaves the bucket; at once if it has. */
  onMoved(listener: (moved: StoreError) => void): void {
    if (this.#moved !== null) listener(this.#moved);
    else this.#listeners.add(listener);
  }

  /** Takes a mark that was read or came by a feed. */
  notice({ revision, data }: { revision: number; data: Uint8Array }): void {
    if (revision <= this.#revision || this.#moved !== null) return;
    this.#revision = revision;
    // Without a value it was removed: by a move that was called off.
    if (data.length === 0) return;
    const owner = parseValue(MARKER_KEY, data) as unknown as Owner;
    const { moved, journey, generation = 0, state } = owner;
    this.#isFilling = state === "in_progress";
    if (journey === undefined || journey === this.#journey || this.#ours.has(journey)) return;
    if (moved === undefined && generation <= this.#generation) return;
    this.leave(owner);
  }

  /** Notes that the control plane has left. */
  leave(owner: Owner): void {
    this.#moved = leftBucket(`Bucket ${this.#bucket}`, owner);
    for (const listener of this.#listeners) listener(this.#moved);
    this.#listeners.clear();
  }
}
