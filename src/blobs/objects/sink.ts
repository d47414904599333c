/**
 * Writes one object: its chunks, several in flight, then its description.
 *
 * @module
 */

import { nuid } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import { InFlight, retry, Transient, WrongRevision } from "../../jetstream/log/wire.ts";
import type { Sink } from "../intake.ts";
import { digestOfId, type ObjectInfo } from "./format.ts";
import { costOf, isNobody, merged, missingIn, NOBODY } from "../holders.ts";
import { type Accounts, holdersOf, replaceInfo, withHolders } from "./holders.ts";
import { type Found, isSound, isThere, readInfo } from "./info.ts";
import type { ObjectStream } from "./stream.ts";
import type { BlobHolders } from "../types.ts";

/** Chunks in flight. */
const WINDOW = 8;
/** Tries to describe an object while others change it. */
const TRIES = 32;
/** Milliseconds to remove stored chunks after a failure. */
const LAST_TRY = 250;

/** Options of {@link ObjectSink}. */
export interface SinkOptions {
  /** Bytes of a chunk. */
  chunkSize: number;
  /** Milliseconds one operation on the server may take. */
  opTimeout: number;
  /** Whether an object that is there has the bytes its name says. */
  isGood: (info: ObjectInfo) => Promise<boolean>;
  /** What owners keep. */
  accounts: Accounts;
  /** Bytes that may be stored. */
  room: number;
}

/** The chunks of one object on their way, and its description. */
export class ObjectSink implements Sink {
  readonly #stream: ObjectStream;
  readonly #options: SinkOptions;
  /** Bytes that may still be stored. */
  #room: number;
  readonly #nuid = nuid.next();
  readonly #inFlight: Promise<void>[] = [];
  #chunks = 0;
  readonly #sequences: number[] = [];
  #failed: { error: unknown } | null = null;
  /** Whether the description may be stored: then the chunks must stay. */
  #described = false;

  constructor(stream: ObjectStream, options: SinkOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#room = options.room;
  }

  async write(block: Uint8Array): Promise<void> {
    if (this.#inFlight.length >= WINDOW) await this.#inFlight.shift();
    if (this.#failed !== null) throw this.#failed.error;
    this.#room -= block.length;
    if (this.#room < 0) {
      throw new StoreError(
        "unavailable",
        "Storing a blob: the bucket is full, and the rest is reserved for the control plane",
      );
    }
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
    try {
      const timeout = this.#options.opTimeout;
      this.#sequences[number] = await this.#stream.append(this.#nuid, block, timeout, what);
    } catch (error) {
      if (!(error instanceof Transient)) throw error;
      throw new StoreError("unavailable", `${what}: ${error.message}`, { cause: error });
    }
  }

  async commit(
    id: string,
    size: number,
    holders: BlobHolders,
    quota: number,
  ): Promise<boolean> {
    await this.#settle();
    if (this.#failed !== null) throw this.#failed.error;
    if (this.#sequences.some((it, i) => i > 0 && it <= this.#sequences[i - 1]!)) {
      throw new StoreError("unavailable", "Storing a blob: its chunks were stored out of order");
    }
    const info: ObjectInfo = {
      name: id,
      description: "",
      bucket: this.#stream.subjects.bucket,
      nuid: this.#nuid,
      size,
      chunks: this.#chunks,
      mtime: new Date().toISOString(),
      digest: digestOfId(id),
      deleted: false,
      options: { max_chunk_size: this.#options.chunkSize },
    };
    const charged = await this.#charge(id, size, holders, quota);
    let added: BlobHolders | null = null;
    try {
      const described = await this.#describe(info, holders);
      added = described.added;
      if (!described.created) await this.discard();
      return described.created;
    } finally {
      // Of what was noted already, or was not stored at all, nothing counts.
      for (const owner of charged) {
        const isOpen = added === null && this.#described;
        if (!isOpen && added?.owners.includes(owner) !== true) {
          await this.#options.accounts.refund(owner, costOf(size));
        }
      }
    }
  }

  /** Charges the owners who have not put the blob before; returns them. */
  async #charge(
    id: string,
    size: number,
    holders: BlobHolders,
    quota: number,
  ): Promise<string[]> {
    const there = await readInfo(this.#stream, id, Date.now() + this.#options.opTimeout);
    const known = isThere(there) ? holdersOf(there.info) : NOBODY;
    const charged: string[] = [];
    for (const owner of missingIn(known, holders).owners) {
      await this.#options.accounts.charge(owner, costOf(size), quota);
      charged.push(owner);
    }
    return charged;
  }

  /** Makes the object visible, or joins the holders of a good one that is there. */
  async #describe(
    info: ObjectInfo,
    holders: BlobHolders,
  ): Promise<{ created: boolean; added: BlobHolders }> {
    let there: Found | null = null;
    let tried = NOBODY;
    for (let tries = 1; tries <= TRIES; tries++) {
      const before = isThere(there) ? holdersOf(there.info) : NOBODY;
      const all = merged(before, holders);
      const found = await this.#publish(withHolders(info, all), there?.revision ?? 0);
      if (found?.info.nuid === info.nuid) {
        if (there !== null) {
          const old = this.#stream.subjects.chunksOf(there.info.nuid);
          await this.#stream.purge(old, Date.now() + this.#options.opTimeout).catch(() => {});
        }
        return { created: true, added: missingIn(before, holders) };
      }
      const same = isThere(found) && isSound(found.info, info.name) &&
        found.info.size === info.size;
      if (same && await this.#options.isGood(found.info)) {
        const added = missingIn(holdersOf(found.info), holders);
        // Of one that was tried before, the answer may have been lost.
        tried = merged(tried, added);
        if (isNobody(added) || await this.#join(found, added)) {
          return { created: false, added: tried };
        }
      }
      // Deleted by somebody's tool, or damaged: whoever has the bytes mends it.
      there = found;
    }
    throw new StoreError("conflict", `Storing blob ${info.name}: lost ${TRIES} races in a row`);
  }

  /** Notes more holders of an object that is there; false where it has changed since. */
  async #join({ info, revision }: Found, added: BlobHolders): Promise<boolean> {
    const next = withHolders(info, merged(holdersOf(info), added));
    return await replaceInfo(this.#stream, next, revision, Date.now() + this.#options.opTimeout);
  }

  /** Stores the description where the last one is `expected`. Returns what is there then. */
  #publish(info: ObjectInfo, expected: number): Promise<Found | null> {
    const deadline = Date.now() + this.#options.opTimeout;
    const what = `Storing blob ${info.name}`;
    return retry(what, deadline, async () => {
      try {
        const revision = await this.#stream.describe(info, expected, deadline, what);
        this.#described = true;
        return { info, revision };
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
    const patience = this.#failed === null ? this.#options.opTimeout : LAST_TRY;
    await this.#stream.purge(subject, Date.now() + patience).catch(() => {});
  }

  async #settle(): Promise<void> {
    while (this.#inFlight.length > 0) await this.#inFlight.shift();
  }
}
