import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as wait } from "node:timers/promises";
import {
  type Follower,
  followStore,
  openJetStream,
  openSqlite,
  promoteFollower,
  type Store,
} from "../../../mod.ts";
import { FIRST_HEAD, headAfter } from "../../../src/core/history/chain.ts";
import type { HistoryEntry } from "../../../src/core/history/entry.ts";
import { switchOf } from "../../../src/core/store/switching.ts";
import { openFollowed } from "../../../src/follower/open.ts";
import { Feed } from "../../../src/jetstream/log/feed.ts";
import { isHistory } from "../../../src/jetstream/records/keys.ts";
import { testCluster, type TestServer, testServer } from "../../helpers/nats.ts";
import { Child, failsWith, inDir, newRoom, person } from "../../helpers/sqlite.ts";
import { rawBucket, rowsOf } from "../kit.ts";

const CHILD = new URL("../child.ts", import.meta.url).pathname;

/** All entries of a store's history. */
async function entriesOf(store: Store): Promise<HistoryEntry[]> {
  const all: HistoryEntry[] = [];
  for (let after: string | null = null;;) {
    const { items, next } = await store.history({ after, limit: 1000 });
    all.push(...items);
    if (next === null) return all;
    after = next;
  }
}

/** Revisions and heads of the history in a file. */
function headsIn(path: string): [revision: string, head: string][] {
  return rowsOf(path, "history").map(({ generation, number, head }) => [
    `${generation}.${number}`,
    (head as Uint8Array).toHex(),
  ]);
}

/** What the heads of entries must be. */
function headsOf(entries: HistoryEntry[], from = FIRST_HEAD): [string, string][] {
  let head = from;
  return entries.map((entry) => [entry.revision, head = headAfter(head, entry)]);
}

/** Waits until the history of a follower has come to an entry. */
async function caughtUp(follower: Follower, revision: string): Promise<void> {
  for (;;) {
    const { history, alarm, failure } = follower.state();
    assert.deepEqual([alarm, failure], [null, null]);
    if (history?.revision === revision && history.lag === 0) return;
    await wait(10);
  }
}

/** Makes changes. */
async function change(store: Store, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) {
    await store.addUser(person(i));
    if (i % 5 === 0) await store.createRoom(newRoom(`r${i}`, 2));
    if (i % 3 === 0) await store.revokeUser(person(i).signPub);
    if (i % 10 === 0) await store.deleteRoom(`r${i}`);
  }
}

/** A file that follows a bucket until it has all entries; returns these. */
async function filled(server: TestServer, db: string): Promise<HistoryEntry[]> {
  const nats = { servers: server.url };
  await using store = await openJetStream(nats);
  const entries = await entriesOf(store);
  await using follower = await followStore({ nats, db });
  await caughtUp(follower, entries.at(-1)!.revision);
  return entries;
}

Deno.test("a follower's file has the history of its bucket, with the heads of its chain, and keeps up", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    await using store = await openJetStream(nats);
    await change(store, 0, 20);
    const db = `${dir}/f.db`;
    {
      await using follower = await followStore({ nats, db });
      await caughtUp(follower, (await entriesOf(store)).at(-1)!.revision);
      await change(store, 20, 40);
      const entries = await entriesOf(store);
      await caughtUp(follower, entries.at(-1)!.revision);
      assert.deepEqual(headsIn(db), headsOf(entries));
      assert.equal(follower.state().history!.problem, null);
      // Another process that reads the file says the same.
      await using reader = await followStore({ nats, db });
      assert.deepEqual(reader.state().history, follower.state().history);
    }
    await change(store, 40, 50);
    const entries = await entriesOf(store);
    await using follower = await followStore({ nats, db });
    await caughtUp(follower, entries.at(-1)!.revision);
    assert.deepEqual(headsIn(db), headsOf(entries));
    assert.deepEqual(rowsOf(db, "follower_tail"), []);
  }));

Deno.test("the history in a file is the bucket's after every kill of the process that applies to it", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    await using store = await openJetStream(nats);
    let stopped = false;
    const writing = (async () => {
      for (let i = 0; !stopped; i += 10) await change(store, i, i + 10);
    })();
    const db = `${dir}/f.db`;
    for (let i = 0; i < 5; i++) {
      const child = new Child([server.url, db], { script: CHILD });
      while (JSON.parse(await child.line()).position === 0) { /* until it has loaded */ }
      await wait(Math.random() * 200);
      await child.kill();
      const heads = headsIn(db);
      const entries = await entriesOf(store);
      assert.deepEqual(heads, headsOf(entries).slice(0, heads.length));
    }
    stopped = true;
    await writing;
    const entries = await entriesOf(store);
    await using follower = await followStore({ nats, db });
    await caughtUp(follower, entries.at(-1)!.revision);
    assert.deepEqual(headsIn(db), headsOf(entries));
  }));

Deno.test("a pruned history is pruned in the file; a new file begins at the cut, one that was away says what is missing", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    await using store = await openJetStream(nats);
    await change(store, 0, 10);
    const [db, away, fresh] = [`${dir}/f.db`, `${dir}/away.db`, `${dir}/fresh.db`];
    const before = await filled(server, away);
    await using follower = await followStore({ nats, db });
    await caughtUp(follower, before.at(-1)!.revision);
    await change(store, 10, 20);
    const all = await entriesOf(store);
    await store.pruneHistory({ keep: 5 });
    const kept = await entriesOf(store);
    assert.equal(kept[0]!.revision, all.at(-5)!.revision);
    assert.equal(kept.at(-1)!.action, "history.pruned");
    const last = kept.at(-1)!.revision;
    const wanted = headsOf([...all, kept.at(-1)!]).slice(-kept.length);
    await caughtUp(follower, last);
    assert.equal(follower.state().history!.problem, null);
    await using second = await followStore({ nats, db: fresh });
    await caughtUp(second, last);
    assert.equal(second.state().history!.problem, null);
    await using late = await followStore({ nats, db: away });
    await caughtUp(late, last);
    assert.match(late.state().history!.problem!, /were pruned before the follower had them/);
    for (const path of [db, fresh, away]) {
      assert.deepEqual(headsIn(path), wanted);
      const [cut] = rowsOf(path, "history_cut");
      assert.equal(`${cut!.generation}.${cut!.number}`, all.at(-6)!.revision);
    }
  }));

Deno.test("a history that is not the bucket's is left as it is, and said", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    const db = `${dir}/f.db`;
    {
      await using store = await openJetStream(nats);
      await change(store, 0, 10);
    }
    const entries = await filled(server, db);
    const file = new DatabaseSync(db);
    file.prepare("UPDATE history SET by = 'mallory' WHERE number = ?")
      .run(Number(entries.at(-1)!.revision.split(".")[1]));
    file.close();
    const heads = headsIn(db);
    {
      await using follower = await followStore({ nats, db });
      while (follower.state().history?.problem === null || follower.state().history === null) {
        await wait(10);
      }
      assert.match(follower.state().history!.problem!, /is not that of its follower at 0\.\d+/);
      assert.deepEqual([follower.alarm, follower.state().failure], [null, null]);
    }
    assert.deepEqual(headsIn(db), heads);
    // Whoever takes the bucket as it is takes its history.
    await using follower = await followStore({ nats, db, accept: true });
    await caughtUp(follower, entries.at(-1)!.revision);
    assert.deepEqual(headsIn(db), headsOf(entries));
    assert.equal(rowsOf(db, "history").some(({ by }) => by === "mallory"), false);
  }));

Deno.test("a store with a follower reads pages and the head of its history there, and walks both", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    const db = `${dir}/f.db`;
    await using alone = await openJetStream(nats);
    await change(alone, 0, 20);
    const { store, follower } = await openFollowed({ ...nats, follower: db });
    await using _ = store;
    // Its own writes are in it at once.
    await store.addUser(person("mine"));
    const [newest] = (await store.history({ newest: true, limit: 1 })).items;
    assert.equal(newest!.user, person("mine").signPub);
    const entries = await entriesOf(alone);
    await caughtUp(follower, entries.at(-1)!.revision);
    assert.deepEqual(await entriesOf(store), entries);
    for (const query of [{ user: person(3).signPub }, { room: "r5" }, { newest: true }]) {
      assert.deepEqual(await store.history(query), await alone.history(query));
    }
    const source = switchOf(store).current.history!;
    const heads = headsOf(entries);
    assert.deepEqual(await source.head(), { revision: heads.at(-1)![0], head: heads.at(-1)![1] });
    const walked = await Array.fromAsync(source.walk(null));
    assert.deepEqual(walked.map(({ entry, head }) => [entry.revision, head]), heads);
    const third = entries[2]!.revision;
    const rest = await Array.fromAsync(
      source.walk({ generation: 0, number: Number(third.split(".")[1]) }),
    );
    assert.deepEqual(rest, walked.slice(3));
    // Which of both has it is seen by a change of the file.
    const file = new DatabaseSync(db);
    const at = Number(third.split(".")[1]);
    file.prepare("UPDATE history SET by = 'mallory' WHERE number = ?").run(at);
    assert.equal((await entriesOf(store))[2]!.by, "mallory");
    const differs = () => Array.fromAsync(source.walk(null));
    await failsWith("corrupt", differs, new RegExp(`entry ${third} of the bucket is not that`));
    file.prepare("DELETE FROM history WHERE number = ?").run(at);
    await failsWith("corrupt", differs, new RegExp(`entry ${third} of the bucket is not that`));
    file.close();
  }));

/** The entries as messages of the bucket's stream. */
async function messagesOf(server: TestServer): Promise<{ number: number; value: Uint8Array }[]> {
  await using raw = await rawBucket(server.url);
  const found: { number: number; value: Uint8Array }[] = [];
  const last = await raw.put("meta.fence", "{}");
  const { promise, resolve } = Promise.withResolvers<void>();
  const feed = new Feed(raw.bucket, {
    pattern: null,
    onEntry({ key, revision, data }) {
      if (isHistory(key)) found.push({ number: revision, value: data.slice() });
      if (revision >= last) resolve();
    },
  });
  await feed.start();
  await promise;
  feed.stop();
  return found;
}

for (const behind of [0, 4]) {
  Deno.test(`a promotion keeps the history and its chain, of which the file has ${behind} entries only as they came`, () =>
    inDir(async (dir) => {
      const server = await testServer();
      const db = `${dir}/f.db`;
      {
        await using store = await openJetStream({ servers: server.url });
        await change(store, 0, 10);
      }
      const entries = await filled(server, db);
      const tail = (await messagesOf(server)).slice(-behind || Infinity);
      await server[Symbol.asyncDispose]();
      const file = new DatabaseSync(db);
      for (const { number, value } of tail) {
        file.prepare("DELETE FROM history WHERE number = ?").run(number);
        file.prepare("INSERT INTO follower_tail VALUES (?, ?)").run(number, value);
      }
      // An entry of a change that came after the file's position.
      const { position } = file.prepare("SELECT position FROM follower").get()!;
      file.prepare(
        `INSERT INTO history SELECT generation, ?, at, by, action, user, room, invite, before,
        after, head FROM history LIMIT 1`,
      ).run(Number(position) + 1);
      file.close();
      assert.equal(headsIn(db).length, entries.length - behind + 1);
      await promoteFollower({ db });
      assert.deepEqual(rowsOf(db, "follower_tail"), []);
      await using store = openSqlite(db);
      const promoted = await entriesOf(store);
      assert.deepEqual(promoted.slice(0, -1), entries);
      const { revision, action } = promoted.at(-1)!;
      assert.deepEqual([revision, action], ["1.1", "store.moved"]);
      assert.deepEqual(headsIn(db), headsOf(promoted));
      await store.addUser(person("later"));
      const after = await entriesOf(store);
      assert.equal(after.at(-1)!.revision, "1.2");
      assert.deepEqual(headsIn(db), headsOf(after));
    }));
}

Deno.test("entries stand in the file with the changes that they tell of, whatever the history has come to", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    await using store = await openJetStream(nats);
    await using follower = await followStore({ nats, db: `${dir}/f.db` });
    await follower.whenExact();
    let stopped = false;
    const writing = (async () => {
      for (let i = 0; !stopped; i++) await store.addUser(person(i));
    })();
    const counts: [unknown, unknown][] = [];
    for (let i = 0; i < 50; i++) {
      await wait(10);
      const file = new DatabaseSync(`${dir}/f.db`, { readOnly: true, timeout: 60_000 });
      // The history may be ahead: the bucket's stream is read for it as well.
      const { users, entries } = file.prepare(`SELECT (SELECT count(*) FROM users) AS users,
        (SELECT count(*) FROM (SELECT number FROM history UNION SELECT number FROM follower_tail)
          WHERE number <= (SELECT position FROM follower)) AS entries`).get()!;
      file.close();
      counts.push([users, entries]);
    }
    stopped = true;
    await writing;
    assert.deepEqual(counts.filter(([users, entries]) => users !== entries), []);
  }));

Deno.test("a follower closes when its server is gone", () =>
  inDir(async (dir) => {
    const server = await testServer();
    {
      await using store = await openJetStream({ servers: server.url });
      await change(store, 0, 5);
    }
    const follower = await followStore({ nats: { servers: server.url }, db: `${dir}/f.db` });
    await follower.whenExact();
    await server[Symbol.asyncDispose]();
    await follower.close();
    assert.equal(follower.alarm, null);
  }));

Deno.test("a search waits until the follower has what the store must include", () =>
  inDir(async (dir) => {
    await using cluster = await testCluster(3);
    const [here, there] = cluster.servers;
    const patient = { bootstrapTimeout: 60_000, opTimeout: 30_000 };
    await using writer = await openJetStream({ ...patient, servers: there!.url, replicas: 3 });
    const options = { ...patient, servers: here!.url, follower: `${dir}/f.db` };
    const { store, follower } = await openFollowed(options);
    await using _ = store;
    await follower.whenExact();
    for (let i = 0; i < 30; i++) {
      const acting = writer.as("library");
      await acting.addUser(person(i));
      await store.reach(acting.revision!);
      const { items } = await store.search!.users({ search: `user ${i}` });
      assert.ok(items.some(({ handle }) => handle === `user ${i}`), `user ${i} is not found`);
    }
  }));

Deno.test("on three servers the histories of three followers are equal after a leader was killed", () =>
  inDir(async (dir) => {
    await using cluster = await testCluster(3);
    await using store = await openJetStream({
      servers: cluster.urls,
      replicas: 3,
      bootstrapTimeout: 60_000,
      opTimeout: 30_000,
    });
    await change(store, 0, 10);
    const followers: Follower[] = [];
    try {
      for (const [i, { url }] of cluster.servers.entries()) {
        const nats = { servers: [url, ...cluster.urls] };
        followers.push(await followStore({ nats, db: `${dir}/${i}.db` }));
      }
      let done = 10;
      const write = async (until: number) => {
        for (const end = Date.now() + 90_000; done < until;) {
          try {
            await store.addUser(person(done));
            done++;
          } catch (error) {
            if (Date.now() > end) throw error;
            // It may have been made.
            done++;
            await wait(250);
          }
        }
      };
      await write(20);
      const leader = (await cluster.leader())!;
      await leader.stop();
      await write(40);
      await leader.restart();
      await cluster.ready();
      await write(50);
      const entries = await entriesOf(store);
      for (const it of followers) await caughtUp(it, entries.at(-1)!.revision);
      for (const i of [0, 1, 2]) assert.deepEqual(headsIn(`${dir}/${i}.db`), headsOf(entries));
    } finally {
      for (const it of followers) await it.close();
    }
  }));
