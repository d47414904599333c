/**
 * Splits bytes into lines, with bounded memory and line numbers for errors.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { StoreError } from "../core/errors.ts";
import { show } from "../core/validate.ts";
import { MAX_LINE_BYTES } from "./format.ts";

/** A snapshot: a stream or async iterable of bytes, or all of it as bytes or text. */
export type SnapshotSource =
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array>
  | Uint8Array
  | string;

const NEWLINE = 10;
/** Input is processed in pieces of this size, whatever the size of the source's chunks. */
const PIECE = 65_536;

/** The hint for a damaged snapshot. */
export const TAKE_ANOTHER = "use another copy of the snapshot; this one cannot be repaired";

/** Returns the error for a damaged snapshot. */
export function damaged(line: number, problem: string, cause?: StoreError): StoreError {
  const message = line === 1
    ? `Source is not a membership snapshot: line 1 ${problem}`
    : `Snapshot line ${line} ${problem}`;
  return new StoreError("corrupt", message, {
    ...cause && { cause, field: cause.field },
    hint: TAKE_ANOTHER,
  });
}

/** Splits one source into lines. Can be used once. */
export class LineReader {
  /** Number of the last line returned; the first is 1. */
  number = 0;
  /** Whether the source ended before the newline of the last line, which is returned as empty text. */
  unfinished = false;
  // An incomplete line, followed by one piece.
  readonly #held = new Uint8Array(MAX_LINE_BYTES + PIECE);
  #length = 0;
  // Without ignoreBOM, a byte order mark at the start of any block would silently disappear.
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  /** Yields groups of lines without their newlines. Consume a group before the next. */
  async *groups(source: SnapshotSource): AsyncGenerator<Iterable<string>> {
    for await (const chunk of chunksOf(source)) {
      if (!(chunk instanceof Uint8Array)) {
        throw new StoreError(
          "invalid",
          `A snapshot source must yield bytes (Uint8Array), found ${show(chunk)}`,
          { field: "source" },
        );
      }
      for (let at = 0; at < chunk.length; at += PIECE) {
        const piece = chunk.subarray(at, at + PIECE);
        const end = piece.lastIndexOf(NEWLINE);
        this.#held.set(piece, this.#length);
        if (end >= 0) {
          yield this.#lines(this.#held.subarray(0, this.#length + end));
          this.#held.set(piece.subarray(end + 1));
          this.#length = piece.length - end - 1;
        } else {
          this.#length += piece.length;
          if (this.#length > MAX_LINE_BYTES) throw tooLong(this.number + 1);
        }
      }
    }
    if (this.#length > 0) {
      this.number++;
      this.unfinished = true;
      yield [""];
    }
  }

  *#lines(bytes: Uint8Array): Generator<string> {
    for (const line of this.#decode(bytes)) {
      this.number++;
      // A UTF-16 unit is at most three bytes of UTF-8, so most lines need not be measured.
      if (line.length * 3 > MAX_LINE_BYTES && Buffer.byteLength(line) > MAX_LINE_BYTES) {
        throw tooLong(this.number);
      }
      yield line;
    }
  }

  #decode(bytes: Uint8Array): Iterable<string> {
    try {
      return this.#decoder.decode(bytes).split("\n");
    } catch {
      return this.#decodeEach(bytes);
    }
  }

  /** Decodes line by line, which is slower, to return the valid lines and report the first invalid one. */
  *#decodeEach(bytes: Uint8Array): Generator<string> {
    for (let start = 0; start <= bytes.length;) {
      const newline = bytes.indexOf(NEWLINE, start);
      const end = newline < 0 ? bytes.length : newline;
      let line: string;
      try {
        line = this.#decoder.decode(bytes.subarray(start, end));
      } catch {
        throw damaged(this.number + 1, "is not UTF-8");
      }
      yield line;
      start = end + 1;
    }
  }
}

function tooLong(line: number): StoreError {
  return damaged(line, `is longer than ${MAX_LINE_BYTES} bytes`);
}

function chunksOf(source: SnapshotSource): Iterable<Uint8Array> | AsyncIterable<Uint8Array> {
  if (typeof source === "string") return encoded(source);
  if (source instanceof Uint8Array) return [source];
  if (typeof source === "object" && source !== null && Symbol.asyncIterator in source) {
    return source;
  }
  throw new StoreError(
    "invalid",
    `A snapshot source must be a stream, an async iterable, bytes or text, found ${show(source)}`,
    { field: "source" },
  );
}

function* encoded(text: string): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  for (let at = 0; at < text.length;) {
    let end = Math.min(at + PIECE, text.length);
    // Does not split a surrogate pair.
    if (end < text.length && (text.charCodeAt(end - 1) & 0xfc00) === 0xd800) end++;
    yield encoder.encode(text.slice(at, end));
    at = end;
  }
}
