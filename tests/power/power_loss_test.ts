/**
 * What was acknowledged survives the loss of everything not yet synced. The programs run under strace;
 * the trace tells what was synced when an acknowledgement left, and lets a disk that forgets be made
 * for any moment.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomOf } from "../faults/crash/plan.ts";
import { Disk } from "./disk.ts";
import {
  losePower,
  pubAcks,
  recordCommand,
  type Recorded,
  recordNats,
  recordSqlite,
  reopenNats,
  reopenSqlite,
  sequencesIn,
} from "./recorded.ts";
import { whyNoStrace } from "./trace.ts";
import { testServer } from "../helpers/nats.ts";
import { inDir } from "../helpers/sqlite.ts";
import { toolTest } from "../helpers/tools.ts";
import { writeDataset } from "../tools/dataset.ts";
import { CLUSTER, LONG } from "../cluster/kit.ts";

const why = await whyNoStrace();
const seed = Number(Deno.env.get("UNIBUS_POWER_SEED") ?? Math.floor(Math.random() * 2 ** 31));

function test(name: string, body: (dir: string) => Promise<void>, asked = true): void {
  const left = asked ? why : "only in the long form";
  toolTest({ name, tools: ["strace"], why: left, fn: () => inDir(body) });
}

/** Acknowledgements that left before what they acknowledge was synced, by the thread that wrote it. */
function unsyncedSqlite({ disks: [disk], marks }: Recorded): string[] {
  const { root, events } = disk!;
  // Only POSIX's word: a file's name is kept by a sync of its directory.
  const spinning = new Disk(root, events);
  return marks.filter((it) => it.kind === "a").flatMap(({ moment, thread, worker, place }) => {
    spinning.advance(moment);
    // Shared memory is made anew. A removed journal that comes back is an ended one: emptied before. A
    // checkpoint that another process cuts short does not sync the file itself: its log has the pages
    // until a whole one has. The losses of power show that nothing is gone then.
    const counts = (path: string) =>
      !path.endsWith("-shm") && !path.endsWith(".db") && !path.startsWith("remove ");
    return spinning.unsynced(counts, thread).map((it) => `${worker}.${place}: ${it}`);
  });
}

/** The same of a nats-server, by the messages of each acknowledgement. */
function unsyncedNats({ disks, lines }: Recorded & { lines: Recorded["disks"][0]["events"] }): {
  acks: number;
  unsynced: number[];
} {
  const spinning = new Disk(disks[0]!.root, lines, { journal: true });
  const acks = pubAcks(lines, "KV_UNIBUS");
  const unsynced = acks.flatMap(({ moment, from, to }) => {
    spinning.advance(moment);
    const blocks = /\/KV_UNIBUS\/msgs\/\d+\.blk$/;
    return spinning.pending((path) => blocks.test(path))
      .flatMap(({ data }) => sequencesIn(data))
      .filter((sequence) => sequence >= from && sequence <= to);
  });
  return { acks: acks.length, unsynced };
}

test("sqlite: what three processes wrote is synced before each call returns, and survives any loss", async (dir) => {
  const recorded = await recordSqlite(dir, { workers: 3, length: LONG ? 300 : 60 });
  assert.deepEqual(unsyncedSqlite(recorded), []);
  const { syncs } = counted(recorded);
  assert.ok(syncs >= recorded.marks.filter((it) => it.kind === "a").length, `${syncs} syncs`);
  const heard = await losePower(dir, recorded, {
    moments: LONG ? 500 : 40,
    random: randomOf(seed),
    fromStart: true,
    reopen: reopenSqlite,
  });
  console.log(`sqlite, seed ${seed}: ${heard} acknowledgements found again`);
});

test("sqlite told not to sync is caught", async (dir) => {
  const recorded = await recordSqlite(dir, { workers: 1, length: 30 }, true);
  assert.equal(new Set(unsyncedSqlite(recorded).map((it) => it.split(":")[0])).size, 30);
  const random = randomOf(seed);
  const losing = losePower(dir, recorded, { moments: 5, random, reopen: reopenSqlite });
  await assert.rejects(losing, /had heard of|No /);
});

test("nats-server: messages are synced before they are acknowledged, and survive any loss", async (dir) => {
  const recorded = await recordNats(dir, { workers: 4, length: LONG ? 200 : 40 });
  const { acks, unsynced } = unsyncedNats(recorded);
  assert.ok(acks >= recorded.marks.filter((it) => it.kind === "a").length, `${acks} were seen`);
  assert.deepEqual(unsynced, []);
  const heard = await losePower(dir, recorded, {
    moments: LONG ? 100 : 5,
    random: randomOf(seed),
    journal: true,
    reopen: reopenNats,
  });
  console.log(`nats-server, seed ${seed}: ${heard} acknowledgements found again`);
});

test("nats-server without sync_interval: always is caught", async (dir) => {
  const recorded = await recordNats(dir, { workers: 2, length: 20 }, { syncAlways: false });
  const { acks, unsynced } = unsyncedNats(recorded);
  assert.ok(acks > 0 && unsynced.length >= acks, `${unsynced.length} of ${acks}`);
  const random = randomOf(seed);
  const options = { moments: 3, random, journal: true, reopen: reopenNats };
  await assert.rejects(losePower(dir, recorded, options), /had heard of|No /);
});

test("three nodes that lose power at one moment keep what they acknowledged", async (dir) => {
  // The long form lasts until the servers have thrown away old parts of their Raft logs.
  const work = LONG ? { workers: 4, length: 100, pause: 3000 } : { workers: 4, length: 40 };
  const recorded = await recordNats(dir, work, { nodes: 3 });
  const heard = await losePower(dir, recorded, {
    moments: LONG ? 20 : 3,
    random: randomOf(seed),
    journal: true,
    reopen: reopenNats,
  });
  console.log(`three nodes, seed ${seed}: ${heard} acknowledgements found again`);
}, CLUSTER);

test("the files of a move and of a snapshot are whole and stay when they are reported", async (dir) => {
  await using server = await testServer();
  const db = `${dir}/unibus.db`;
  writeDataset(db, { records: 2000 });
  const nats = ["--nats-url", server.url];
  const commands: [file: string, args: (path: string) => string[]][] = [
    ["backup.db", (path) => ["migrate-to-kv", "--db", db, "--backup", path, ...nats]],
    ["back.db", (path) => ["migrate-to-sqlite", "--db", path, ...nats]],
    ["all.ndjson", (path) => ["snapshot", "export", path, ...nats]],
  ];
  const random = randomOf(seed);
  for (const [file, args] of commands) {
    const root = `${dir}/disk-${file}`;
    const path = `${root}/${file}`;
    const { disks: [disk] } = await recordCommand(dir, root, args(path));
    const { events } = disk!;
    const real = Deno.readFileSync(path);
    const reported = events.findLast((it) => it.kind === "say" && it.to.startsWith("1<"))!.begin;
    const image = new Disk(root, events).lose(reported, "nothing");
    assert.ok(image.has(path), `${file} is there`);
    assert.ok(Buffer.compare(image.get(path)!, real) === 0, `${file} is whole`);
    const unsynced = new Disk(root, events.filter((it) => it.kind !== "sync"));
    assert.ok(!unsynced.lose(reported, "nothing").has(path), `${file} is there without a sync`);
    // At any moment before, there is no such file or it is whole.
    if (file === "backup.db") continue;
    const moments = Array.from({ length: 40 }, () => random() * reported).sort((a, b) => a - b);
    const spinning = new Disk(root, events);
    for (const moment of moments) {
      const found = spinning.lose(moment, { random }).get(path);
      assert.ok(found === undefined || Buffer.compare(found!, real) === 0, `${file} at ${moment}`);
    }
  }
});

/** How many syncs there were. */
function counted({ disks: [disk] }: Recorded): { syncs: number } {
  const spinning = new Disk(disk!.root, disk!.events);
  spinning.advance(Infinity);
  return { syncs: spinning.syncs };
}
