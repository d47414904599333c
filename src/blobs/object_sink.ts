/**
 * Writing one object: its chunks, several on their way at once, and then its description.
 *
 * @module
 */

import { nuid } from "@nats-io/transport-node";
import { StoreError } from "../errors.ts";
import {
  InFlight,
  left,
  parseAnswer,
  RawHeaders,
  request,
  retry,
  Transient,
  WrongRevision,
} from "../jetstream/wire.ts";
import type { Sink } from "./intake.ts";
import { digestOfId, type ObjectInfo } from "./object_format.ts";
import { type Found, isSound, isThere, readInfo } from "./object_info.ts";
import type { ObjectStream } from "./object_stream.ts";

/** Chunks on their way to the server at once. */
const WINDOW = 8;
/** Tries to describe an object while others change it. */
const TRIES = 5;
/** How long one try may take before the next: a request sent while there is no leader is dropped. */
const TRY_TIMEOUT = 2000;
/** How long removing what was stored may take after something has failed, milliseconds. */
const LAST_TRY = 250;

/** The chunks of one object on their way, and its description. */
export class ObjectSink implements Sink {
  readonly #stream: ObjectStream;
  readonly #chunkSize: number;
  readonly #opTimeout: number;
  readonly #isGood: (info: ObjectInfo) => Promise<boolean>;
  readonly #nuid = nuid.next();
  readonly #inFlight: Promise<void>[] = [];
  #chunks = 0;
  readonly #sequences: number[] = [];
  #failed: { error: unknown } | null = null;
  /** Whether the description may be stored: then the chunks must stay. */
  #described = false;

  constructor(
    stream: ObjectStream,
    chunkSize: number,
    opTimeout: number,
    isGood: (info: ObjectInfo) => Promise<boolean>,
  ) {
    this.#stream = stream;
    this.#chunkSize = chunkSize;
    this.#opTimeout = opTimeout;
    this.#isGood = isGood;
  }

  async write(block: Uint8Array): Promise<void> {
    if (this.#inFlight.length >= WINDOW) await this.#inFlight.shift();
    if (this.#failed !== null) throw this.#failed.error;
    const number = this.#chunks++;
    this.#inFlight.push(
      this.#send(block, number).catch((error) => {
        this.#failed ??= { error };
      }),
    );
  }

  /** Sends one chunk. Never twice: what a first try stored late would stand in the wrong place. */
  async #send(block: Uint8Array, number: number): Promise<void> {
    const what = `Storing chunk ${number} of a blob`;
    const subject = this.#stream.subjects.chunksOf(this.#nuid);
    try {
      const answer = await request(this.#stream.nc, subject, block, this.#opTimeout);
      this.#sequences[number] = parseAnswer<{ seq: number }>(answer, what).seq;
    } catch (error) {
      if (!(error instanceof Transient)) throw error;
      throw new StoreError("unavailable", `${what}: ${error.message}`, { cause: error });
    }
  }

  async commit(id: string, size: number): Promise<boolean> {
    await this.#settle();
    if (this.#failed !== null) throw this.#failed.error;
    if (this.#sequences.some((it, i) => i > 0 && it <= this.#sequences[i - 1]!)) {
      throw new StoreError("unavailable", "Storing a blob: its chunks were stored out of order");
    }
    const info: ObjectInfo & { description: string } = {
      name: id,
      description: "",
      bucket: this.#stream.subjects.stream.slice("OBJ_".length),
      nuid: this.#nuid,
      size,
      chunks: this.#chunks,
      mtime: new Date().toISOString(),
      digest: digestOfId(id),
      deleted: false,
      options: { max_chunk_size: this.#chunkSize },
    };
    const created = await this.#describe(info);
    if (!created) await this.discard();
    return created;
  }

  /** Makes the object visible; false when a good one is there. */
  async #describe(info: ObjectInfo): Promise<boolean> {
    let there: Found | null = null;
    for (let tries = 1; tries <= TRIES; tries++) {
      const found = await this.#publish(info, there?.revision ?? 0);
      if (found?.info.nuid === info.nuid) {
        if (there !== null) {
          const old = this.#stream.subjects.chunksOf(there.info.nuid);
          await this.#stream.purge(old, Date.now() + this.#opTimeout).catch(() => {});
        }
        return true;
      }
      const same = isThere(found) && isSound(found.info, info.name) &&
        found.info.size === info.size;
      if (same && await this.#isGood(found.info)) return false;
      // Deleted by somebody's tool, or damaged: whoever has the bytes mends it.
      there = found;
    }
    throw new StoreError("conflict", `Storing blob ${info.name}: lost ${TRIES} races in a row`);
  }

  /** Stores the description where the last one is `expected`. Returns what is there then. */
  #publish(info: ObjectInfo, expected: number): Promise<Found | null> {
    const deadline = Date.now() + this.#opTimeout;
    const subject = this.#stream.subjects.metaOf(info.name);
    const body = JSON.stringify(info);
    const what = `Storing blob ${info.name}`;
    const headers = new RawHeaders(
      `Nats-Rollup: sub\r\nNats-Expected-Last-Subject-Sequence: ${expected}\r\n`,
    );
    return retry(what, deadline, async () => {
      try {
        const timeout = Math.min(left(deadline), TRY_TIMEOUT);
        const answer = await request(this.#stream.nc, subject, body, timeout, headers);
        const { seq } = parseAnswer<{ seq: number }>(answer, what);
        this.#described = true;
        return { info, revision: seq };
      } catch (error) {
        if (error instanceof Transient && !(error instanceof InFlight)) this.#described = true;
        if (!(error instanceof WrongRevision)) throw error;
        const found = await readInfo(this.#stream, info.name, deadline);
        // Another's: of ours, no try whose outcome is open can succeed any more.
        this.#described = found?.info.nuid === info.nuid;
        return found;
      }
    });
  }

  async discard(): Promise<void> {
    await this.#settle();
    if (this.#described || this.#chunks === 0) return;
    // What cannot be removed now is invisible, and swept later.
    const subject = this.#stream.subjects.chunksOf(this.#nuid);
    // A server that has just been waited for in vain is not waited for once more as long.
    const patience = this.#failed === null ? this.#opTimeout : LAST_TRY;
    await this.#stream.purge(subject, Date.now() + patience).catch(() => {});
  }

  async #settle(): Promise<void> {
    while (this.#inFlight.length > 0) await this.#inFlight.shift();
  }
}
