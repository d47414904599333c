/**
 * Reading the chunks of an object, a few at a time.
 *
 * @module
 */

import type { ObjectInfo } from "./format.ts";
import type { Message, ObjectStream } from "./stream.ts";
import { type Block, type Blocks, damaged } from "../proofs.ts";

/** Chunks asked for at once. */
const BATCH = 8;

/** An object as blocks; each chunk is one. */
export class ObjectBlocks implements Blocks {
  readonly id: string;
  readonly size: number;
  readonly blockSize: number;
  readonly copy: string;
  readonly #stream: ObjectStream;
  readonly #opTimeout: number;

  constructor(stream: ObjectStream, info: ObjectInfo, blockSize: number, opTimeout: number) {
    this.id = info.name;
    this.size = info.size;
    this.blockSize = blockSize;
    this.copy = info.nuid;
    this.#stream = stream;
    this.#opTimeout = opTimeout;
  }

  async *read(first: number, position = 1): AsyncGenerator<Block, void> {
    const chunks = Math.ceil(this.size / this.blockSize);
    let sequence = position;
    for (let number = first; number < chunks;) {
      const wanted = Math.min(BATCH, chunks - number);
      for (const { data, sequence: at } of await this.#next(sequence, wanted, number)) {
        const length = Math.min(this.blockSize, this.size - number * this.blockSize);
        if (data.length !== length) {
          throw damaged(this.id, `chunk ${number} has ${data.length} bytes, expected ${length}`);
        }
        sequence = at + 1;
        number++;
        yield { bytes: data, position: at };
      }
    }
  }

  /** The next chunks, one at least. */
  async #next(sequence: number, count: number, number: number): Promise<Message[]> {
    const deadline = Date.now() + this.#opTimeout;
    const subject = this.#stream.subjects.chunksOf(this.copy);
    const found = await this.#stream.readBatch(subject, sequence, count, deadline);
    if (found.length > 0) return found;
    // A replica that is behind, or a chunk that is lost: the leader knows.
    const query = { seq: sequence, next_by_subj: subject };
    const message = await this.#stream.read(query, deadline);
    if (message === null) throw damaged(this.id, `chunk ${number} is missing`);
    return [message];
  }
}
