/**
 * Verifies a range of a blob without reading all of it, with the SHA-256 of each block, which is
 * remembered after the whole blob was verified once. A proof cannot become stale, because bytes with this
 * id always have these blocks.
 *
 * @module
 */

import { createHash, type Hash } from "node:crypto";
import { StoreError } from "../core/errors.ts";

/** One stored block. */
export interface Block {
  /** Its bytes. */
  bytes: Uint8Array<ArrayBuffer>;
  /** Its position in the store, if it does not follow from its number. */
  position?: number;
}

/** A stored blob that can be read block by block. */
export interface Blocks {
  /** Its id. */
  readonly id: string;
  /** Its size in bytes. */
  readonly size: number;
  /** Size of each block except the last. */
  readonly blockSize: number;
  /** Identifies a copy, because blocks of different copies have different positions. */
  readonly copy: string;
  /** Reads the blocks in order, starting with number `first`, at its position if that is known. */
  read(first: number, position?: number): AsyncGenerator<Block, void>;
}

/** The digests of a verified blob's blocks. */
export interface Proof {
  /** The copy that `positions` belong to. */
  copy: string;
  /** The SHA-256 of every block. */
  digests: string[];
  /** The position of every block that has one. */
  positions: (number | undefined)[];
}

/** Maximum number of blocks remembered: about 10 MB of memory, for 16 GiB on disk. */
const MOST_BLOCKS = 65_536;

/** A cache of the most recently used proofs. */
export class Proofs {
  readonly #known = new Map<string, Proof>();
  readonly #making = new Map<string, Promise<Proof>>();
  readonly #most: number;
  #blocks = 0;

  constructor(most: number = MOST_BLOCKS) {
    this.#most = most;
  }

  /**
   * Returns the proof of a blob. If it is not cached, the blob is read once for all concurrent callers.
   *
   * @throws {StoreError} `corrupt`: the SHA-256 of the bytes is not the id
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

/** Verifies a whole blob block by block. */
export class WholeCheck {
  readonly #blocks: Blocks;
  readonly #hash: Hash = createHash("sha256");
  #size = 0;

  constructor(blocks: Blocks) {
    this.#blocks = blocks;
  }

  /** Adds the next block; throws `corrupt` if there are too many bytes. */
  add(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.#size += bytes.length;
    if (this.#size > this.#blocks.size) throw damaged(this.#blocks.id, "it has too many bytes");
  }

  /** Whether every byte has been added. */
  get complete(): boolean {
    return this.#size === this.#blocks.size;
  }

  /** Throws `corrupt` unless the bytes are complete and their SHA-256 is the id. */
  end(): void {
    const { id, size } = this.#blocks;
    if (!this.complete) throw damaged(id, `only ${this.#size} of its ${size} bytes are stored`);
    const found = this.#hash.digest("hex");
    if (found !== id) throw damaged(id, `its bytes have SHA-256 ${found}`);
  }
}

/** Returns the SHA-256 of a block. */
export function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64");
}

/** Returns the error for a damaged blob. */
export function damaged(id: string, found: string): StoreError {
  return new StoreError("corrupt", `Blob ${id} is damaged: ${found}`);
}
