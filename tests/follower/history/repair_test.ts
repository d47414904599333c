/** A repair writes the history back that the archive of a bucket lost. */

import assert from "node:assert/strict";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { followStore, openJetStream, openSqlite, type Store, verifyHistory } from "../../../mod.ts";
import { compareRevisionTexts } from "../../../src/core/history/revision.ts";
import { sourceOf } from "../../../src/core/history/source.ts";
import { switchOf } from "../../../src/core/store/switching.ts";
import { openFollowed } from "../../../src/follower/open.ts";
import { repairStream } from "../../../src/follower/repair/repair.ts";
import { continueChain } from "../../../src/history/continue.ts";
import { createNkey } from "../../../src/keys/nkey.ts";
import { openHistory } from "../../../src/sqlite/open_history.ts";
import { signAs } from "../../history/kit.ts";
import { lagging, publishing } from "../../helpers/interposed.ts";
import { testServer } from "../../helpers/nats.ts";
import { inDir, person } from "../../helpers/sqlite.ts";
import { allEntries, until } from "../../jetstream/history/kit.ts";
import { keepDisk } from "../kit.ts";
import { makeAgain } from "../watch/kit.ts";

const sourceIn = (store: Store) => sourceOf(switchOf(store).current);

interface World {
  nats: { servers: string };
  db: string;
  entries: Awaited<ReturnType<typeof allEntries>>;
  signed: Awaited<ReturnType<typeof signAs>>;
  streams: Awaited<ReturnType<typeof jetstreamManager>>["streams"];
}

/** A bucket whose signed history a follower's file has, and which nobody uses now. */
async function inWorld(work: (world: World) => Promise<void>): Promise<void> {
  await inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    const nc = await connect(nats);
    try {
      const { streams } = await jetstreamManager(nc);
      const db = `${dir}/f.db`;
      const [entries, signed] = await (async () => {
        await using store = await openJetStream(nats);
        for (let i = 0; i < 15; i++) await store.addUser(person(i));
        await store.pruneHistory({ keep: 10 });
        const signed = await signAs(store, "n1", createNkey("user"));
        const entries = await allEntries(store);
        await follow(nats, db, entries.at(-1)!.revision);
        return [entries, signed] as const;
      })();
      await work({ nats, db, entries, signed, streams });
    } finally {
      await nc.close();
    }
  });
}

/** Follows until the file has an entry. */
async function follow(nats: { servers: string }, db: string, revision: string): Promise<void> {
  await using follower = await followStore({ nats, db });
  await until(() => {
    const { history } = follower.state();
    return history?.revision === revision && history.lag === 0;
  }, revision);
  await follower.whenExact();
}

Deno.test("an archive that was lost is written back, and agrees with the heads that were signed", () =>
  inWorld(async ({ nats, db, entries, signed, streams }) => {
    // As their time to live does after a week.
    await streams.purge("KV_UNIBUS", { filter: "$UNIBUS.UNIBUS.history.*" });
    await streams.delete("UNIBUS_HISTORY");
    const later = await (async () => {
      await using store = await openJetStream(nats);
      await store.addUser(person(20));
      const { problems } = await verifyHistory(store, { kept: [signed] });
      assert.ok(problems.length > 0);
      await assert.rejects(continueChain(sourceIn(store), signed), { code: "mismatch" });
      return await allEntries(store);
    })();
    assert.equal(later.length, 1);
    const dry = await repairStream({ db, nats, dryRun: true });
    assert.deepEqual(dry.history, { restored: entries.length, problem: null });
    const archived = async () => (await streams.info("UNIBUS_HISTORY")).state.messages;
    await until(async () => await archived() === 1, "the archive");
    const { history } = await repairStream({ db, nats, by: "cli:ada@n1" });
    assert.deepEqual(history, { restored: entries.length, problem: null });
    {
      await using store = await openJetStream(nats);
      await store.addUser(person(21));
      const found = await allEntries(store);
      assert.deepEqual(found.slice(0, -2), [...entries, ...later]);
      const [told, added] = found.slice(-2);
      assert.deepEqual(
        [told!.action, told!.by, told!.after!.count, told!.after!.upTo],
        ["history.restored", "cli:ada@n1", entries.length, later[0]!.revision],
      );
      assert.equal(added!.user, person(21).signPub);
      await continueChain(sourceIn(store), signed);
      await follow(nats, db, added!.revision);
      using copy = openHistory(db);
      const report = await verifyHistory(store, { kept: [signed], copy });
      assert.deepEqual(report.problems, []);
      assert.deepEqual(report.witnesses.map((it) => it.found), ["equal", "equal"]);
      assert.equal((await sourceIn(store).head()).head, (await copy.head()).head);
    }
    // An archive that has not taken the newest entries yet lacks nothing.
    const { config } = await streams.info("UNIBUS_HISTORY");
    {
      await using store = await openJetStream(nats);
      await streams.update("UNIBUS_HISTORY", { sources: [] });
      await store.addUser(person(22));
      await follow(nats, db, (await allEntries(store)).at(-1)!.revision);
    }
    const again = await repairStream({ db, nats });
    assert.deepEqual(again.history, { restored: 0, problem: null });
    await streams.update("UNIBUS_HISTORY", { sources: config.sources! });
    {
      await using store = await openJetStream(nats);
      await store.pruneHistory({ keep: 3 });
      assert.deepEqual((await verifyHistory(store)).problems, []);
    }
  }));

Deno.test("the history of a bucket that was made again continues that of the follower", () =>
  inWorld(async ({ nats, db, entries, signed }) => {
    await makeAgain(nats.servers);
    const { history } = await repairStream({ db, nats });
    assert.equal(history.problem, null);
    const { store, follower } = await openFollowed({ ...nats, follower: db });
    try {
      const acting = store.as("ada");
      await acting.addUser(person(30));
      const found = await allEntries(store);
      assert.deepEqual(found.slice(0, entries.length), entries);
      // None is hidden by those with greater numbers from before.
      assert.deepEqual(found.slice(entries.length).map((it) => it.action), [
        "history.restored",
        "user.added",
      ]);
      // Its stream counts from 1 again.
      assert.ok(compareRevisionTexts(acting.revision!, entries.at(-1)!.revision) > 0);
      await continueChain(sourceIn(store), signed);
      await until(() => follower.state().history?.revision === acting.revision, "the follower");
      const { problems } = await verifyHistory(store, { kept: [signed] });
      assert.deepEqual(problems, []);
    } finally {
      await store.close();
    }
  }));

Deno.test("an entry that was changed in the archive is replaced by that of the follower", () =>
  inWorld(async ({ nats, db, entries, signed, streams }) => {
    const { config, state } = await streams.info("UNIBUS_HISTORY");
    const found: string[] = [];
    for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
      found.push((await streams.getMessage("UNIBUS_HISTORY", { seq }))!.string());
    }
    await streams.delete("UNIBUS_HISTORY");
    await streams.add({ ...config, sources: [] });
    const nc = await connect(nats);
    for (const [i, entry] of entries.entries()) {
      const n = entry.revision.split(".")[1];
      const data = found[found.length - entries.length + i]!.replace('"v":1', `"v":1,"n":${n}`);
      const changed = i === 4 ? data.replace(/"by":"[^"]*"/, '"by":"eve"') : data;
      await nc.request("$UNIBUS.UNIBUS.archive", changed, { timeout: 60_000 });
    }
    await nc.close();
    await streams.purge("KV_UNIBUS", { filter: "$UNIBUS.UNIBUS.history.*" });
    const { history } = await repairStream({ db, nats });
    assert.deepEqual(history, { restored: entries.length, problem: null });
    await using store = await openJetStream(nats);
    assert.deepEqual((await allEntries(store)).slice(0, -1), entries);
    assert.deepEqual((await verifyHistory(store, { kept: [signed] })).problems, []);
  }));

/** The history is lost, in the archive and where the bucket has it itself, and written back. */
async function loseAndRepair({ nats, db, streams }: Pick<World, "nats" | "db" | "streams">) {
  await streams.purge("UNIBUS_HISTORY");
  await streams.purge("KV_UNIBUS", { filter: "$UNIBUS.UNIBUS.history.*" });
  await repairStream({ db, nats });
}

Deno.test("a repair is known by the entry that tells of it before the archive has taken that", () =>
  inWorld(async ({ nats, db, entries, streams }) => {
    await loseAndRepair({ nats, db, streams });
    // It has the archive written from now on, as that was.
    await using nc = await connect(nats);
    let lags = false;
    const late = lagging(nc, 0, 3, 1, "KV_UNIBUS");
    const connection = publishing(nc, (...args) => (lags ? late : nc).publish(...args));
    await using store = await openJetStream({ connection });
    const { config, state } = await streams.info("UNIBUS_HISTORY");
    const archived = await Promise.all(entries.map(async (_, i) => {
      return (await streams.getMessage("UNIBUS_HISTORY", { seq: state.first_seq + i }))!.data;
    }));
    await streams.delete("UNIBUS_HISTORY");
    await streams.add({ ...config, sources: [] });
    for (const data of archived) await nc.request("$UNIBUS.UNIBUS.archive", data);
    const onlyConfiguration = ["The configuration of stream UNIBUS_HISTORY was changed"];
    const { problems } = await verifyHistory(store);
    assert.deepEqual(problems.map((it) => it.message), onlyConfiguration);
    // A replica of the bucket that lags has not taken it either.
    lags = true;
    const found = await Array.fromAsync(sourceIn(store).check!());
    assert.deepEqual(found.map((it) => it.message), onlyConfiguration);
    await streams.purge("KV_UNIBUS", { filter: "$UNIBUS.UNIBUS.history.*" });
    const later = await verifyHistory(store);
    assert.match(later.problems.at(-1)!.message, /no entry says that they were restored/);
  }));

Deno.test("a replica that lags looks like no damage, and hides none", () =>
  inWorld(async ({ nats, db, entries, streams }) => {
    await loseAndRepair({ nats, db, streams });
    {
      await using store = await openJetStream(nats);
      for (let i = 40; i < 45; i++) await store.addUser(person(i));
    }
    const archived = async () => (await streams.info("UNIBUS_HISTORY")).state;
    await until(async () => (await archived()).messages === entries.length + 1 + 5, "it");
    const { first_seq: first, last_seq: last } = await archived();
    await using nc = await connect(nats);
    const verified = async (behind: number) => {
      const connection = lagging(nc, behind, 3, first);
      await using store = await openJetStream({ connection });
      const problems = await Array.fromAsync(sourceIn(store).check!());
      return problems.map((it) => it.message);
    };
    assert.deepEqual(await verified(first + 3), []);
    const message = (await streams.getMessage("UNIBUS_HISTORY", { seq: first + 1 }))!;
    const other = message.string().replace(/"by":"[^"]*"/, '"by":"eve"');
    await nc.request("$UNIBUS.UNIBUS.archive", other);
    for (const behind of [first + 3, last]) {
      const found = (await verified(behind)).join();
      assert.match(found, /^Revision 0\.\d+ was inserted: it stands after 0\.\d+$/);
    }
  }));

Deno.test("a bucket whose own history is another one keeps it, and that is told", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    const db = `${dir}/f.db`;
    {
      await using store = await openJetStream(nats);
      for (let i = 0; i < 5; i++) await store.addUser(person(i));
    }
    const putBack = await keepDisk(server, dir);
    {
      await using store = await openJetStream(nats);
      for (let i = 10; i < 15; i++) await store.addUser(person(i));
      await follow(nats, db, (await allEntries(store)).at(-1)!.revision);
    }
    await putBack();
    let own;
    {
      await using store = await openJetStream(nats);
      await store.addUser(person(15));
      own = await allEntries(store);
    }
    const { history } = await repairStream({ db, nats });
    assert.equal(history.restored, 0);
    assert.match(history.problem!, /is another one from revision 0\.\d+ on.* log prune --all/);
    await using store = await openJetStream(nats);
    assert.deepEqual((await allEntries(store)).slice(0, own.length), own);
  }));

Deno.test("pruning all begins a new history in a file", () =>
  inDir(async (dir) => {
    await using store = openSqlite(`${dir}/a.db`);
    for (let i = 0; i < 5; i++) await store.addUser(person(i));
    await signAs(store, "n1", createNkey("user"));
    assert.equal(await store.pruneHistory({ all: true }), 5);
    const { problems, witnesses } = await verifyHistory(store);
    assert.deepEqual([problems, witnesses[0]!.found], [[], "equal"]);
    assert.deepEqual((await allEntries(store)).map((it) => it.action), ["history.pruned"]);
  }));
