/**
 * How JetStream's object store lays out an object, so that its library and tools read what we write.
 *
 * Chunks are messages on one subject per object, in order; the object exists once the message with its
 * description does. Source: NATS ADR-20. The subjects stand here because the library keeps its own to
 * itself.
 *
 * @module
 */

import { Base64UrlPaddedCodec, type ObjectInfo as LibraryInfo } from "@nats-io/obj";
import { Buffer } from "node:buffer";

/** The description of an object as it is stored; without `deleted` it was never deleted. */
export type ObjectInfo =
  & Omit<LibraryInfo, "revision" | "headers" | "deleted">
  & Partial<Pick<LibraryInfo, "deleted">>;

/** The subjects of a bucket. */
export class ObjectSubjects {
  /** The bucket's name. */
  readonly bucket: string;
  /** The stream's name. */
  readonly stream: string;
  /** All chunks. */
  readonly chunks: string;
  /** All descriptions. */
  readonly metas: string;
  /** The only subject of a bucket whose writers are stopped; nobody writes to it. */
  readonly frozen: string;
  readonly #prefix: string;

  constructor(bucket: string) {
    this.bucket = bucket;
    this.stream = `OBJ_${bucket}`;
    this.#prefix = `$O.${bucket}`;
    this.chunks = `${this.#prefix}.C.>`;
    this.metas = `${this.#prefix}.M.>`;
    this.frozen = `${this.#prefix}.F`;
  }

  /** Returns the subject of one object's chunks. */
  chunksOf(nuid: string): string {
    return `${this.#prefix}.C.${nuid}`;
  }

  /** Returns the subject of one object's description. */
  metaOf(name: string): string {
    return `${this.#prefix}.M.${Base64UrlPaddedCodec.encode(name)}`;
  }

  /** Returns the object's name in a description's subject. */
  nameOf(subject: string): string {
    return String(Base64UrlPaddedCodec.decode(subject.slice(this.#prefix.length + 3)));
  }

  /** Returns the nuid in a chunk's subject. */
  nuidOf(subject: string): string {
    return subject.slice(this.#prefix.length + 3);
  }
}

/** Returns the digest of a blob as its description has it. */
export function digestOfId(id: string): string {
  return `SHA-256=${Base64UrlPaddedCodec.encode(Buffer.from(id, "hex"))}`;
}
