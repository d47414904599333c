/**
 * How JetStream's object store lays an object out, so that it and its tools read what we write.
 *
 * Chunks are messages on one subject an object, in order; the object is there once the message with
 * its description is. Source: NATS ADR-20.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** The description of an object, the parts we use. */
export interface ObjectInfo {
  /** The object's name; of ours, the blob's id. */
  name: string;
  /** The bucket. */
  bucket: string;
  /** Names the subject of its chunks. */
  nuid: string;
  /** Bytes. */
  size: number;
  /** Messages. */
  chunks: number;
  /** `SHA-256=` and the digest in base64url. */
  digest: string;
  /** When it was stored. */
  mtime: string;
  /** Whether it was deleted. */
  deleted?: boolean;
  /** Who put it, and other tools' own. */
  metadata?: Record<string, string>;
  /** Bytes of each chunk but the last. */
  options?: { max_chunk_size?: number };
}

/** The subjects of a bucket. */
export class ObjectSubjects {
  /** The stream's name. */
  readonly stream: string;
  /** All chunks. */
  readonly chunks: string;
  /** All descriptions. */
  readonly metas: string;
  readonly #prefix: string;

  constructor(bucket: string) {
    this.stream = `OBJ_${bucket}`;
    this.#prefix = `$O.${bucket}`;
    this.chunks = `${this.#prefix}.C.>`;
    this.metas = `${this.#prefix}.M.>`;
  }

  /** The chunks of one object. */
  chunksOf(nuid: string): string {
    return `${this.#prefix}.C.${nuid}`;
  }

  /** The description of one object. */
  metaOf(name: string): string {
    return `${this.#prefix}.M.${padded(Buffer.from(name))}`;
  }

  /** The nuid in a chunk's subject. */
  nuidOf(subject: string): string {
    return subject.slice(this.#prefix.length + 3);
  }
}

/** The digest of a blob as the description holds it. */
export function digestOfId(id: string): string {
  return `SHA-256=${padded(Buffer.from(id, "hex"))}`;
}

/** Base64url with its padding, as the object store has it. */
function padded(bytes: Buffer): string {
  return bytes.toString("base64").replaceAll("+", "-").replaceAll("/", "_");
}
