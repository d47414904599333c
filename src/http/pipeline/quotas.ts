/**
 * Quotas of users and rooms.
 *
 * A quota is counted before the change it allows, and requests that count against the same quota wait
 * for each other, so that concurrent requests cannot exceed it. Each node of a cluster counts for
 * itself: with requests on several nodes at once it may be exceeded by as many as there are nodes.
 *
 * @module
 */

import type { BusAuth } from "../../core/operations.ts";
import { StoreError } from "../../core/errors.ts";
import type { ControlPlaneOptions } from "../options.ts";

/** The quotas of a control plane; `Infinity` for none. */
export interface Quotas {
  /** Rooms that one user may own. */
  readonly maxRoomsPerOwner: number;
  /** Members of a room. */
  readonly maxMembersPerRoom: number;
  /** Epochs of a room whose sealed keys are kept, 2 at least. */
  readonly maxEpochsKept: number;
  /** Bytes of blobs that one user may keep. */
  readonly maxBlobBytesPerUser: number;
}

/** Reads the quotas from the options. With `off` there are none, because no user is known. */
export function quotasOf(options: ControlPlaneOptions, busAuth: BusAuth): Quotas {
  const most = (name: Exclude<keyof Quotas, "maxEpochsKept">, usual: number) =>
    busAuth === "off" ? Infinity : checked(name, options[name] ?? usual, 0);
  return {
    maxRoomsPerOwner: most("maxRoomsPerOwner", 500),
    maxMembersPerRoom: most("maxMembersPerRoom", 10_000),
    maxBlobBytesPerUser: most("maxBlobBytesPerUser", 2 ** 30),
    // A rekey is never refused for it: the oldest keys are removed.
    maxEpochsKept: checked("maxEpochsKept", options.maxEpochsKept ?? 100, 2),
  };
}

function checked(field: keyof Quotas, value: number, least: number): number {
  if (value === Infinity || (Number.isSafeInteger(value) && value >= least)) return value;
  throw new StoreError("invalid", `${field} must be ${least} or more, found ${value}`, { field });
}

/** The error for a quota that is used up. */
export function quotaExceeded(name: keyof Quotas, message: string): StoreError {
  return new StoreError("quota_exceeded", `${message} (${name})`, { field: name });
}
