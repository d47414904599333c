/**
 * Reads blobs from the files of a replica of an object store's stream, for when no majority of its servers
 * is left to read it. Nothing is written, and no nats-server runs on the files: one by itself does not take
 * up the streams of a cluster. A blob's name is its SHA-256, so what is read shows whether it is right.
 *
 * Source: nats-server's filestore.go, the records of a message block without compression or encryption.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { BlobHolders, BlobInfo } from "../types.ts";
import { type ObjectInfo, ObjectSubjects } from "./format.ts";
import { holdersOf } from "./holders.ts";
import { isSound } from "./info.ts";

/** Bytes of a record before its subject: length, sequence, time, length of the subject. */
const HEAD = 22;
/** Bytes of the hash behind the message. */
const HASH = 8;
/** Set in the length of a record that has headers. */
const HEADERS = 0x8000_0000;
/** Set in the sequence of a record that says that the message of this sequence was removed. */
const TOMBSTONE = 1n << 62n;
/** Set in the sequence of a message that was overwritten. */
const ERASED = 1n << 63n;

/** A blob of a replica. */
export interface SalvagedBlob extends BlobInfo {
  /** Who stored it. */
  holders: BlobHolders;
  /** Whether the replica has as many bytes as it should. */
  isWhole: boolean;
  /** Reads its bytes. */
  read(): AsyncIterable<Uint8Array>;
}

/** What a replica holds. */
export interface Salvage {
  /** The blobs. */
  blobs: SalvagedBlob[];
  /** Ids of blobs that were deleted. */
  deleted: string[];
}

/** A message in a file. */
interface Stored {
  file: string;
  sequence: number;
  at: number;
  length: number;
}

/**
 * Finds the blobs in the files of a replica; its server must not run.
 *
 * @param directory The directory of the stream, in which `msgs` is
 * @param bucket The bucket of the blobs
 */
export async function salvageBlobs(directory: string, bucket: string): Promise<Salvage> {
  const { chunks, metas } = new ObjectSubjects(bucket);
  const found = await index(join(directory, "msgs"));
  const under = (pattern: string) => {
    const prefix = pattern.slice(0, -1);
    return [...found].filter(([subject]) => subject.startsWith(prefix));
  };
  const parts = new Map(
    under(chunks).map(([subject, stored]) => [subject.slice(chunks.length - 1), stored]),
  );
  const salvage: Salvage = { blobs: [], deleted: [] };
  for (const [, stored] of under(metas)) {
    const info = await describedBy(stored.at(-1)!);
    if (info === null) continue;
    const { name: id, size, nuid } = info;
    if (info.deleted === true) {
      salvage.deleted.push(id);
      continue;
    }
    const own = parts.get(nuid) ?? [];
    const isWhole = isSound(info, id) && own.reduce((sum, it) => sum + it.length, 0) === size;
    salvage.blobs.push({ id, size, holders: holdersOf(info), isWhole, read: () => readAll(own) });
  }
  return salvage;
}

/** Finds all messages by subject, in their order. */
async function index(directory: string): Promise<Map<string, Stored[]>> {
  const names = (await readdir(directory)).filter((it) => /^\d+\.blk$/.test(it));
  const found = new Map<string, Stored[]>();
  const removed = new Set<number>();
  for (const name of names) {
    const file = join(directory, name);
    for (const { subject, ...stored } of recordsIn(await readFile(file), removed)) {
      const all = found.get(subject);
      if (all === undefined) found.set(subject, [{ file, ...stored }]);
      else all.push({ file, ...stored });
    }
  }
  for (const [subject, all] of found) {
    const left = all.filter(({ sequence }) => !removed.has(sequence))
      .sort((a, b) => a.sequence - b.sequence);
    if (left.length === 0) found.delete(subject);
    else found.set(subject, left);
  }
  return found;
}

/** Takes a block apart, up to where it was cut. */
function* recordsIn(
  bytes: Buffer,
  removed: Set<number>,
): Generator<Omit<Stored, "file"> & { subject: string }> {
  for (let at = 0; at + HEAD + HASH <= bytes.length;) {
    const word = bytes.readUInt32LE(at);
    const hasHeaders = word >= HEADERS;
    const end = at + (hasHeaders ? word - HEADERS : word);
    let body = at + HEAD + bytes.readUInt16LE(at + HEAD - 2);
    const subject = bytes.toString("utf8", at + HEAD, body);
    if (hasHeaders && body + 4 <= bytes.length) body += 4 + bytes.readUInt32LE(body);
    if (body + HASH > end || end > bytes.length) return;
    const sequence = bytes.readBigUInt64LE(at + 4);
    if ((sequence & TOMBSTONE) !== 0n) removed.add(Number(sequence & ~TOMBSTONE & ~ERASED));
    else if ((sequence & ERASED) === 0n) {
      yield { subject, sequence: Number(sequence), at: body, length: end - HASH - body };
    }
    at = end;
  }
}

async function describedBy(stored: Stored): Promise<ObjectInfo | null> {
  try {
    const parts: Uint8Array[] = [];
    for await (const it of readAll([stored])) parts.push(it);
    const info = JSON.parse(Buffer.concat(parts).toString("utf8")) as ObjectInfo;
    return /^[0-9a-f]{64}$/.test(info.name) ? info : null;
  } catch {
    return null;
  }
}

async function* readAll(all: readonly Stored[]): AsyncGenerator<Uint8Array> {
  for (const { file, at, length } of all) {
    const handle = await open(file);
    try {
      const bytes = new Uint8Array(length);
      await handle.read(bytes, 0, length, at);
      yield bytes;
    } finally {
      await handle.close();
    }
  }
}
