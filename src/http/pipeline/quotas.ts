/**
 * How much one user, and one room, may have.
 *
 * A quota is counted before the change it allows, and requests about the same thing wait for each
 * other, so that many at once do not all find the last place free. Each node of a cluster counts for
 * itself: with requests on several nodes at once it may be exceeded by as many as there are nodes.
 *
 * @module
 */

import type { BusAuth } from "../../core/operations.ts";
import { StoreError } from "../../core/errors.ts";
import type { ControlPlaneOptions } from "../options.ts";

/** The quotas of a control plane; `Infinity` where there is none. */
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

/** The quotas that options ask for. Where nobody signs, nobody is known who could use one up. */
export function quotasOf(options: ControlPlaneOptions, busAuth: BusAuth): Quotas {
  const most = (name: Exclude<keyof Quotas, "maxEpochsKept">, usual: number) =>
    busAuth === "off" ? Infinity : checked(name, options[name] ?? usual, 0);
  return {
    maxRoomsPerOwner: most("maxRoomsPerOwner", 500),
    maxMembersPerRoom: most("maxMembersPerRoom", 10_000),
    maxBlobBytesPerUser: most("maxBlobBytesPerUser", 2 ** 30),
    // A rekey is never refused for it: the oldest keys go.
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
