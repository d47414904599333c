/**
 * Three nodes with 10,000 users and 100,000 members: cold start, warming the cache, memory, failover.
 *
 * @module
 */

import { execFile } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { StoreRecord } from "../../../src/core/model.ts";
import { compareRecords } from "../../../src/core/order.ts";
import type { StreamInfo } from "@nats-io/jetstream";
import { isCurrentReplica } from "../../../src/jetstream/log/stream.ts";
import { ready, type TestNodes, testNodes } from "../../cluster/kit.ts";
import { until } from "../../cli/serve/kit.ts";
import { Random } from "../../tools/random.ts";
import { gapRows, told } from "./failover.ts";
import { bare, doctor, type Gaps, gapsWhen, startAgain } from "./gaps.ts";
import { median, timed } from "../measure.ts";
import { type Row, whole } from "../table.ts";
import type { World } from "../world.ts";

const USERS = 10_000;
const USERS_A_ROOM = 5;
const MEMBERS = 50;
/** Records of the whole: users, rooms, members, and a sealed key for each of these. */
const RECORDS = USERS + USERS / USERS_A_ROOM * (1 + 2 * MEMBERS);
const ROUNDS = Number(process.env.UNIBUS_FAILOVER_ROUNDS ?? 3);
const CHILD = fileURLToPath(new URL("./child.ts", import.meta.url));

/** Measures; smaller where fewer records are asked for. */
export async function clusterScale({ records }: World): Promise<Row[]> {
  const users = Math.max(MEMBERS, Math.round(USERS * Math.min(1, records / RECORDS)));
  await using place = await testNodes(3);
  await Promise.all(place.nodes.map(startAgain));
  const all = recordsOf(users);
  const user = all.findLast((it) => it.kind === "users")!.record;
  const members = all.filter((it) => it.kind === "members").length;
  const filling = await timed(async () => {
    await using store = await place.open(place.nodes);
    await store.restore(all);
  });
  const size = `${whole(users)} users, ${whole(members)} members`;
  console.error(`  ${size}: restored in ${whole(filling)} ms`);

  const cold: Cold[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await Promise.all(place.nodes.map((it) => it.stop("SIGTERM")));
    cold.push(await coldStart(place, (user as { signPub: string }).signPub));
    console.error(`  cold start: ${JSON.stringify(cold.at(-1))}`);
  }
  const rows = coldRows(size, cold);
  for (const going of ["follower killed", "leader killed"] as const) {
    const gaps: Gaps[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      gaps.push(await gapsWhen(place, going));
      console.error(`  ${going}: ${told(gaps.at(-1)!)}`);
    }
    rows.push(...gapRows(going, gaps).map((it) => ({ ...it, what: `${size}: ${it.what}` })));
  }
  await doctor(place);
  return rows;
}

/** Everything in canonical order: rooms of {@link MEMBERS} with a key for each. */
function recordsOf(count: number): StoreRecord[] {
  const random = new Random("cluster");
  const at = "2026-01-02T03:04:05.006Z";
  const people = Array.from({ length: count }, () => random.hex(32)).sort();
  const rooms = Array.from({ length: Math.max(1, Math.round(count / USERS_A_ROOM)) }, (_, i) => ({
    id: `room-${String(i).padStart(6, "0")}`,
    members: random.distinct(MEMBERS, people.length).map((it) => people[it]!).sort(),
  }));
  const records: StoreRecord[] = [];
  for (const { id, members } of rooms) {
    const owner = members[0]!;
    const subject = `bus.${id}`;
    const room = { id, subject, encrypted: true, owner, epoch: 1, createdAt: at };
    records.push({ kind: "rooms", record: room });
    for (const endpoint of members) {
      const role = endpoint === owner ? "owner" as const : "member" as const;
      const them = { signPub: endpoint, kexPub: endpoint };
      const record = { roomId: id, endpoint, role, ...them, joinedAt: at, accepted: true };
      records.push({ kind: "members", record });
    }
    for (const endpoint of members) {
      const record = { roomId: id, epoch: 1, endpoint, sealedKey: random.bytes(80), createdAt: at };
      records.push({ kind: "room_keys", record });
    }
  }
  for (const [i, signPub] of people.entries()) {
    const role = i === 0 ? "admin" as const : "user" as const;
    const state = { status: "active" as const, createdAt: at, revokedAt: null };
    const record = { signPub, kexPub: signPub, handle: `user ${i}`, role, ...state };
    records.push({ kind: "users", record });
  }
  return records.sort(compareRecords);
}

/** What a cold start took, milliseconds from the start of the three processes. */
interface Cold {
  /** Until a bare connection heard of a leader with a current majority. */
  bare: number;
  /** Until a store was open. */
  open: number;
  /** Until every node said that it is ready. */
  ready: number;
  /** From open until the store first said yes. */
  yes: number;
  /** From open until its cache was warm. */
  warm: number;
  /** The same when the cluster is at rest and nobody else loads. */
  alone: number;
  /** Memory of that process, MB, and how much of it came with the store. */
  rss: number;
  more: number;
}

async function coldStart(place: TestNodes, user: string): Promise<Cold> {
  const { nodes } = place;
  const began = Date.now();
  const since = () => Date.now() - began;
  const started = nodes.map(startAgain);
  const [led, allReady, [start, open, yes, warm]] = await Promise.all([
    leading(place).then(since),
    Promise.all(started).then(() => Promise.all(nodes.map((it) => ready(it, 120_000)))).then(since),
    client(place, user),
  ]);
  const [, later, , alone] = await client(place, user);
  return {
    bare: led,
    open: open.at - began,
    ready: allReady,
    yes: yes.at - open.at,
    warm: warm.at - open.at,
    alone: alone.at - later.at,
    rss: warm.rss / 1e6,
    more: (warm.rss - start.rss) / 1e6,
  };
}

/** Runs a process that opens the store and asks: its start, open, first yes, warm. */
async function client(place: TestNodes, user: string): Promise<[Said, Said, Said, Said]> {
  const servers = place.nodes.map((it) => it.nats).join(",");
  const args = ["run", "-A", "--no-check", CHILD, servers, place.keysPath, user];
  const { stdout } = await promisify(execFile)(Deno.execPath(), args);
  return stdout.trim().split("\n").map((it) => JSON.parse(it)) as [Said, Said, Said, Said];
}

interface Said {
  at: number;
  rss: number;
}

/** Waits until the stream has a leader that follows somebody's word. */
async function leading(place: TestNodes): Promise<void> {
  let nc: Awaited<ReturnType<typeof bare>> | undefined;
  await until(
    async () => {
      try {
        nc ??= await bare(place.nodes, place);
        const answer = await nc.request("$JS.API.STREAM.INFO.KV_UNIBUS", "", { timeout: 250 });
        const { cluster } = answer.json<StreamInfo>();
        return Boolean(cluster?.leader) && (cluster!.replicas ?? []).some(isCurrentReplica);
      } catch {
        return false;
      }
    },
    "a leader",
    120_000,
  ).finally(() => nc?.close());
}

function coldRows(size: string, cold: Cold[]): Row[] {
  const of = (pick: (it: Cold) => number) => cold.map(pick).sort((a, b) => a - b);
  const text = (times: number[], unit = "ms") =>
    `${whole(median(times))} ${unit}, most ${whole(times.at(-1)!)} ${unit}`;
  const open = of((it) => it.open);
  const led = of((it) => it.bare);
  return [
    {
      what: `${size}: cold start of three until a store opens`,
      found: text(open),
      baseline: `the stream has a leader: ${text(led)}`,
      ratio: median(open) / median(led),
    },
    { what: `${size}: until /readyz of all three`, found: text(of((it) => it.ready)) },
    { what: `${size}: open to the first yes of isAuthorized`, found: text(of((it) => it.yes)) },
    {
      what: `${size}: open to a warm cache, all four at once`,
      found: text(of((it) => it.warm)),
      baseline: `one alone, later: ${text(of((it) => it.alone))}`,
      ratio: median(of((it) => it.warm)) / median(of((it) => it.alone)),
    },
    {
      what: `${size}: memory of a client, warm`,
      found: text(of((it) => it.rss), "MB"),
      baseline: `more than before it opened: ${text(of((it) => it.more), "MB")}`,
    },
  ];
}
