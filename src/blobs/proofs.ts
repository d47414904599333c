/**
 * Checking a part of a blob without reading all of it: the SHA-256 of each block, remembered from
 * one reading of the whole that had the SHA-256 of the id. What has the id has these blocks, always,
 * so a proof cannot become stale.
 *
 * @module
 */

import { createHash, type Hash } from "node:crypto";
import { StoreError } from "../core/errors.ts";

/** One block as it is stored. */
export interface Block {
  /** Its bytes. */
  bytes: Uint8Array<ArrayBuffer>;
  /** Where the store finds it again, where that does not follow from its number. */
  position?: number;
}

/** A stored blob that can be read block by block. */
export interface Blocks {
  /** Its id. */
  readonly id: string;
  /** Its bytes, all blocks together. */
  readonly size: number;
  /** Bytes of each block but the last. */
  readonly blockSize: number;
  /** Tells apart two copies whose blocks lie at different positions. */
  readonly copy: string;
  /** Reads the blocks in order from number `first` on, whose position is given where one is known. */
  read(first: number, position?: number): AsyncGenerator<Block, void>;
}

/** What is known of a blob's blocks. */
export interface Proof {
  /** Which copy `positions` are of. */
  copy: string;
  /** The SHA-256 of every block. */
  digests: string[];
  /** The position of every block that has one. */
  positions: (number | undefined)[];
}

/** Most blocks remembered, of all blobs together: some 10 MB, for 16 GiB on disk. */
const MOST_BLOCKS = 65_536;

/** Proofs, those used last. */
export class Proofs {
  readonly #known = new Map<string, Proof>();
  readonly #making = new Map<string, Promise<Proof>>();
  readonly #most: number;
  #blocks = 0;

  constructor(most: number = MOST_BLOCKS) {
    this.#most = most;
  }

  /**
   * The proof of a blob; made by reading it whole when it is not known. Callers at the same time
   * share one reading. `corrupt` when the bytes are not those of the id.
   */
  of(blocks: Blocks, check: () => void): Promise<Proof> {
    const known = this.#known.get(blocks.id);
    if (known?.copy === blocks.copy) {
      this.#known.delete(blocks.id);
      this.#known.set(blocks.id, known);
      return Promise.resolve(known);
    }
    const key = `${blocks.id} ${blocks.copy}`;
    let making = this.#making.get(key);
    if (making === undefined) {
      making = prove(blocks, check).then((proof) => this.#remember(blocks.id, proof))
        .finally(() => this.#making.delete(key));
      this.#making.set(key, making);
    }
    return making;
  }

  #remember(id: string, proof: Proof): Proof {
    this.#forget(id);
    this.#known.set(id, proof);
    this.#blocks += proof.digests.length;
    for (const other of this.#known.keys()) {
      if (this.#blocks <= this.#most || other === id) break;
      this.#forget(other);
    }
    return proof;
  }

  #forget(id: string): void {
    this.#blocks -= this.#known.get(id)?.digests.length ?? 0;
    this.#known.delete(id);
  }
}

async function prove(blocks: Blocks, check: () => void): Promise<Proof> {
  const whole = new WholeCheck(blocks);
  const proof: Proof = { copy: blocks.copy, digests: [], positions: [] };
  for await (const { bytes, position } of blocks.read(0)) {
    check();
    whole.add(bytes);
    proof.digests.push(digestOf(bytes));
    proof.positions.push(position);
  }
  whole.end();
  return proof;
}

/** Checks a whole blob as its blocks go by. */
export class WholeCheck {
  readonly #blocks: Blocks;
  readonly #hash: Hash = createHash("sha256");
  #size = 0;

  constructor(blocks: Blocks) {
    this.#blocks = blocks;
  }

  /** Adds the next block; `corrupt` when there are more bytes than there should be. */
  add(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.#size += bytes.length;
    if (this.#size > this.#blocks.size) throw damaged(this.#blocks.id, "it has too many bytes");
  }

  /** Whether every byte has been added. */
  get complete(): boolean {
    return this.#size === this.#blocks.size;
  }

  /** Throws `corrupt` unless what was added is what the id says. */
  end(): void {
    const { id, size } = this.#blocks;
    if (!this.complete) throw damaged(id, `${this.#size} of its ${size} bytes are there`);
    const found = this.#hash.digest("hex");
    if (found !== id) throw damaged(id, `its bytes have SHA-256 ${found}`);
  }
}

/** The SHA-256 of a block. */
export function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64");
}

/** The error for bytes that are not those of the id. */
export function damaged(id: string, found: string): StoreError {
  return new StoreError("corrupt", `Blob ${id} is damaged: ${found}`);
}
