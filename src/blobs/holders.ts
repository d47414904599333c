/**
 * Who put a blob, and what that counts for.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import type { BlobHolders } from "./types.ts";

/** A blob counts as so many bytes at least: small ones take room by their number. */
const LEAST_BYTES = 4096;

/** What a blob of a size takes of its owner's quota. */
export function costOf(size: number): number {
  return Math.max(size, LEAST_BYTES);
}

/** Throws `quota_exceeded` where so much more is too much. */
export function demandQuota(used: number, cost: number, quota: number): void {
  if (used + cost <= quota) return;
  throw new StoreError(
    "quota_exceeded",
    `One user may keep ${quota} bytes of blobs, has ${used} and puts ${cost} (maxBlobBytesPerUser)`,
    { field: "maxBlobBytesPerUser" },
  );
}

/** The holders of both. */
export function merged(a: BlobHolders, b: BlobHolders): BlobHolders {
  const owners = [...new Set([...a.owners, ...b.owners])].sort();
  return { owners, unowned: a.unowned || b.unowned };
}

/** Those of `some` whom `all` lacks. */
export function missingIn(all: BlobHolders, some: BlobHolders): BlobHolders {
  const owners = some.owners.filter((it) => !all.owners.includes(it));
  return { owners, unowned: some.unowned && !all.unowned };
}

/** Whether there is nobody. */
export function isNobody({ owners, unowned }: BlobHolders): boolean {
  return owners.length === 0 && !unowned;
}

/** The error for an owner who is none. */
export function notOwner(id: string): StoreError {
  return new StoreError("forbidden", `Only those who put blob ${id}, and admins, may delete it`);
}

/** The error for a blob that is not there. */
export function noBlob(): StoreError {
  return new StoreError("not_found", "There is no such blob");
}
