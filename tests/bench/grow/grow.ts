/**
 * A control plane that grows from one file to three nodes and shrinks back while it serves: what
 * clients notice of it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { openDiskBlobs } from "../../../src/blobs/mod.ts";
import { createClient, createIdentity, type Identity } from "../../../src/client/mod.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { documentOf } from "../../cli/kit.ts";
import { busClients } from "../../cluster/grow/kit.ts";
import { differences, rawBucket, rawConnect, rawFile } from "../../faults/journey/raw.ts";
import { openPlace, type Phase, phasesOf, ready } from "../../faults/journey/place.ts";
import { enrol, newPeer, openRoom, type Peer } from "../../nats/callout/bus.ts";
import { writeDataset } from "../../tools/dataset.ts";
import { Random } from "../../tools/random.ts";
import { type Row, whole } from "../table.ts";
import { type Figures, Load, type Rates } from "./load.ts";

/** What is moved, and under which load. */
interface Size extends Rates {
  records: number;
  /** Number of blobs of 1 MB. */
  blobs: number;
  /** Clients on the bus. */
  clients: number;
  /** Seconds of the load before each move, to compare with. */
  before: number;
}

const MB = 1024 * 1024;
const BIG = 200_000;
/** Milliseconds between two lines about how far it is. */
const TELL_MS = 10_000;

function sizeOf(records: number): Size {
  return records >= BIG
    ? { records, blobs: 2048, writes: 200, reads: 500, clients: 200, before: 20 }
    : { records, blobs: 64, writes: 100, reads: 250, clients: 30, before: 10 };
}

/** Grows and shrinks once. */
export async function grow(records: number): Promise<Row[]> {
  const size = sizeOf(records);
  const dir = await mkdtemp(join(tmpdir(), "unibus-bench-grow-"));
  try {
    return await run(dir, size);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function run(dir: string, size: Size): Promise<Row[]> {
  await using stack = new AsyncDisposableStack();
  const { people, blobs } = await fill(`${dir}/n1`, size);
  const place = stack.use(await openPlace(dir));
  const [n1, n2, n3] = place.machines;
  const before = rawFile(n1.db);
  const clients = stack.use(await busClients([n1.nats], people, size.clients));
  const load = stack.use(new Load(n1.http, people.admin, size));
  const connection = await rawConnect([n1, n2, n3].map((it) => it.nats), place.keys);
  stack.defer(() => connection.close());
  const rows: Row[] = [];
  for (const direction of ["grow", "shrink"] as const) {
    load.start();
    await seconds(3);
    clients.seen.drops.fill(0);
    clients.seen.longest = 0;
    load.window();
    await seconds(size.before);
    const usual = load.window();
    const loads = loadavg();
    const began = performance.now();
    const args = direction === "grow" ? ["grow"] : ["shrink", "--keep", "n1"];
    const telling = setInterval(async () => {
      const { stdout } = await place.first.call(direction, "--status");
      console.error(`  ${stdout.trim().split("\n").slice(0, 3).join("; ")}`);
    }, TELL_MS);
    const result = await place.first.call(...args, "--json").finally(() => clearInterval(telling));
    assert.equal(result.code, 0, result.stdout + result.stderr);
    const took = (performance.now() - began) / 1000;
    if (direction === "grow") await Promise.all([ready(n2), ready(n3)]);
    else await seconds(2);
    const meanwhile = load.window();
    await load.stop();
    await clients.work();
    // The comparison keeps this process so busy that its clients would take the server for gone.
    const bus = { drops: Math.max(...clients.seen.drops), away: clients.seen.longest };
    const found = direction === "grow" ? await rawBucket(connection, "UNIBUS") : rawFile(n1.db);
    const wrong = [
      ...differences(found, before, load.written, load.unknown),
      ...await blobDifferences(direction === "grow" ? n3.http : n1.http, people.admin, blobs),
    ];
    for (const it of [...meanwhile.failures, ...usual.failures].slice(0, 10)) {
      console.error(`  ${direction}: ${it}`);
    }
    for (const it of wrong.slice(0, 10)) console.error(`  ${direction}: ${it}`);
    rows.push(...rowsOf(direction, size, {
      ...{ usual, meanwhile, took, wrong: wrong.length, compared: found.size },
      ...{ pause: documentOf(result).pause, phases: phasesOf(n1, direction) },
      ...bus,
      load: loads[0]!,
    }));
  }
  return rows;
}

/** Writes the file and the blobs of n1, and who uses them. */
async function fill(dir: string, { records, blobs: count }: Size) {
  await mkdir(dir, { mode: 0o700 });
  writeDataset(`${dir}/a.db`, { records, seed: "grow" });
  await using store = openSqlite(`${dir}/a.db`);
  const admin = createIdentity();
  const { signPub, kexPub } = admin;
  await store.addUser({ signPub, kexPub, handle: "admin", role: "admin" });
  const peer: Peer = await enrol(store, newPeer());
  await openRoom(store, "lobby", peer);
  const random = new Random("grow blobs");
  const blobs: string[] = [];
  const disk = await openDiskBlobs(`${dir}/blobs`);
  try {
    for (let i = 0; i < count; i++) {
      blobs.push((await disk.put(one(random.bytes(MB)), { maxBytes: MB })).id);
    }
  } finally {
    await disk.close();
  }
  return { people: { admin, peer }, blobs };
}

/** Blobs that are missing; a node checks the bytes that it hands out. */
async function blobDifferences(
  url: string,
  identity: Identity,
  blobs: string[],
): Promise<string[]> {
  using client = createClient({ url, identity });
  const wrong: string[] = [];
  for (const id of blobs) {
    try {
      const { body } = await client.getBlob(id);
      await body.pipeTo(new WritableStream());
    } catch (error) {
      wrong.push(`blob ${id}: ${(error as Error).message}`);
    }
  }
  return wrong;
}

interface Seen {
  usual: Figures;
  meanwhile: Figures;
  /** Seconds of the command. */
  took: number;
  /** Records and blobs that differ, of so many. */
  wrong: number;
  compared: number;
  /** How long writes waited at the switch by the server's own clock. */
  pause: number;
  phases: Phase[];
  /** How often a client of the bus was dropped at most, and for how long it was away. */
  drops: number;
  away: number;
  /** Load of the machine when it began. */
  load: number;
}

function rowsOf(direction: string, size: Size, it: Seen): Row[] {
  const { usual, meanwhile } = it;
  const perSecond = (kind: "writes" | "reads", of: Figures) => of[kind] / of.seconds;
  const rates = (of: Figures) =>
    `${whole(perSecond("writes", of))} writes/s, ${whole(perSecond("reads", of))} reads/s`;
  const at = (what: string) => `${direction}: ${what}`;
  const limit = (
    what: string,
    value: number,
    most: number,
    unit: string,
    baseline?: string,
  ): Row => ({
    what: at(what),
    found: `${whole(value)}${unit}`,
    ...baseline === undefined ? {} : { baseline },
    ratio: value,
    goal: { most, unit },
  });
  const failed = meanwhile.failures.length;
  return [
    {
      what: at(`${whole(size.records)} records, ${size.blobs} MB of blobs`),
      found: `${whole(it.took)} s (machine load ${whole(it.load)})`,
      baseline: it.phases.map(({ name, seconds }) => `${name} ${whole(seconds)} s`).join(", "),
    },
    limit(
      "longest time without an acknowledged write",
      meanwhile.pause,
      1000,
      " ms",
      `before: ${whole(usual.pause)} ms; ended in ${
        it.phases.findLast(({ from }) => from <= meanwhile.pausedUntil)?.name ?? "preflight"
      }`,
    ),
    {
      what: at("delay of a timer of the load itself"),
      found: `${whole(meanwhile.late)} ms`,
      baseline: `before: ${whole(usual.late)} ms`,
    },
    limit("writes waited at the switch", it.pause, 900, " ms"),
    limit(
      "slowest read",
      meanwhile.slowestRead,
      1000,
      " ms",
      `before: ${whole(usual.slowestRead)} ms`,
    ),
    limit(
      "calls failed after the client's retries",
      failed,
      0,
      "",
      `of ${whole(meanwhile.writes + meanwhile.reads + failed)}`,
    ),
    limit("reads among them", meanwhile.failedReads, 0, ""),
    limit("drops of a bus client", it.drops, 1, "", `${size.clients} clients`),
    limit("longest absence of a bus client", it.away, 3000, " ms"),
    {
      what: at("throughput meanwhile"),
      found: rates(meanwhile),
      baseline: `before: ${rates(usual)}`,
      ratio: (meanwhile.writes + meanwhile.reads) / meanwhile.seconds /
        ((usual.writes + usual.reads) / usual.seconds),
      goal: { least: 0.7 },
    },
    limit(
      "records and blobs that differ",
      it.wrong,
      0,
      "",
      `of ${whole(it.compared + size.blobs)}`,
    ),
  ];
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield bytes;
}

const seconds = (n: number) => new Promise((resolve) => setTimeout(resolve, 1000 * n));
