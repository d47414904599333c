/**
 * `createRoom` with an owner, a member and their sealed keys: seven entries, one batch.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { entriesOf } from "../../src/jetstream/records/values.ts";
import type { StoreRecord } from "../../src/core/model.ts";
import { testCluster } from "../helpers/nats.ts";
import { bareBucket, bareConnection, batchBucket, type Pair, putBatch } from "./bare.ts";
import { alternate, median, type Times } from "./measure.ts";
import type { Row } from "./table.ts";
import type { World } from "./world.ts";

const ROUNDS = 300;

const key = () => randomBytes(32).toString("hex");

let made = 0;
function newRoom() {
  const people = [{ endpoint: key(), kexPub: key() }, { endpoint: key(), kexPub: key() }];
  const id = `bench-${++made}`;
  return {
    id,
    subject: `bench.${id}`,
    owner: people[0]!,
    members: people.slice(1),
    sealedKeys: people.map(({ endpoint }) => ({ endpoint, sealedKey: randomBytes(80) })),
  };
}

/** The entries that `createRoom` writes for the room. */
function pairsOf({ id, subject, owner, members, sealedKeys }: ReturnType<typeof newRoom>): Pair[] {
  const at = new Date().toISOString();
  const all: StoreRecord[] = [
    {
      kind: "rooms",
      record: { id, subject, encrypted: true, owner: owner.endpoint, epoch: 1, createdAt: at },
    },
    ...[owner, ...members].map(({ endpoint, kexPub }): StoreRecord => ({
      kind: "members",
      record: {
        roomId: id,
        endpoint,
        role: endpoint === owner.endpoint ? "owner" : "member",
        signPub: endpoint,
        kexPub,
        joinedAt: at,
        accepted: true,
      },
    })),
    ...sealedKeys.map((it): StoreRecord => ({
      kind: "room_keys",
      record: { roomId: id, epoch: 1, createdAt: at, ...it },
    })),
  ];
  return all.flatMap(entriesOf);
}

/** Times of createRoom, a bare batch of the same and one put, turn by turn. */
async function measure(servers: string | string[], replicas: number): Promise<Times[]> {
  const nc = await bareConnection(servers);
  try {
    await using store = await openJetStream({ servers, bucket: "create_room", replicas });
    await batchBucket(nc, "create_room_bare", replicas);
    const kv = await bareBucket(nc, "create_room_puts", replicas);
    return await alternate(ROUNDS, [
      () => store.createRoom(newRoom()),
      () => putBatch(nc, "create_room_bare", pairsOf(newRoom())),
      () => kv.put(`rooms.bench-${++made}`, pairsOf(newRoom())[0]![1]),
    ]);
  } finally {
    await nc.close();
  }
}

function rows(where: string, times: Times[], goal: "batch" | "put"): Row[] {
  const [create, batch, put] = times.map(median) as [number, number, number];
  const found = `${create.toFixed(2)} ms`;
  return [
    {
      what: `createRoom, 7 entries, ${where}`,
      found,
      baseline: `bare atomic batch ${batch.toFixed(2)} ms`,
      ratio: create / batch,
      ...(goal === "batch" ? { goal: { most: 1.3 } } : {}),
    },
    {
      what: "  the same against one put",
      found,
      baseline: `kv.put ${put.toFixed(2)} ms`,
      ratio: create / put,
      ...(goal === "put" ? { goal: { most: 2 } } : {}),
    },
  ];
}

/** Measures `createRoom` on one server and on three. */
export async function createRoom(world: World): Promise<Row[]> {
  const single = await measure(world.server.url, 1);
  await using cluster = await testCluster(3, { jetstream: { syncAlways: true } });
  const three = await measure(cluster.urls, 3);
  return [...rows("one server", single, "batch"), ...rows("three servers", three, "put")];
}
