/**
 * The quickstart: builds a control plane of realistic size in an SQLite file, moves it to a real NATS
 * server, moves it again, and proves that nothing was lost. Leaves nothing behind.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import {
  type Counts,
  exportSnapshot,
  KINDS,
  migrateSqliteToKv,
  type MoveReport,
  openJetStream,
  openSqlite,
  type SnapshotSummary,
  type Store,
  type StoreRecord,
  verifySnapshot,
} from "@unibus/membership";
import type { Io } from "../cli/terminal/io.ts";
import { Progress } from "../cli/terminal/progress.ts";
import { ensureNatsServer } from "../src/nats/server/binary.ts";
import { startNatsServer } from "../src/nats/server/server.ts";
import { writeDataset } from "../tests/tools/dataset.ts";

/** Enough for 10,000 records of every kind. */
const SIZE = { rooms: 10_000, users: 12_000, invites: 10_000 };
const LEAST = 10_000;

const seconds = (ms: number) => (ms / 1000).toFixed(1) + " s";
const number = (it: number) => Math.round(it).toLocaleString("en-US");
const listed = (counts: Counts) =>
  KINDS.map((kind) => `${number(counts[kind])} ${kind}`).join(", ");
const sum = (counts: Counts) => KINDS.reduce((all, kind) => all + counts[kind], 0);

let step = 0;
function say(title: string): void {
  console.log(`\n${++step}. ${title}`);
}
function tell(text: string): void {
  console.log(`   ${text}`);
}

/** Counts what makes the data a fair trial: epochs, people who lost access, invites in every state. */
async function survey(records: AsyncIterable<StoreRecord>): Promise<Record<string, number>> {
  const now = Date.now();
  const found = { "rooms rekeyed": 0, "revoked users": 0, "used invites": 0, "expired invites": 0 };
  for await (const it of records) {
    if (it.kind === "rooms" && it.record.epoch > 1) found["rooms rekeyed"]++;
    else if (it.kind === "users" && it.record.status === "revoked") found["revoked users"]++;
    else if (it.kind === "invites") {
      if (it.record.usedAt !== null) found["used invites"]++;
      else if (it.record.canceledAt === null && !(Date.parse(it.record.expiresAt) > now)) {
        found["expired invites"]++;
      }
    }
  }
  return found;
}

async function save(store: Store, path: string, signal: AbortSignal): Promise<SnapshotSummary> {
  // The history of the bucket also has the move itself.
  const stream = exportSnapshot(store, { history: false, signal });
  await pipeline(
    Readable.fromWeb(stream as Parameters<typeof Readable.fromWeb>[0]),
    createWriteStream(path),
  );
  return await verifySnapshot(createReadStream(path));
}

const stderr: Io["stderr"] = {
  write: (data) => void process.stderr.write(data),
  isTTY: process.stderr.isTTY === true,
  columns: process.stderr.columns,
};

async function move(db: string, servers: string, signal: AbortSignal): Promise<MoveReport> {
  using progress = new Progress({ stderr } as Io, { progress: "auto" });
  return await migrateSqliteToKv({ db, nats: { servers }, onProgress: progress.show, signal });
}

async function run(directory: string, signal: AbortSignal): Promise<void> {
  const db = join(directory, "unibus.db");

  say("Find a nats-server, or get one");
  const binary = await ensureNatsServer({ log: (line) => console.error(`   ${line}`), signal });
  tell(`nats-server ${binary.version} (${binary.source}): ${binary.path}`);

  say("Build a control plane in an SQLite file");
  let began = performance.now();
  const counts = writeDataset(db, SIZE);
  tell(`${number(sum(counts))} records: ${listed(counts)}`);
  for (const kind of KINDS) {
    assert(counts[kind] >= LEAST, `At least ${LEAST} ${kind} were promised`);
  }
  tell(`${db}, ${number((await stat(db)).size / 1e6)} MB, ${seconds(performance.now() - began)}`);
  signal.throwIfAborted();
  const sqlite = join(directory, "sqlite.ndjson");
  let before: SnapshotSummary;
  {
    await using store = openSqlite(db, { create: false });
    const found = await survey(store.records({ signal }));
    tell(Object.entries(found).map(([what, n]) => `${number(n)} ${what}`).join(", "));
    for (const [what, n] of Object.entries(found)) assert(n > 0, `Some ${what} were promised`);
    before = await save(store, sqlite, signal);
  }

  say("Start NATS");
  await using server = await startNatsServer({
    binary: binary.path,
    jetstream: { storeDir: join(directory, "jetstream"), syncAlways: true },
    signal,
  });
  tell(`${server.url}, every write synced to disk before it is acknowledged`);

  say("Move SQLite to JetStream: back up, copy, read back record by record");
  const first = await move(db, server.url, signal);
  assert.deepEqual(first.counts, counts, "The move must bring every record");
  assert(first.backup !== null, "The move must make a backup");
  tell(`${number(sum(first.counts))} records, ${number(first.written)} entries written`);
  tell(
    `${seconds(first.seconds.total * 1000)}: backup ${first.seconds.backup.toFixed(1)}, ` +
      `copy ${first.seconds.copy.toFixed(1)}, verify ${first.seconds.verify.toFixed(1)}; ` +
      `${number(sum(first.counts) / first.seconds.total)} records/s`,
  );
  tell(`backup ${first.backup}`);

  say("Move again: nothing may change");
  const again = await move(db, server.url, signal);
  assert.equal(again.target, "repeated");
  assert.equal(again.written + again.removed, 0, "The second move must change nothing");
  assert.deepEqual(again.digests, first.digests, "The digests must be as after the first move");
  tell(`0 entries written, 0 removed, ${seconds(again.seconds.total * 1000)}`);

  say("Export both sides and compare");
  const jetstream = join(directory, "jetstream.ndjson");
  began = performance.now();
  let after: SnapshotSummary;
  {
    await using store = await openJetStream({ servers: server.url, create: false, signal });
    after = await save(store, jetstream, signal);
  }
  const taken = performance.now() - began;
  for (const kind of KINDS) {
    const [a, b] = [before.digests[kind], after.digests[kind]];
    tell(`${kind.padEnd(9)} ${number(counts[kind]).padStart(8)}  sqlite    sha256 ${a}`);
    tell(`${" ".repeat(18)}  jetstream sha256 ${b}`);
    assert.equal(b, a, `The ${kind} of both sides must be equal`);
    assert.equal(first.digests?.[kind], a, `The report's digest of ${kind} must be theirs`);
  }
  assert.equal(after.digest, before.digest);
  assert.equal(first.digests?.all, before.digest);
  const [a, b] = await Promise.all([readFile(sqlite), readFile(jetstream)]);
  assert(a.equals(b), "Both snapshot files must be equal byte by byte");
  tell(`Both files are equal byte by byte: ${number(b.length)} bytes, sha256 ${after.digest}`);
  tell(`JetStream exported and checked in ${seconds(taken)}`);
}

async function main(): Promise<number> {
  const began = performance.now();
  const controller = new AbortController();
  const interrupt = () => controller.abort(new Error("Interrupted"));
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  const directory = await mkdtemp(join(tmpdir(), "unibus-quickstart-"));
  let code = 0;
  try {
    await run(directory, controller.signal);
  } catch (error) {
    code = controller.signal.aborted ? 130 : 1;
    const text = error instanceof Error ? error.message : String(error);
    console.error(code === 130 ? "\nInterrupted" : `\nFailed: ${text}`);
  } finally {
    await rm(directory, { recursive: true, force: true });
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
  }
  console.log(`\nCleaned up ${directory}`);
  if (code === 0) console.log(`Everything as promised, in ${seconds(performance.now() - began)}`);
  return code;
}

if (import.meta.main) process.exitCode = await main();
