/**
 * The holders of a blob, and quotas.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import type { BlobHolders } from "./types.ts";

/** A blob counts as at least this many bytes, because small ones take space by their number. */
const LEAST_BYTES = 4096;

/** Returns how much of its owner's quota a blob uses. */
export function costOf(size: number): number {
  return Math.max(size, LEAST_BYTES);
}

/** Throws `quota_exceeded` if the quota does not allow `cost` more bytes. */
export function demandQuota(used: number, cost: number, quota: number): void {
  if (used + cost <= quota) return;
  throw new StoreError(
    "quota_exceeded",
    `One user can store ${quota} bytes of blobs, has ${used} and adds ${cost} (maxBlobBytesPerUser)`,
    { field: "maxBlobBytesPerUser" },
  );
}

/** No holders. */
export const NOBODY: BlobHolders = { owners: [], unowned: false };

/** Returns the holders of both. */
export function merged(a: BlobHolders, b: BlobHolders): BlobHolders {
  const owners = [...new Set([...a.owners, ...b.owners])].sort();
  return { owners, unowned: a.unowned || b.unowned };
}

/** Returns those of `some` that `all` does not have. */
export function missingIn(all: BlobHolders, some: BlobHolders): BlobHolders {
  const owners = some.owners.filter((it) => !all.owners.includes(it));
  return { owners, unowned: some.unowned && !all.unowned };
}

/** Returns whether there are no holders. */
export function isNobody({ owners, unowned }: BlobHolders): boolean {
  return owners.length === 0 && !unowned;
}

/** Returns the error for a user who does not own the blob. */
export function notOwner(id: string): StoreError {
  return new StoreError("forbidden", `Only users who stored blob ${id}, and admins, can delete it`);
}

/** Returns the error for a blob that does not exist. */
export function noBlob(): StoreError {
  return new StoreError("not_found", "The blob does not exist");
}
