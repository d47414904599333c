/**
 * `isAuthorized`: from the cache of the JetStream backend, and from SQLite.
 *
 * @module
 */

import { Kvm } from "@nats-io/kv";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import type { Store } from "../../src/core/store.ts";
import { bareConnection } from "./bare.ts";
import { rate } from "./measure.ts";
import { type Row, whole } from "./table.ts";
import type { World } from "./world.ts";

const MS = 1500;
const WARM_UP = 60_000;

async function users(store: Store): Promise<string[]> {
  const { items } = await store.listUsers({ limit: 10_000 });
  return items.filter((it) => it.status === "active").map((it) => it.signPub);
}

/**
 * Milliseconds until the first yes, which the leader gives, and until the answers come from memory:
 * the cache of the JetStream backend has to fill.
 */
async function warmUp(store: Store, key: string): Promise<{ first: number; warm: number }> {
  const began = performance.now();
  let first: number | null = null;
  for (;;) {
    const asked = performance.now();
    for (let i = 0; i < 100; i++) {
      const yes = await store.isAuthorized(key);
      if (yes) first ??= performance.now() - began;
      if (!yes || performance.now() - asked > 5) break;
    }
    const now = performance.now();
    if (first !== null && now - asked <= 5) return { first, warm: now - began };
    if (now - began > WARM_UP) throw new Error("The answers do not come from memory");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function authorized(store: Store, keys: string[]): Promise<number> {
  let no = 0;
  const found = await rate(MS, async (i) => {
    if (!await store.isAuthorized(keys[i % keys.length]!)) no++;
  });
  if (no > 0) throw new Error(`Active users were not authorized: ${no} times`);
  return found;
}

/** Measures `isAuthorized`. */
export async function authorize(world: World): Promise<Row[]> {
  const { records } = world;
  await world.moved(records);
  const bucket = world.bucket(records);
  const nc = await bareConnection(world.server.url);
  try {
    await using jetstream = await openJetStream({ servers: world.server.url, bucket });
    await using sqlite = openSqlite(world.file(records));
    const keys = await users(sqlite);
    const kv = await new Kvm(nc).open(bucket);
    const gets = await rate(MS, (i) => kv.get(`users.${keys[i % keys.length]!}`));
    const cold = await warmUp(jetstream, keys[0]!);
    const cached = await authorized(jetstream, keys);
    const file = await authorized(sqlite, keys);
    const row = (what: string, found: number, least: number): Row[] => [
      {
        what: `isAuthorized, ${what}`,
        found: `${whole(found)}/s`,
        ratio: found,
        goal: { least, unit: "/s" },
      },
      {
        what: "  the same against kv.get",
        found: `${whole(found)}/s`,
        baseline: `kv.get ${whole(gets)}/s`,
        ratio: found / gets,
      },
    ];
    const warm: Row = {
      what: `isAuthorized, JetStream, the first answer (${whole(records)} records)`,
      found: `${(cold.first / 1000).toFixed(2)} s, from memory after ${
        (cold.warm / 1000).toFixed(2)
      } s`,
    };
    return [warm, ...row("JetStream", cached, 500_000), ...row("SQLite", file, 200_000)];
  } finally {
    await nc.close();
  }
}
