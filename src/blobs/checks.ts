/**
 * Validates arguments, the same for every blob store.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import type { BlobHolders, BlobRange, PutBlobOptions } from "./types.ts";

/** 64 hex digits, lower case: the only input that becomes part of a path or a subject. */
const ID = /^[0-9a-f]{64}$/;

/** Returns the id, or throws `invalid`. */
export function checkId(id: string): string {
  if (typeof id === "string" && ID.test(id)) return id;
  throw invalid("id", "id must be a blob's SHA-256, 64 hex digits in lower case");
}

/** Returns the owner's key, which becomes part of a path too, or throws `invalid`. */
export function checkOwner(owner: string): string {
  if (typeof owner === "string" && ID.test(owner)) return owner;
  throw invalid("owner", "owner must be a signing key, 64 hex digits in lower case");
}

/** Returns a sorted copy without duplicates, or throws `invalid`. */
export function checkHolders({ owners, unowned }: BlobHolders): BlobHolders {
  return { owners: [...new Set(owners.map(checkOwner))].sort(), unowned: unowned === true };
}

/** The result of {@link checkPut}. */
export interface CheckedPut {
  /** Maximum size in bytes. */
  maxBytes: number;
  /** Who stores it. */
  holders: BlobHolders;
  /** Maximum number of bytes of each owner. */
  quota: number;
  /** The expected id, in lower case. */
  expected: string | undefined;
  /** The caller's signal. */
  signal: AbortSignal | undefined;
}

/** Returns a copy of the options, or throws `invalid`. */
export function checkPut(options: PutBlobOptions): CheckedPut {
  const { maxBytes, expected, signal, quota = Infinity } = options;
  const given = checkHolders(options.holders ?? { owners: [], unowned: true });
  // Without holders, as when the last owner deletes it while it is copied: treated like one of version 0.1.
  const holders = { ...given, unowned: given.unowned || given.owners.length === 0 };
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 0) {
    throw invalid("maxBytes", `maxBytes must be a whole number of bytes, found ${maxBytes}`);
  }
  const digest = typeof expected === "string" ? expected.toLowerCase() : expected;
  if (digest !== undefined && (typeof digest !== "string" || !ID.test(digest))) {
    throw invalid("expected", "expected must be a SHA-256, 64 hex digits");
  }
  if (Number.isNaN(quota) || quota < 0) {
    throw invalid("quota", `quota must be a number of bytes, found ${quota}`);
  }
  return { maxBytes, holders, quota, expected: digest, signal };
}

/** Returns the range, limited to the blob's size, or throws `invalid`. */
export function checkRange({ start, end }: BlobRange, size: number): BlobRange {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end < start) {
    throw invalid(
      "range",
      `range must have a start and an end that is not lower, found ${start} to ${end}`,
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
