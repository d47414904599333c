/**
 * Both kinds of primitives, each with an identity's keys: every test of sealing runs with both.
 *
 * @module
 */

import { type Identity, secretsOf } from "../../src/keys/identity.ts";
import type { Primitives, RoomKeys } from "../../src/sealing/primitives.ts";
import { nodePrimitives, roomKeysOf } from "../../src/sealing/primitives_node.ts";
import { webPrimitives, webRoomKeys } from "../../src/sealing/primitives_web.ts";
import { keysOf } from "../../src/web/shared/keys.ts";

/** Primitives, and the keys of an identity that go with them. */
export interface Parts {
  name: string;
  primitives: Primitives;
  keysOf(identity: Identity): Promise<RoomKeys>;
}

/** Those of Deno and Node. */
export const NODE: Parts = {
  name: "node:crypto",
  primitives: nodePrimitives,
  keysOf: (identity) => Promise.resolve(roomKeysOf(identity)),
};

/** Those of browsers. */
export const WEB: Parts = {
  name: "Web Crypto",
  primitives: webPrimitives,
  keysOf: async (identity) => webRoomKeys(await keysOf(secretsOf(identity))),
};

/** Adds a test that runs with each of them. */
export function withBoth(name: string, work: (parts: Parts) => Promise<void>): void {
  for (const parts of [NODE, WEB]) Deno.test(`${name} (${parts.name})`, () => work(parts));
}
