import assert from "node:assert/strict";
import { readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { followStore, openJetStream, type StoreError } from "../../mod.ts";
import type { FollowOptions } from "../../mod.ts";
import { copyStream } from "../../src/jetstream/cluster/transfer.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { type TestServer, testServer } from "../helpers/nats.ts";
import { failsWith, inDir, person } from "../helpers/sqlite.ts";
import { keepDisk, rawBucket } from "./kit.ts";

/** A server with users in its bucket, and a file that follows it. */
async function followed(dir: string, users = 100) {
  const server = await testServer();
  const nats = { servers: server.url };
  const db = `${dir}/f.db`;
  const fill = async (from: number, to: number) => {
    await using store = await openJetStream(nats);
    for (let i = from; i < to; i++) await store.addUser(person(i));
  };
  const follow = async () => {
    await using follower = await followStore({ nats, db });
    return await follower.whenExact();
  };
  await fill(0, users);
  return {
    server,
    nats,
    db,
    fill,
    follow,
    open: () => openJetStream({ ...nats, follower: db }),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** The files of the stream's messages, and those of its index. */
async function blocksOf(server: TestServer): Promise<{ blocks: string[]; index: string[] }> {
  const folder = `${server.directory}/store`;
  const files = (await readdir(folder, { recursive: true })).map((it) => join(folder, it))
    .filter((it) => it.includes("KV_UNIBUS"));
  return {
    blocks: files.filter((it) => it.endsWith(".blk")).sort(),
    index: files.filter((it) => it.endsWith("index.db")),
  };
}

/** Waits for the alarm of a follower. */
async function alarmOf(options: FollowOptions, cause: () => Promise<unknown>): Promise<StoreError> {
  const { promise, resolve } = Promise.withResolvers<StoreError>();
  await using follower = await followStore({ ...options, onAlarm: resolve });
  await follower.whenExact();
  await cause();
  const alarm = await promise;
  assert.equal(follower.alarm, alarm);
  assert.equal(alarm.code, "corrupt");
  assert.match(alarm.hint!, /repair --from follower .* repair --accept/);
  await failsWith("corrupt", () => follower.whenExact());
  return alarm;
}

Deno.test("a store does not open on a disk that was put back to an earlier state", () =>
  inDir(async (dir) => {
    await using it = await followed(dir, 20);
    const putBack = await keepDisk(it.server, dir);
    await it.fill(20, 40);
    await it.follow();
    await putBack();
    await failsWith("corrupt", it.open, /the stream ends at sequence \d+, before position \d+/);
    // It is kept in the file.
    await failsWith("corrupt", it.open, /the stream ends at sequence \d+, before position \d+/);
  }));

Deno.test("a store does not open where sequences were used again", () =>
  inDir(async (dir) => {
    await using it = await followed(dir, 20);
    const putBack = await keepDisk(it.server, dir);
    await it.fill(20, 40);
    await it.follow();
    await putBack();
    await it.fill(40, 100);
    await failsWith("corrupt", it.open, /key users\.\w+ (is gone|is another message)/);
  }));

Deno.test("a stream that was copied to another server with all it held is followed there", () =>
  inDir(async (dir) => {
    await using it = await followed(dir, 3);
    const before = await it.follow();
    await using other = await testServer();
    const [from, to] = await Promise.all(
      [it.server, other].map(({ url }) => connectNats({ servers: url })),
    );
    await copyStream(from!, to!, "KV_UNIBUS", { replicas: 1 });
    await Promise.all([from!.close(), to!.close()]);
    const there = { servers: other.url, follower: it.db };
    {
      await using store = await openJetStream(there);
      assert.equal(await store.isAuthorized(person(1).signPub), true);
      await store.revokeUser(person(1).signPub);
    }
    await using follower = await followStore({ nats: { servers: other.url }, db: it.db });
    const now = await follower.whenExact();
    assert.ok(now.position > before.position);
    assert.equal(now.alarm, null);
    // Where it came from is no longer what the file follows.
    await follower.close();
    await failsWith("corrupt", it.open);
  }));

Deno.test("a store does not open on a bucket that was deleted and created again", () =>
  inDir(async (dir) => {
    await using it = await followed(dir, 3);
    await it.follow();
    await using raw = await rawBucket(it.server.url);
    await raw.api("DELETE");
    await it.fill(0, 3);
    await failsWith("corrupt", it.open, /deleted and created again/);
    await failsWith("corrupt", it.open, /deleted and created again/);
    // The operator takes the stream as it is.
    const accepted = { ...it.nats, follower: it.db, accept: true };
    await using store = await openJetStream(accepted);
    assert.equal(await store.isAuthorized(person(1).signPub), true);
  }));

Deno.test("an open store answers no as soon as the disk was put back", () =>
  inDir(async (dir) => {
    await using it = await followed(dir, 20);
    const putBack = await keepDisk(it.server, dir);
    const { promise, resolve } = Promise.withResolvers<StoreError>();
    await using store = await openJetStream({
      ...it.nats,
      follower: it.db,
      onAlarm: resolve,
    });
    const { signPub } = person(1);
    await store.revokeUser(signPub);
    assert.equal(await store.isAuthorized(signPub), false);
    assert.equal(await store.isAuthorized(person(2).signPub), true);
    let [letIn, isOver] = [false, false];
    const asking = (async () => {
      while (!isOver) {
        letIn ||= await store.isAuthorized(signPub);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    await putBack();
    const alarm = await promise;
    isOver = true;
    await asking;
    assert.match(alarm.message, /the stream ends|acknowledged with sequence|key users/);
    assert.equal(letIn, false);
    assert.equal(await store.isAuthorized(person(2).signPub), false);
    assert.equal(await store.hasAdmin(), false);
    await failsWith("corrupt", () => store.getUser(signPub));
    await failsWith("corrupt", () => store.addUser(person("new")));
    assert.equal((await store.health()).ok, false);
  }));

Deno.test("messages that vanish are noticed while following", () =>
  inDir(async (dir) => {
    await using it = await followed(dir, 20);
    const alarm = await alarmOf(it, async () => {
      await using raw = await rawBucket(it.server.url);
      await raw.api("PURGE", { filter: `$KV.UNIBUS.users.${person(3).signPub}` });
    });
    assert.equal(alarm.field, "messages");
    assert.match(alarm.message, /the stream holds \d+ messages at sequence \d+, the follower has/);
  }));

Deno.test("a bucket that is deleted, or deleted and created again, is noticed while following", () =>
  inDir(async (dir) => {
    await using it = await followed(dir, 3);
    const remove = async () => {
      await using raw = await rawBucket(it.server.url);
      await raw.api("DELETE");
    };
    const alarm = await alarmOf(it, async () => {
      await remove();
      await it.fill(0, 30);
    });
    assert.ok(["stream", "acknowledged", "end"].includes(alarm.field!), alarm.message);
    const deleted = await alarmOf({ ...it, accept: true }, remove);
    assert.equal(deleted.field, "stream");
  }));

Deno.test("a message with other bytes than it had is noticed before a store opens", () =>
  inDir(async (dir) => {
    await using it = await followed(dir, 200);
    await it.follow();
    const db = new DatabaseSync(it.db);
    // One that is not among the newest, as if the stream's were another.
    db.exec(`UPDATE follower_entries SET hash = zeroblob(16) WHERE revision = (
      SELECT revision FROM follower_entries ORDER BY revision LIMIT 1 OFFSET 20)`);
    db.close();
    await failsWith(
      "corrupt",
      it.open,
      /the stream has users\.\w+ at \d+, the follower with another/,
    );
  }));

Deno.test("a message that the file does not know is noticed before a store opens", () =>
  inDir(async (dir) => {
    await using it = await followed(dir, 200);
    await it.follow();
    const db = new DatabaseSync(it.db);
    // As if an older message had come back in place of a delete marker.
    db.exec(`DELETE FROM follower_entries WHERE revision = (
      SELECT revision FROM follower_entries ORDER BY revision LIMIT 1 OFFSET 20)`);
    db.close();
    await failsWith("corrupt", it.open, /the stream has users\.\w+ at \d+, the follower not/);
  }));

Deno.test("of two followers that differ at one position the damaged one says that its file is", () =>
  inDir(async (dir) => {
    await using it = await followed(dir, 20);
    await using follower = await followStore({ nats: it.nats, db: `${dir}/g.db` });
    await follower.whenExact();
    await it.follow();
    const db = new DatabaseSync(it.db);
    db.exec(`UPDATE follower SET digest = '${"0".repeat(32)}'`);
    db.close();
    const { promise, resolve } = Promise.withResolvers<StoreError | null>();
    await using damaged = await followStore({ ...it, onDegraded: resolve });
    const found = await promise;
    assert.equal(found?.field, "file");
    assert.match(found.message, /file is damaged: its digest at position \d+ is/);
    assert.deepEqual([damaged.alarm, damaged.state().degraded], [null, found]);
    await failsWith("corrupt", () => damaged.whenExact());
    assert.equal((await follower.whenExact()).alarm, null);
  }));

for (const keepsIndex of [true, false]) {
  const what = keepsIndex ? "with its index kept" : "without its index";
  Deno.test(`flipped bits in a block, ${what}, are noticed before a store opens`, () =>
    inDir(async (dir) => {
      await using it = await followed(dir, 300);
      await it.follow();
      for (let round = 0; round < 3; round++) {
        await it.server.stop();
        const { blocks, index } = await blocksOf(it.server);
        const block = blocks.at(-1)!;
        const bytes = await readFile(block);
        // Beginning, middle and end.
        const at = Math.floor(bytes.length * (0.1 + 0.35 * round));
        const kept = await readFile(block);
        const keptIndex = await Promise.all(index.map((path) => readFile(path)));
        bytes[at]! ^= 1 << round;
        await writeFile(block, bytes);
        if (!keepsIndex) await Promise.all(index.map((path) => rm(path)));
        await it.server.restart();
        await failsWith("corrupt", it.open, /the stream (lacks|ends|has)|key /);
        await it.server.stop();
        const now = await blocksOf(it.server);
        await Promise.all([...now.blocks, ...now.index].map((path) => rm(path, { force: true })));
        await writeFile(block, kept);
        await Promise.all(index.map((path, i) => writeFile(path, keptIndex[i]!)));
        const db = new DatabaseSync(it.db);
        db.exec("UPDATE follower SET alarm = NULL");
        db.close();
        await it.server.restart();
      }
    }));
}

Deno.test("a stream whose end was cut off is noticed before a store opens", () =>
  inDir(async (dir) => {
    await using it = await followed(dir, 300);
    await it.follow();
    await it.server.stop();
    const { blocks, index } = await blocksOf(it.server);
    const bytes = await readFile(blocks.at(-1)!);
    await truncate(blocks.at(-1)!, Math.floor(bytes.length * 0.7));
    await Promise.all(index.map((path) => rm(path)));
    await it.server.restart();
    await failsWith("corrupt", it.open);
  }));
