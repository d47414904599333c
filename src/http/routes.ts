/**
 * Every route of the control plane.
 *
 * @module
 */

import { ACTIVITY, OPERATIONS, ROSTERS } from "./admin/routes.ts";
import { BLOBS } from "./routes/blobs.ts";
import { KEYS, ROOMS } from "./routes/rooms.ts";
import type { Route, RouteGroup } from "./pipeline/route.ts";
import { SNAPSHOT } from "./routes/snapshot.ts";
import { INVITES, ME, USERS } from "./routes/users.ts";

/** Every route under `/v1`, in the order of the documentation. */
export const GROUPS: readonly RouteGroup[] = [
  { id: "joining", title: "Joining", routes: ME },
  { id: "rooms", title: "Rooms", routes: ROOMS },
  { id: "keys", title: "Room keys", routes: [...KEYS, ...ROSTERS] },
  { id: "users", title: "Users", routes: [...USERS, ...ACTIVITY] },
  { id: "invites", title: "Invites", routes: INVITES },
  { id: "blobs", title: "Blobs", routes: BLOBS },
  { id: "operations", title: "Operations", routes: [...OPERATIONS, ...SNAPSHOT] },
];

/** Every route. */
export const ROUTES: readonly Route[] = GROUPS.flatMap((it) => it.routes);
