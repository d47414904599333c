/**
 * Digests that followers tell each other: each writes its own with its fences, and compares those of
 * the others with what it had at the same position itself.
 *
 * @module
 */

import { nuid } from "@nats-io/transport-node";
import { VALUE_VERSION } from "../../jetstream/records/values.ts";

/** Positions remembered, and digests of others that wait for theirs. */
const REMEMBERED = 1000;

/** A digest at a position. */
export interface Digest {
  /** The position; exact. */
  position: number;
  /** The digest there, in hex. */
  digest: string;
}

/** Two followers that hold something else at one position. */
export interface Difference {
  /** Their position. */
  position: number;
  /** Our digest. */
  ours: string;
  /** The other's digest. */
  theirs: string;
}

/** The value of a fence; others write values of their own, which say nothing. */
export function fenceValue(digest: Digest | null): string {
  return JSON.stringify({ v: VALUE_VERSION, id: nuid.next(), ...digest });
}

/** Reads the digest in the value of a fence; `null` for none. */
export function readFence(data: Uint8Array): Digest | null {
  // Those of others are no JSON.
  if (data[0] !== 0x7b) return null;
  try {
    const { position, digest } = JSON.parse(new TextDecoder().decode(data));
    return typeof position === "number" && typeof digest === "string" ? { position, digest } : null;
  } catch {
    return null;
  }
}

/** Our own digests of late, and those of others. */
export class Digests {
  readonly #own = new Map<number, string>();
  readonly #others = new Map<number, string>();
  /** The newest of our own. */
  newest: Digest | null = null;

  /** Notes our own; answers with the difference to another's of this position. */
  note(position: number, digest: string): Difference | null {
    this.newest = { position, digest };
    remember(this.#own, position, digest);
    return this.#compare(position);
  }

  /** Notes another's; answers with the difference to our own of this position. */
  hear({ position, digest }: Digest): Difference | null {
    remember(this.#others, position, digest);
    return this.#compare(position);
  }

  #compare(position: number): Difference | null {
    const ours = this.#own.get(position);
    const theirs = this.#others.get(position);
    if (ours === undefined || theirs === undefined || ours === theirs) return null;
    return { position, ours, theirs };
  }
}

function remember(map: Map<number, string>, position: number, digest: string): void {
  map.set(position, digest);
  if (map.size > REMEMBERED) map.delete(map.keys().next().value!);
}
