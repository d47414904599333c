/**
 * A follower: loading a bucket, catching up, becoming a primary, how far it is behind, and what it costs
 * those who write.
 *
 * @module
 */

import { rm } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";
import { followStore, openJetStream } from "../../../src/follower/mod.ts";
import { openBucket } from "../../../src/jetstream/mod.ts";
import { userKey } from "../../../src/jetstream/records/keys.ts";
import { encodeUser } from "../../../src/jetstream/records/values.ts";
import { rawBucket } from "../../follower/kit.ts";
import { writeUsers } from "../../follower/fill.ts";
import { testCluster } from "../../helpers/nats.ts";
import { person } from "../../helpers/sqlite.ts";
import { median, timed } from "../measure.ts";
import { flipping, loading, type Place } from "../size/follower.ts";
import { type Row, whole } from "../table.ts";
import type { World } from "../world.ts";

/** Writes a second, and for how long, milliseconds. */
const PACE = 500;
const PACED_MS = 10_000;
/** Rounds of writing with and without a follower, their length, and writers at once. */
const ROUNDS = 5;
const ROUND_MS = 1500;
const WRITERS = 16;

/** Measures. */
export async function follower(world: World): Promise<Row[]> {
  const { report } = await world.moved(world.records);
  const records = Object.values(report.counts).reduce((a, b) => a + b);
  const nats = { servers: world.server.url, bucket: world.bucket(world.records) };
  const db = `${world.server.directory}/follower.db`;
  try {
    return [
      ...await loading(nats, db, records),
      ...await catchingUp(nats, db, Math.min(100_000, records)),
      ...await flipping(db),
      await cost(world),
      await lag(),
    ];
  } finally {
    await rm(db, { force: true });
  }
}

async function catchingUp(nats: Place, db: string, messages: number): Promise<Row[]> {
  await writeUsers(nats.servers, messages, nats.bucket);
  await using it = await followStore({ nats, db });
  const took = await timed(() => it.whenExact());
  return [{
    what: `catching up with ${whole(messages)} messages`,
    found: `${whole(messages / took * 1000)} messages/s`,
  }];
}

/** Writes a second with a follower beside the store, against without, turn by turn. */
async function cost(world: World): Promise<Row> {
  const rates: Record<"with" | "without", number[]> = { with: [], without: [] };
  const nats = { servers: world.server.url, bucket: "followed" };
  const db = `${world.server.directory}/cost.db`;
  let written = 0;
  for (let round = 0; round < 2 * ROUNDS; round++) {
    const isWith = round % 2 === 0;
    await using store = await openJetStream(isWith ? { ...nats, follower: db } : nats);
    const end = performance.now() + ROUND_MS;
    let count = 0;
    await Promise.all(Array.from({ length: WRITERS }, async () => {
      for (; performance.now() < end; count++) await store.addUser(person(`cost ${written++}`));
    }));
    rates[isWith ? "with" : "without"].push(count / ROUND_MS * 1000);
  }
  const [one, other] = [rates.with, rates.without].map((it) => median(it.sort((a, b) => a - b)));
  return {
    what: `writes by ${WRITERS} clients with a follower beside them`,
    found: `${whole(one!)}/s`,
    baseline: `without ${whole(other!)}/s`,
    ratio: one! / other!,
    goal: { least: 0.95 },
  };
}

/** How long after its acknowledgement a write is in the file, on three nodes. */
async function lag(): Promise<Row> {
  await using cluster = await testCluster(3, { jetstream: { syncAlways: true } });
  const nats = { servers: cluster.urls[0]!, replicas: 3 };
  const { end } = await openBucket(nats);
  await end();
  const db = `${cluster.servers[0]!.directory}/lag.db`;
  await using it = await followStore({ nats, db });
  await it.whenExact();
  await using raw = await rawBucket(cluster.urls[1]!);
  const times: number[] = [];
  const writes: Promise<unknown>[] = [];
  const createdAt = new Date().toISOString();
  const began = performance.now();
  for (let i = 0; i < PACE * PACED_MS / 1000; i++) {
    const user = { ...person(`lag ${i % 1000}`), createdAt, revokedAt: null };
    const value = encodeUser({ ...user, role: "user", status: "active" });
    writes.push((async () => {
      const sequence = await raw.put(userKey(user.signPub), value);
      const acknowledged = performance.now();
      await it.whenExact(sequence);
      times.push(performance.now() - acknowledged);
    })());
    const late = performance.now() - began - i * 1000 / PACE;
    if (late < 0) await wait(-late);
  }
  await Promise.all(writes);
  times.sort((a, b) => a - b);
  const at = (part: number) => times[Math.floor((times.length - 1) * part)]!;
  return {
    what: `lag under ${PACE} writes/s on three nodes`,
    found: `p50 ${whole(at(0.5))} ms, p99 ${whole(at(0.99))} ms`,
  };
}
