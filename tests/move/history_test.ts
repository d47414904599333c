import assert from "node:assert/strict";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import {
  type HistoryEntry,
  migrateKvToSqlite,
  migrateSqliteToKv,
  type MoveProgress,
  openJetStream,
  openSqlite,
} from "../../mod.ts";
import { newUser } from "../conformance/kit/kit.ts";
import { lagging, publishing } from "../helpers/interposed.ts";
import { childArgs, code, entriesOf, kill, type Place, placeTests } from "./kit.ts";

const test = placeTests();

async function inFile(db: string): Promise<HistoryEntry[]> {
  await using store = openSqlite(db, { readOnly: true, create: false });
  return await entriesOf(store);
}

async function inBucket(nats: Place["nats"]): Promise<HistoryEntry[]> {
  await using store = await openJetStream({ ...nats, create: false });
  return await entriesOf(store);
}

/** A file with so many changes. */
async function changed(db: string, changes: number): Promise<HistoryEntry[]> {
  await using store = openSqlite(db);
  for (let i = 0; i < changes; i++) await store.as(`cli:ada@n${i % 3}`).addUser(newUser());
  return await entriesOf(store);
}

const movedBy = ({ action, by, before, after }: HistoryEntry) => ({ action, by, before, after });

test("a move that is continued beside a replica that lags writes no entry twice", async ({ db, nats }) => {
  const before = await changed(db, 1100);
  const { servers, ...rest } = nats;
  await using nc = await connect({ servers });
  const abort = new AbortController();
  // Ends it within the second batch of entries.
  let left = 1000;
  const ending = publishing(nc, (subject, ...args) => {
    if (subject.endsWith(".archive") && left-- === 0) return abort.abort();
    nc.publish(subject, ...args);
  });
  const first = migrateSqliteToKv({
    db,
    nats: { ...rest, connection: ending },
    signal: abort.signal,
  });
  await assert.rejects(first, code("aborted"));
  const report = await migrateSqliteToKv({
    db,
    nats: { ...rest, connection: lagging(nc, 600, 3) },
  });
  assert.deepEqual((await inBucket(nats)).slice(0, -1), before);
  assert.equal(report.history!.written, 100);
});

test("the history goes into the bucket and back, with its chain, and tells of both moves", async ({ db, nats, dir }) => {
  const before = await changed(db, 700);
  const steps: string[] = [];
  const onProgress = ({ phase, total }: MoveProgress) => void steps.push(`${phase} ${total}`);
  const report = await migrateSqliteToKv({ db, nats, by: "cli:ada@n1", onProgress });
  assert.deepEqual([...new Set(steps)].slice(-3), ["verify 700", "history 700", "done 700"]);
  assert.equal(report.history!.written, 700);
  assert.equal(report.history!.revision, before.at(-1)!.revision);
  const there = await inBucket(nats);
  assert.deepEqual(there.slice(0, -1), before);
  assert.deepEqual(movedBy(there.at(-1)!), {
    action: "store.moved",
    by: "cli:ada@n1",
    before: { store: "file" },
    after: { store: `bucket ${nats.bucket}` },
  });
  {
    await using store = await openJetStream(nats);
    for (let i = 0; i < 20; i++) await store.as("cli:bob@n2").addUser(newUser());
  }
  const after = await inBucket(nats);
  assert.equal(after.length, 721);
  assert.deepEqual(after.slice(0, 701), there);
  const back = `${dir}/back.db`;
  const returned = await migrateKvToSqlite({ db: back, nats, by: "cli:eve@n1" });
  assert.equal(returned.history!.written, 721);
  {
    const found = await inFile(back);
    assert.deepEqual(found.slice(0, -1), after);
    assert.deepEqual(movedBy(found.at(-1)!), {
      action: "store.moved",
      by: "cli:eve@n1",
      before: { store: `bucket ${nats.bucket}` },
      after: { store: "file" },
    });
  }
  await using store = openSqlite(back);
  await store.addUser(newUser());
  assert.equal((await entriesOf(store)).length, 723);
});

test("moving again adds nothing to the history", async ({ db, nats }) => {
  await changed(db, 5);
  await migrateSqliteToKv({ db, nats, history: false });
  // The history was left behind, so the move is not complete.
  const second = await migrateSqliteToKv({ db, nats });
  assert.deepEqual([second.target, second.history!.written], ["repeated", 5]);
  assert.notEqual(second.backup, null);
  const once = await inBucket(nats);
  const report = await migrateSqliteToKv({ db, nats });
  assert.deepEqual([report.target, report.history!.written], ["repeated", 0]);
  assert.equal(report.history!.head, second.history!.head);
  assert.deepEqual(await inBucket(nats), once);
});

test("a killed move continues where its history ended: each entry once", async ({ db, nats }) => {
  const before = await changed(db, 1500);
  for (let i = 0; i < 3; i++) {
    const target = { ...nats, bucket: `${nats.bucket}_${i}` };
    const child = new Deno.Command(Deno.execPath(), {
      args: childArgs(db, target),
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; !text.includes(i % 2 === 0 ? "copy 1500" : "history");) {
      const { value, done } = await lines.read();
      if (done) break;
      text += value;
    }
    await new Promise((resolve) => setTimeout(resolve, 10 * i));
    await kill(child);
    await lines.cancel();
    await migrateSqliteToKv({ db, nats: target, backup: false });
    const found = await inBucket(target);
    assert.deepEqual(found.slice(0, 1500), before);
    assert.deepEqual(found.slice(1500).map(({ action }) => action), ["store.moved"]);
  }
});

test("a pruned history goes along with where it was cut", async ({ db, nats, dir }) => {
  await changed(db, 30);
  {
    await using store = openSqlite(db);
    await store.pruneHistory({ keep: 10 });
  }
  const before = await inFile(db);
  await migrateSqliteToKv({ db, nats });
  const there = await inBucket(nats);
  assert.deepEqual(there.slice(0, -1), before);
  {
    await using store = await openJetStream(nats);
    await assert.rejects(store.history({ after: "0.3" }), code("too_old"));
  }
  await migrateKvToSqlite({ db: `${dir}/back.db`, nats });
  await using store = openSqlite(`${dir}/back.db`);
  assert.deepEqual((await entriesOf(store)).slice(0, -1), there);
  await assert.rejects(store.history({ after: "0.3" }), code("too_old"));
});

test("without the history nothing of it is moved, and a new one begins", async ({ db, nats, dir }) => {
  await changed(db, 5);
  const report = await migrateSqliteToKv({ db, nats, history: false });
  assert.equal(report.history, null);
  assert.deepEqual(await inBucket(nats), []);
  {
    await using store = await openJetStream(nats);
    await store.addUser(newUser());
  }
  assert.equal((await inBucket(nats)).length, 1);
  const back = await migrateKvToSqlite({ db: `${dir}/back.db`, nats, history: false });
  assert.equal(back.history, null);
  assert.deepEqual(await inFile(`${dir}/back.db`), []);
});

test("an archive with other entries is refused, and replaced only if that is asked for", async ({ db, nats }) => {
  const before = await changed(db, 5);
  {
    await using store = await openJetStream(nats);
    const { signPub } = await store.addUser(newUser());
    await store.deleteUser(signPub);
  }
  await assert.rejects(
    migrateSqliteToKv({ db, nats, backup: false }),
    (error: Error) =>
      code("refused")(error) &&
      error.message.includes(`${nats.bucket}_HISTORY has entries that the file does not have`),
  );
  await migrateSqliteToKv({ db, nats, backup: false, replace: true });
  const found = await inBucket(nats);
  assert.deepEqual(found.slice(0, -1), before);
  assert.equal(found.at(-1)!.action, "store.moved");
});

test("an archive of an earlier version, which takes no batches, receives a history", async ({ db, nats }) => {
  const before = await changed(db, 3);
  await (await openJetStream(nats)).close();
  const connection = await connect({ servers: nats.servers });
  try {
    const { streams } = await jetstreamManager(connection);
    await streams.update(`${nats.bucket}_HISTORY`, { allow_atomic: false });
  } finally {
    await connection.close();
  }
  assert.equal((await migrateSqliteToKv({ db, nats })).history!.written, 3);
  assert.deepEqual((await inBucket(nats)).slice(0, -1), before);
});
