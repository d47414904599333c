/**
 * Random numbers from a seed: the same seed gives the same data set on every machine.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type Cipheriv, createCipheriv, createHash } from "node:crypto";

const BLOCK = 1 << 16;

/** A stream of bytes (AES-256 in counter mode), and what is made of them. */
export class Random {
  readonly #cipher: Cipheriv;
  #buffer: Buffer = Buffer.alloc(0);
  #offset = 0;

  /** @param seed Any text */
  constructor(seed: string) {
    const key = createHash("sha256").update(seed).digest();
    this.#cipher = createCipheriv("aes-256-ctr", key, Buffer.alloc(16));
  }

  /** Bytes; a view that nobody else gets. */
  bytes(length: number): Buffer {
    if (this.#offset + length > this.#buffer.length) {
      this.#buffer = this.#cipher.update(Buffer.alloc(Math.max(BLOCK, length)));
      this.#offset = 0;
    }
    this.#offset += length;
    return this.#buffer.subarray(this.#offset - length, this.#offset);
  }

  /** Bytes in hex. */
  hex(length: number): string {
    return this.bytes(length).toString("hex");
  }

  /** A number from 0, below 1. */
  fraction(): number {
    return this.bytes(4).readUInt32LE() / 2 ** 32;
  }

  /** A whole number, both ends included. */
  integer(min: number, max: number): number {
    return min + Math.floor(this.fraction() * (max - min + 1));
  }

  /** Whether something of this probability happens. */
  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** One of a list. */
  pick<T>(list: readonly T[]): T {
    return list[this.integer(0, list.length - 1)]!;
  }

  /** Distinct whole numbers below `below`, in order. */
  distinct(count: number, below: number): number[] {
    const chosen = new Set<number>();
    while (chosen.size < Math.min(count, below)) chosen.add(this.integer(0, below - 1));
    return [...chosen].sort((a, b) => a - b);
  }
}
