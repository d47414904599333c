/**
 * Checks of what callers pass, the same for every store of blobs.
 *
 * @module
 */

import { StoreError } from "../errors.ts";
import type { BlobRange, PutBlobOptions } from "./types.ts";

/** 64 hex digits, lower case; the only thing that ever becomes part of a path or a subject. */
const ID = /^[0-9a-f]{64}$/;

/** Returns the id, or throws `invalid`. */
export function checkId(id: string): string {
  if (typeof id === "string" && ID.test(id)) return id;
  throw invalid("id", "A blob's id is the SHA-256 of its bytes, 64 hex digits in lower case");
}

/** What {@link checkPut} returns. */
export interface CheckedPut {
  /** The most bytes. */
  maxBytes: number;
  /** The expected id, in lower case. */
  expected: string | undefined;
  /** The caller's signal. */
  signal: AbortSignal | undefined;
}

/** Returns a copy of the options, or throws `invalid`. */
export function checkPut({ maxBytes, expected, signal }: PutBlobOptions): CheckedPut {
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 0) {
    throw invalid("maxBytes", `maxBytes must be a whole number of bytes, found ${maxBytes}`);
  }
  const digest = typeof expected === "string" ? expected.toLowerCase() : expected;
  if (digest !== undefined && (typeof digest !== "string" || !ID.test(digest))) {
    throw invalid("expected", "expected must be a SHA-256, 64 hex digits");
  }
  return { maxBytes, expected: digest, signal };
}

/** Returns the range with its end inside the blob, or throws `invalid`. */
export function checkRange({ start, end }: BlobRange, size: number): BlobRange {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end < start) {
    throw invalid(
      "range",
      `A range goes from a first byte to a last one, found ${start} to ${end}`,
    );
  }
  if (start >= size) {
    throw invalid("range", `The range starts at byte ${start}, the blob has ${size} bytes`);
  }
  return { start, end: Math.min(end, size - 1) };
}

function invalid(field: string, message: string): StoreError {
  return new StoreError("invalid", message, { field });
}
