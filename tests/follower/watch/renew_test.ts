import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { openJetStream, promoteFollower } from "../../../mod.ts";
import { setAside } from "../../../src/follower/repair/accept.ts";
import { failsWith, inDir, person } from "../../helpers/sqlite.ts";
import { keepDisk, rawBucket } from "../kit.ts";
import { makeAgain, repaired, served, setAsideSoon } from "./kit.ts";

/** The mark of a move that raised the generation to 3. */
const MARK = JSON.stringify({
  v: 1,
  state: "complete",
  by: "migration",
  source: "source-of-it",
  startedAt: "2026-01-01T00:00:00.000Z",
  generation: 3,
});

Deno.test("a store answers again when its bucket was written back, with a new generation", () =>
  inDir(async (dir) => {
    await using it = await served();
    {
      await using raw = await rawBucket(it.server.url);
      await raw.put("meta.migration", MARK);
    }
    const db = `${dir}/f.db`;
    await using at = await it.open(db);
    assert.equal(at.store.generation, 3);
    let changes = 0;
    const unwatch = at.store.watchAccess(() => void changes++);
    await makeAgain(it.server.url);
    await at.alarmed;
    assert.deepEqual(await at.admits(), [false, false]);
    // The store finds the loss by itself too; whichever is first, the follower has the way out.
    assert.equal((await at.store.health()).ok, false);
    const found = await failsWith("corrupt", () => at.store.getUser(person("ada").signPub));
    assert.match(found, /^Following bucket UNIBUS: /);
    const told = changes;
    await repaired(db, it.nats);
    await at.renewed;
    assert.deepEqual(await at.admits(), [true, false]);
    // A bucket that was created again counts from 1 again: its revisions must not go back.
    assert.deepEqual([at.store.generation, at.follower.alarm], [4, null]);
    // Those who watch are told that anything may have changed, and of what changes from then on.
    assert.ok(changes > told);
    await at.store.addUser(person("eve"));
    await at.store.revokeUser(person("eve").signPub);
    await at.follower.whenExact();
    assert.equal((await at.store.search!.users()).items.length, 3);
    unwatch();
  }));

Deno.test("a store answers again when the stream was taken as it is", () =>
  inDir(async (dir) => {
    await using it = await served();
    const db = `${dir}/f.db`;
    const putBack = await keepDisk(it.server, dir);
    await using at = await it.open(db);
    await at.store.addUser(person("eve"));
    await at.follower.whenExact();
    await putBack();
    await at.alarmed;
    // The alarm is in the file, so nothing changes by itself.
    await new Promise((resolve) => setTimeout(resolve, 2500));
    assert.deepEqual(await at.admits(), [false, false]);
    // Nor does it open what an import has half written.
    await using raw = await rawBucket(it.server.url);
    await raw.put("meta.migration", MARK.replace("complete", "in_progress"));
    await setAsideSoon(db);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.deepEqual([at.told.renewals, await at.admits()], [0, [false, false]]);
    await raw.put("meta.migration", MARK);
    await at.renewed;
    assert.deepEqual(await at.admits(), [true, false]);
    assert.equal(await at.store.isAuthorized(person("eve").signPub), false);
    // It follows, and would notice again.
    assert.equal((await at.follower.whenExact()).role, "apply");
  }));

Deno.test("a store that opens shut answers after a repair; one that does not open looks no more", () =>
  inDir(async (dir) => {
    await using it = await served();
    const db = `${dir}/f.db`;
    await (await it.open(db)).store.close();
    await makeAgain(it.server.url);
    await failsWith("corrupt", () => it.open(db));
    {
      await using at = await it.open(db, true);
      assert.deepEqual(await at.admits(), [false, false]);
      assert.equal(at.follower.alarm?.field, "stream");
      await repaired(db, it.nats);
      await at.renewed;
      assert.deepEqual(await at.admits(), [true, false]);
    }
    await makeAgain(it.server.url);
    await failsWith("corrupt", () => it.open(db));
    await setAsideSoon(db);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.equal(existsSync(db), false);
  }));

Deno.test("a store that opens shut beside a damaged file answers when it was renamed", () =>
  inDir(async (dir) => {
    await using it = await served();
    const db = `${dir}/f.db`;
    await (await it.open(db)).store.close();
    await Deno.writeFile(db, new Uint8Array(8192).fill(0xa5));
    await using at = await it.open(db, true);
    const { role, exact, position, alarm } = at.follower.state();
    assert.deepEqual([role, exact, position, alarm?.field], ["read", false, 0, "file"]);
    assert.deepEqual(await at.admits(), [false, false]);
    await setAsideSoon(db);
    await at.renewed;
    assert.deepEqual(await at.admits(), [true, false]);
    await at.follower.whenExact();
  }));

Deno.test("two stores with one file answer again after one repair, and one of them applies", () =>
  inDir(async (dir) => {
    await using it = await served();
    const db = `${dir}/f.db`;
    await using first = await it.open(db);
    await using second = await it.open(db);
    await using raw = await rawBucket(it.server.url);
    await raw.api("PURGE", { filter: `$KV.UNIBUS.users.${person("bob").signPub}` });
    await Promise.all([first.alarmed, second.alarmed]);
    await repaired(db, it.nats);
    await Promise.all([first.renewed, second.renewed]);
    for (const one of [first, second]) assert.deepEqual(await one.admits(), [true, false]);
    const roles = () => [first, second].map(({ follower }) => follower.state().role).sort();
    // Both read until the repair has let go of the file.
    while (roles()[0] !== "apply") await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(roles(), ["apply", "read"]);
  }));

Deno.test("a store that is closed after an alarm looks no more", () =>
  inDir(async (dir) => {
    await using it = await served();
    const db = `${dir}/f.db`;
    {
      await using at = await it.open(db);
      await makeAgain(it.server.url);
      await at.alarmed;
    }
    // Nobody has the file, and a test that leaves a timer fails.
    setAside(db);
  }));

Deno.test("a promoted follower has a higher generation than its bucket had", () =>
  inDir(async (dir) => {
    const db = `${dir}/f.db`;
    await using it = await served();
    {
      await using raw = await rawBucket(it.server.url);
      await raw.put("meta.migration", MARK);
      await using _at = await it.open(db);
    }
    await it.server.stop();
    assert.equal((await promoteFollower({ db })).generation, 4);
  }));

Deno.test("a snapshot restored into a bucket does not lower its generation", async () => {
  await using it = await served();
  {
    await using raw = await rawBucket(it.server.url);
    await raw.put("meta.migration", MARK);
    await using store = await openJetStream(it.nats);
    await store.restore(store.records(), { replace: true });
  }
  await using store = await openJetStream(it.nats);
  assert.equal(store.generation, 3);
});
