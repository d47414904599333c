import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { openJetStream, type Store } from "../../../mod.ts";
import { setAside } from "../../../src/follower/repair/accept.ts";
import { eventually } from "../../conformance/kit/kit.ts";
import { failsWith, inDir, person } from "../../helpers/sqlite.ts";
import { rawBucket, rowsOf } from "../kit.ts";
import { makeAgain, repaired, served } from "./kit.ts";

/** Makes the bucket again with everybody active, which nobody may notice too late. */
async function revived(servers: string): Promise<void> {
  await makeAgain(servers);
  await using store = await openJetStream({ servers });
  await store.addUser({ ...person("ada"), role: "admin" });
  await store.addUser(person("bob"));
}

/** Asks about a revoked user without a pause until it is stopped; returns how often the answer was yes. */
function asking(store: Store) {
  let goesOn = true;
  let yes = 0;
  const done = (async () => {
    while (goesOn) {
      if (await store.isAuthorized(person("bob").signPub)) yes++;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return yes;
  })();
  return () => {
    goesOn = false;
    return done;
  };
}

const alarmIn = (db: string) => rowsOf(db, "follower")[0]?.alarm;

/** What another process may do to a file that keeps an alarm, with when the new bucket was made. */
const MISTAKES: Record<string, string> = {
  "clears the alarm": "UPDATE follower SET alarm = NULL, created = coalesce(created, ?)",
  "clears the alarm and takes the new bucket for the old":
    "UPDATE follower SET alarm = NULL, position = 1, created = ?",
};

for (const [mistake, sql] of Object.entries(MISTAKES)) {
  Deno.test(`a process that ${mistake} lets nobody in: the stream is compared first`, () =>
    inDir(async (dir) => {
      await using it = await served();
      const db = `${dir}/f.db`;
      await using at = await it.open(db);
      // Loaded, and somebody watches.
      const unwatch = at.store.watchAccess(() => {});
      const stop = asking(at.store);
      await revived(it.server.url);
      await at.alarmed;
      await eventually("kept", () => Promise.resolve(typeof alarmIn(db) === "string"));
      const before = at.told.alarms;
      {
        await using raw = await rawBucket(it.server.url);
        using file = new DatabaseSync(db, { timeout: 60_000 });
        file.prepare(sql).run(raw.bucket.created);
      }
      // Opened again, found again, kept again.
      await eventually("again", () => Promise.resolve(at.told.alarms > before));
      await eventually("kept again", () => Promise.resolve(typeof alarmIn(db) === "string"));
      assert.deepEqual(await at.admits(), [false, false]);
      assert.deepEqual([at.told.renewals, await stop()], [0, 0]);
      unwatch();
    }));
}

Deno.test("a second alarm is renewed from as the first, also while a call of before the first goes on", () =>
  inDir(async (dir) => {
    await using it = await served();
    const db = `${dir}/f.db`;
    await using at = await it.open(db);
    const records = at.store.records()[Symbol.asyncIterator]();
    await records.next();
    for (let round = 1; round <= 2; round++) {
      await makeAgain(it.server.url);
      await eventually("alarm", () => Promise.resolve(at.told.alarms === round));
      assert.deepEqual(await at.admits(), [false, false]);
      await repaired(db, it.nats);
      await eventually("renewed", () => Promise.resolve(at.told.renewals === round));
      assert.deepEqual(await at.admits(), [true, false]);
      await at.follower.whenExact();
    }
    await records.return!();
  }));

Deno.test("a damage of the stream is found although a record is invalid, and not taken for it", () =>
  inDir(async (dir) => {
    await using it = await served();
    await using at = await it.open(`${dir}/f.db`);
    await using raw = await rawBucket(it.server.url);
    await raw.put(`users.${"ab".repeat(32)}`, "{}");
    await at.follower.whenExact();
    assert.equal(at.follower.state().degraded?.field, "invalid");
    await raw.api("PURGE", { filter: `$KV.UNIBUS.users.${person("bob").signPub}` });
    const alarm = await at.alarmed;
    assert.notEqual(alarm.field, "invalid");
    assert.deepEqual(await at.admits(), [false, false]);
  }));

Deno.test("a store whose bucket is gone makes no other, also when its file was renamed", () =>
  inDir(async (dir) => {
    await using it = await served();
    const db = `${dir}/f.db`;
    await using at = await it.open(db);
    await using raw = await rawBucket(it.server.url);
    await raw.api("PURGE", { filter: `$KV.UNIBUS.users.${person("bob").signPub}` });
    await at.alarmed;
    await eventually("kept", () => Promise.resolve(typeof alarmIn(db) === "string"));
    await raw.api("DELETE");
    await eventually(
      "let go of",
      () => Promise.resolve().then(() => setAside(db)).then(Boolean, () => false),
    );
    await new Promise((resolve) => setTimeout(resolve, 2500));
    await failsWith("not_found", () => openJetStream({ ...it.nats, create: false }));
    assert.deepEqual([await at.admits(), at.told.renewals], [[false, false], 0]);
  }));
