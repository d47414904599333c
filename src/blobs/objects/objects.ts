/**
 * Blobs in JetStream's object store.
 *
 * The chunks go first, under a name of their own; then one message describes the object under the
 * blob's id, compared and set on there being none. So a blob is there whole or not at all, and of
 * several writers one makes it. The library's own `put` can do neither: it needs the name before the
 * bytes, and of two writers the later one replaces the earlier one's object.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { isStoreError, StoreError } from "../../core/errors.ts";
import type { Connection } from "../../nats/connection/connect.ts";
import { checkHolders, checkId, checkOwner } from "../checks.ts";
import { costOf, isNobody, merged, missingIn, noBlob, NOBODY, notOwner } from "../holders.ts";
import { takeIn } from "../intake.ts";
import { Lifetime } from "../lifetime.ts";
import type { ObjectInfo } from "./format.ts";
import { isCurrentReplica, requireVersion } from "../../jetstream/log/stream.ts";
import { Accounts, holdersOf, replaceInfo, withHolders } from "./holders.ts";
import { type Found, isSound, isThere, readInfo } from "./info.ts";
import { ObjectBlocks } from "./read.ts";
import { ObjectSink } from "./sink.ts";
import { ObjectStream } from "./stream.ts";
import { sweepChunks } from "./sweep.ts";
import { listInfos, type ListOptions } from "./list.ts";
import { damaged, Proofs } from "../proofs.ts";
import { handOut } from "../reading.ts";
import type {
  BlobHealth,
  BlobHolders,
  BlobInfo,
  BlobRange,
  BlobStore,
  OpenedBlob,
  PutBlobOptions,
  StoredBlob,
} from "../types.ts";

/** Bytes of a chunk, as the library has them. */
const CHUNK = 128 * 1024;
/** Bytes that the headers of a chunk may take of the server's largest message. */
const HEADERS = 256;
/** Tries to change a description while others change it. */
const TRIES = 32;

/** Where {@link openObjectBlobs} keeps the blobs. */
export interface ObjectBlobsOptions {
  /** The connection; it stays the caller's, and open. */
  connection: Connection;
  /** The bucket, made where there is none; `UNIBUS_BLOBS` by default. */
  bucket?: string;
  /** Copies of the bucket, 1 to 5; left as it is when not named, 1 for a new one. */
  replicas?: number;
  /** Whether an existing bucket is brought to `replicas` too; true by default. */
  resize?: boolean;
  /** Milliseconds one operation on the server may take; 5,000 by default. */
  opTimeout?: number;
  /** Milliseconds to wait for a server that can make the bucket; 120,000 by default. */
  bootstrapTimeout?: number;
  /**
   * Most bytes that the bucket may hold, so that the rest of the server's room stays for other streams,
   * such as the store; no bound by default. More is `unavailable`.
   */
  maxBytes?: number;
  /**
   * Called when a write finds the writers stopped by a live move; that write is `unavailable`. May let
   * them go on if the move has ended without that.
   */
  onFrozen?: () => Promise<void>;
  /** Ends the opening. */
  signal?: AbortSignal;
}

/**
 * Opens a store of blobs in JetStream's object store. Several processes may use it at once. Chunks
 * that a killed writer left are removed a day later.
 *
 * `unsupported` when the server is too old, `unavailable` when it does not answer.
 */
export async function openObjectBlobs(options: ObjectBlobsOptions): Promise<BlobStore> {
  const { bucket = "UNIBUS_BLOBS", replicas, signal } = options;
  const connection = options.connection as NatsConnection;
  if (!/^[-\w]{1,64}$/.test(bucket)) {
    throw new StoreError("invalid", "A bucket's name is up to 64 letters, digits, _ and -", {
      field: "bucket",
    });
  }
  if (replicas !== undefined && !(Number.isInteger(replicas) && replicas >= 1 && replicas <= 5)) {
    throw new StoreError("invalid", `replicas must be 1 to 5, found ${replicas}`, {
      field: "replicas",
    });
  }
  requireVersion(connection);
  const stream = new ObjectStream(connection, bucket, options.onFrozen);
  const deadline = Date.now() + (options.bootstrapTimeout ?? 120_000);
  await stream.ensure({ replicas, resize: options.resize ?? true, deadline, signal });
  const blobs = new ObjectBlobs(stream, options.opTimeout ?? 5000, options.maxBytes ?? Infinity);
  blobs.sweep();
  return blobs;
}

class ObjectBlobs implements BlobStore {
  readonly #stream: ObjectStream;
  readonly #opTimeout: number;
  readonly #lifetime = new Lifetime("store of blobs");
  readonly #proofs = new Proofs();
  readonly #maxBytes: number;
  readonly #accounts: Accounts;
  readonly #listing: ListOptions;

  constructor(stream: ObjectStream, opTimeout: number, maxBytes: number) {
    this.#stream = stream;
    this.#opTimeout = opTimeout;
    this.#maxBytes = maxBytes;
    this.#accounts = new Accounts(stream, opTimeout, (owner) => this.#count(owner));
    this.#listing = { opTimeout, check: () => this.#lifetime.check() };
  }

  /** Removes what killed writers left, in the background; the next opening does what this does not. */
  sweep(): void {
    this.#lifetime.run(() => sweepChunks(this.#stream, this.#listing)).catch(() => {});
  }

  async put(source: AsyncIterable<Uint8Array>, options: PutBlobOptions): Promise<StoredBlob> {
    const { max_payload: most = Infinity } = this.#stream.nc.info ?? {};
    const chunkSize = Math.min(CHUNK, most - HEADERS);
    return await this.#lifetime.run(() =>
      takeIn(source, options, this.#lifetime, chunkSize, async () => {
        return new ObjectSink(this.#stream, {
          chunkSize,
          opTimeout: this.#opTimeout,
          isGood: (info) => this.#isGood(info),
          accounts: this.#accounts,
          room: await this.#room(),
        });
      })
    );
  }

  /** Bytes that the bucket may still take. */
  async #room(): Promise<number> {
    if (this.#maxBytes === Infinity) return Infinity;
    const info = await this.#stream.info(this.#deadline());
    return this.#maxBytes - (info?.state.bytes ?? 0);
  }

  async holders(id: string): Promise<BlobHolders | null> {
    const info = await this.#read(id);
    return info && holdersOf(info);
  }

  async addHolders(id: string, given: BlobHolders): Promise<boolean> {
    const holders = checkHolders(given);
    let added = NOBODY;
    const found = await this.#change(id, "Noting who put a blob", ({ info }) => {
      const before = holdersOf(info);
      added = missingIn(before, holders);
      return isNobody(added) ? null : withHolders(info, merged(before, holders));
    });
    if (found === null) return false;
    for (const owner of added.owners) {
      await this.#accounts.charge(owner, costOf(found.info.size), Infinity);
    }
    return true;
  }

  async delete(id: string, owner?: string): Promise<boolean> {
    const by = owner === undefined ? null : checkOwner(owner);
    let left = NOBODY;
    let leaving: readonly string[] = [];
    const found = await this.#change(id, "Deleting a blob", ({ info }, tries) => {
      const all = holdersOf(info);
      if (by !== null && !all.owners.includes(by)) {
        if (tries === 1) throw notOwner(id);
        // Done by the try before, whose answer was lost; what it counts for is found when it matters.
        leaving = [];
        left = all;
        return null;
      }
      leaving = by === null ? all.owners : [by];
      left = by === null ? NOBODY : { ...all, owners: all.owners.filter((it) => it !== by) };
      // As the library of the object store describes what it deletes.
      return isNobody(left)
        ? { ...info, size: 0, chunks: 0, digest: "", deleted: true, metadata: {} }
        : withHolders(info, left);
    });
    if (found === null) throw noBlob();
    const { size, nuid } = found.info;
    for (const it of leaving) await this.#accounts.refund(it, costOf(size));
    if (!isNobody(left)) return false;
    // What cannot be removed now is invisible, and swept later.
    const chunks = this.#stream.subjects.chunksOf(nuid);
    await this.#stream.purge(chunks, this.#deadline()).catch(() => {});
    return true;
  }

  async usage(owner: string): Promise<number> {
    this.#lifetime.check();
    return await this.#accounts.usage(checkOwner(owner));
  }

  /** Changes a description; returns what it was, `null` where there is none. */
  async #change(
    id: string,
    what: string,
    next: (found: Found, tries: number) => ObjectInfo | null,
  ): Promise<Found | null> {
    this.#lifetime.check();
    checkId(id);
    return await this.#lifetime.run(async () => {
      for (let tries = 1; tries <= TRIES; tries++) {
        const found = await readInfo(this.#stream, id, this.#deadline());
        if (!isThere(found)) return null;
        const info = next(found, tries);
        if (info === null) return found;
        if (await replaceInfo(this.#stream, info, found.revision, this.#deadline())) return found;
      }
      throw new StoreError("conflict", `${what}: lost ${TRIES} races in a row`);
    });
  }

  /** What an owner keeps, by the descriptions. */
  async #count(owner: string): Promise<number> {
    let bytes = 0;
    for await (const info of listInfos(this.#stream, this.#listing)) {
      if (holdersOf(info).owners.includes(owner)) bytes += costOf(info.size);
    }
    return bytes;
  }

  async stat(id: string): Promise<BlobInfo | null> {
    const info = await this.#read(id);
    return info && { id, size: info.size };
  }

  async get(id: string, range?: BlobRange): Promise<OpenedBlob | null> {
    const info = await this.#read(id);
    if (info === null) return null;
    if (!isSound(info, id)) throw damaged(id, "its description is of other bytes");
    const blocks = this.#blocks(info);
    return await this.#lifetime.run(() => handOut(blocks, range, this.#proofs, this.#lifetime));
  }

  async *list(): AsyncGenerator<BlobInfo> {
    this.#lifetime.check();
    for await (const { name: id, size } of listInfos(this.#stream, this.#listing)) {
      yield { id, size };
    }
  }

  async health(): Promise<BlobHealth> {
    if (this.#lifetime.closed) return { ok: false, detail: "The store of blobs is closed" };
    const { bucket } = this.#stream.subjects;
    try {
      const info = await this.#stream.info(this.#deadline());
      if (info === null) return { ok: false, detail: `No bucket ${bucket} on the server` };
      const others = info.cluster?.replicas ?? [];
      const current = others.filter(isCurrentReplica).length;
      const wanted = info.config.num_replicas;
      const detail = `${current + 1} of ${wanted} replicas current, ${info.state.bytes} bytes`;
      return { ok: 2 * (current + 1) > wanted, detail };
    } catch (error) {
      return { ok: false, detail: error instanceof Error ? error.message : String(error) };
    }
  }

  close(): Promise<void> {
    return this.#lifetime.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Reads the description of a blob; `null` where there is none. */
  async #read(id: string): Promise<ObjectInfo | null> {
    this.#lifetime.check();
    const found = await readInfo(this.#stream, checkId(id), this.#deadline());
    return isThere(found) ? found.info : null;
  }

  #deadline(): number {
    return Date.now() + this.#opTimeout;
  }

  #blocks(info: ObjectInfo): ObjectBlocks {
    const blockSize = info.options?.max_chunk_size ?? CHUNK;
    return new ObjectBlocks(this.#stream, info, blockSize, this.#opTimeout);
  }

  /** Whether all chunks of an object are there, and had the right bytes when they were read. */
  async #isGood(info: ObjectInfo): Promise<boolean> {
    const subject = this.#stream.subjects.chunksOf(info.nuid);
    const { counts } = await this.#stream.counts(subject, this.#deadline());
    if ((counts.get(subject) ?? 0) !== info.chunks) return false;
    try {
      await this.#proofs.of(this.#blocks(info), () => this.#lifetime.check());
      return true;
    } catch (error) {
      if (isStoreError(error, "corrupt")) return false;
      throw error;
    }
  }
}
