/**
 * Every route of the control plane.
 *
 * @module
 */

import { ACTIVITY, OPERATIONS, ROSTERS } from "./admin/routes.ts";
import { BLOBS } from "./routes/blobs.ts";
import { KEYS, ROOMS } from "./routes/rooms.ts";
import type { Route } from "./pipeline/route.ts";
import { SNAPSHOT } from "./routes/snapshot.ts";
import { INVITES, ME, USERS } from "./routes/users.ts";

/** Every route under `/v1`, in the order of the documentation. */
export const ROUTES: readonly Route[] = [
  ...ME,
  ...ROOMS,
  ...KEYS,
  ...ROSTERS,
  ...USERS,
  ...ACTIVITY,
  ...INVITES,
  ...BLOBS,
  ...OPERATIONS,
  ...SNAPSHOT,
];
