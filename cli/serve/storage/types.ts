/**
 * Where a server keeps what it serves.
 *
 * @module
 */

import type { SwitchingBlobs } from "../../../src/blobs/switch/switching.ts";
import type { Store } from "../../../src/core/store.ts";
import type { Follower } from "../../../src/follower/types.ts";

/** The storage of the control plane and the blobs; a journey changes where it is. */
export interface Storage {
  /** The control plane. */
  readonly store: Store;
  /** The blobs. */
  readonly blobs: SwitchingBlobs;
  /** The bucket of the control plane; `null` while it is in a file. */
  bucket: string | null;
  /** The second copy of the control plane; `null` where none is kept. */
  follower: Follower | null;
}
