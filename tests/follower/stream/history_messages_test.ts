import assert from "node:assert/strict";
import { setTimeout as wait } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { type Follower, followStore, openJetStream, type StoreError } from "../../../mod.ts";
import { changeOf } from "../../../src/follower/file/changes.ts";
import type { Change } from "../../../src/follower/file/messages.ts";
import { openFile } from "../../../src/follower/file/prepare.ts";
import type { Bucket } from "../../../src/jetstream/log/bucket.ts";
import { historyKey, isHistory, userKey } from "../../../src/jetstream/records/keys.ts";
import { encodeUser } from "../../../src/jetstream/records/values.ts";
import { testCluster, testServer } from "../../helpers/nats.ts";
import { inDir, person } from "../../helpers/sqlite.ts";
import { putWithEntry, rawBucket, rowsOf } from "../kit.ts";

const DAY = 86_400;

/** A user as a key and a value. */
function user(name: string): Record<string, string> {
  const it = { ...person(name), createdAt: new Date(0).toISOString(), revokedAt: null };
  return { [userKey(it.signPub)]: encodeUser({ ...it, role: "user", status: "active" }) };
}

/** Waits until a follower has looked at the stream so many times. */
async function looked(follower: Follower, times: number): Promise<void> {
  // Each look begins with a fence.
  for (let seen = 0, last = 0; seen < times;) {
    const { position, failure, alarm } = follower.state();
    assert.deepEqual([failure, alarm], [null, null]);
    if (position > last) seen++;
    last = position;
    await wait(20);
  }
}

/** How many entries of the history a stream holds. */
async function entriesIn(bucket: Bucket): Promise<number> {
  const { streams } = await jetstreamManager(bucket.nc);
  const filter = bucket.subject(historyKey(">"));
  const { state } = await streams.info(bucket.stream, { subjects_filter: filter });
  return Object.keys(state.subjects ?? {}).length;
}

Deno.test("entries of the history and their expiry raise no alarm, over restarts of node and server", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const alarms: StoreError[] = [];
    const nats = { servers: server.url };
    const options = { nats, db: `${dir}/f.db`, onAlarm: (it: StoreError) => alarms.push(it) };
    await using _store = await openJetStream(nats);
    const fill = async (from: number, to: number) => {
      await using raw = await rawBucket(server.url);
      for (let i = from; i < to; i++) {
        await putWithEntry(raw.bucket, user(`u${i}`), i % 2 === 0 ? DAY : 2);
      }
    };
    await fill(0, 30);
    {
      await using follower = await followStore(options);
      await follower.whenExact();
      await fill(30, 60);
      const { entries, exact } = await follower.whenExact();
      assert.deepEqual([entries, exact], [60, true]);
      await looked(follower, 4);
    }
    const others = rowsOf(options.db, "follower_others").filter(({ key }) => isHistory(`${key}`));
    assert.ok(others.length >= 30);
    await fill(60, 70);
    await server.stop();
    await server.restart();
    await using follower = await followStore(options);
    await follower.whenExact();
    await using raw = await rawBucket(server.url);
    while (await entriesIn(raw.bucket) > 35) await wait(100);
    await looked(follower, 4);
    // A file that is loaded when they are gone is the same.
    await using later = await followStore({ ...options, db: `${dir}/later.db` });
    await later.whenExact();
    const wanted = (await follower.whenExact()).position;
    await later.whenExact(wanted);
    assert.equal((await later.whenExact()).digest, (await follower.whenExact()).digest);
    await looked(later, 4);
    assert.deepEqual(alarms, []);
  }));

Deno.test("a message that vanishes is noticed beside entries that have expired", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    await using _store = await openJetStream({ servers: server.url });
    await using raw = await rawBucket(server.url);
    const alarm = Promise.withResolvers<StoreError>();
    await using follower = await followStore({
      nats: { servers: server.url },
      db: `${dir}/f.db`,
      onAlarm: alarm.resolve,
    });
    const before = await entriesIn(raw.bucket);
    for (let i = 0; i < 20; i++) await putWithEntry(raw.bucket, user(`u${i}`), i < 10 ? 1 : DAY);
    while (await entriesIn(raw.bucket) > 10 + before) await wait(100);
    await follower.whenExact();
    await looked(follower, 3);
    await raw.api("PURGE", { filter: `$KV.UNIBUS.${userKey(person("u3").signPub)}` });
    assert.equal((await alarm.promise).field, "messages");
  }));

Deno.test("what has expired counts as there for as long as a server is late to remove it", () =>
  inDir(async (dir) => {
    const place = { bucket: "B", servers: [], at: new Date(0).toISOString() };
    const thread = openFile(`${dir}/f.db`, place);
    try {
      assert.equal(await thread.ask("lock", undefined), true);
      await thread.ask("load", { bucket: "B", created: "then" });
      const at = 1_000_000_000_000;
      const margin = 60_000;
      const hour = 60 * margin;
      const data = new TextEncoder().encode("{}");
      const entry = (revision: number, expires: number): Change =>
        changeOf({ key: historyKey(`t${revision}`), revision, data }, at, expires);
      const changes = [
        entry(1, at - 3 * hour),
        entry(2, at - 2 * margin),
        entry(3, at - 1),
        entry(4, at + 1),
        entry(5, at + 2 * margin),
        changeOf({ key: "meta.fence", revision: 6, data }, at, null),
      ];
      const hashes = new Uint8Array(16 * changes.length);
      await thread.ask("apply", { changes, hashes, end: { position: 6, exact: true } });
      const ask = (wereRemoved: boolean) => thread.ask("expected", { at, margin, wereRemoved });
      const late = { certain: 2, expiring: 2, expired: 2 };
      assert.deepEqual(await ask(false), late);
      assert.deepEqual(await ask(true), { ...late, expired: 1 });
      const more = [entry(7, at + 3 * margin), entry(8, at - hour)];
      const next = { changes: more, hashes: new Uint8Array(32), end: { position: 8, exact: true } };
      await thread.ask("apply", next);
      assert.deepEqual(await ask(false), { certain: 3, expiring: 2, expired: 2 });
      // Known again from the file.
      await thread.ask("rollback", undefined);
      assert.deepEqual(await ask(false), { certain: 3, expiring: 2, expired: 2 });
    } finally {
      await thread.close();
    }
  }));

Deno.test("on three servers entries of the history raise no alarm when a leader is killed, and digests are equal", () =>
  inDir(async (dir) => {
    await using cluster = await testCluster(3);
    const alarms: StoreError[] = [];
    {
      await using _store = await openJetStream({
        servers: cluster.urls,
        replicas: 3,
        bootstrapTimeout: 60_000,
      });
    }
    // With all of them: the one that is stopped may be any.
    await using raw = await rawBucket(cluster.urls);
    const followers: Follower[] = [];
    try {
      for (const [i, { url }] of cluster.servers.entries()) {
        followers.push(
          await followStore({
            nats: { servers: [url, ...cluster.urls] },
            db: `${dir}/${i}.db`,
            onAlarm: (it) => alarms.push(it),
          }),
        );
      }
      let done = 0;
      const write = async (until: number) => {
        const end = Date.now() + 120_000;
        while (done < until) {
          try {
            await putWithEntry(raw.bucket, user(`u${done}`), done % 2 === 0 ? DAY : 2);
            done++;
          } catch (error) {
            if (Date.now() > end) throw error;
            await wait(250);
          }
        }
      };
      await write(40);
      const leader = (await cluster.leader())!;
      await leader.stop();
      await write(60);
      await leader.restart();
      await cluster.ready();
      await write(100);
      const { position } = await followers[0]!.whenExact();
      for (const it of followers) await it.whenExact(position);
      for (const it of followers) await looked(it, 4);
      const last = await Promise.all(followers.map((it) => it.whenExact()));
      assert.equal(new Set(last.map(({ digest }) => digest)).size, 1);
      assert.deepEqual(last.map(({ entries }) => entries), [100, 100, 100]);
      assert.deepEqual(alarms, []);
    } finally {
      for (const it of followers) await it.close();
    }
  }));
