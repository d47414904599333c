/**
 * A control plane to be flooded, in a process of its own: `overload_child.ts '{"store": …}'` prints its
 * port when it listens.
 *
 * @module
 */

import { createControlPlane, serve } from "../../../src/http/mod.ts";
import { openJetStream } from "../../../src/jetstream/mod.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import type { Store } from "../../../src/core/store.ts";
import { flooder } from "./flood.ts";

/** Where its store is, and how it listens. */
export interface Plane {
  store: { db: string } | { nats: string };
  hardened: boolean;
  /** Whether it refuses what is too much. */
  sheds: boolean;
}

const { store: where, hardened, sheds } = JSON.parse(Deno.args[0]!) as Plane;
await using store = await open();

function open(): Promise<Store> | Store {
  return "db" in where ? openSqlite(where.db) : openJetStream({ servers: where.nats });
}

const { signPub, kexPub } = flooder();
if (!await store.hasAdmin()) {
  await store.addUser({ signPub, kexPub, handle: "flooder", role: "admin" });
}
const bounds = sheds ? {} : { maxInFlight: Infinity, maxDelay: Infinity };
await using server = await serve(createControlPlane(store, bounds), {
  hardened,
  maxConnectionsPerAddress: 10_000,
});
console.log(server.port);
// Until it is killed.
await new Promise(() => {});
