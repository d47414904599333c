/**
 * A control plane that moves to a bucket while it serves.
 *
 * @module
 */

import assert from "node:assert/strict";
import { growStore, openJetStream, openSqlite } from "../../../../mod.ts";
import { failsWith, person } from "../../../helpers/sqlite.ts";
import { kvSnapshot, placeTests, populate, snapshot } from "../../kit.ts";
import { openTarget, servingSide, sidesOf } from "./kit.ts";

const test = placeTests();

test("A store continues on the bucket with all that it had, and its file is refused", async ({ db, nats }) => {
  await using store = openSqlite(db);
  await populate(store);
  const before = await snapshot(store);
  await using target = await openTarget(nats);
  const phases = new Set<string>();
  const report = await growStore(store, { target, onProgress: ({ phase }) => phases.add(phase) });
  assert.equal(store.backend, "jetstream");
  assert.equal(store.generation, 1);
  assert.equal(await snapshot(store), before);
  assert.equal(await kvSnapshot(nats), before);
  assert.deepEqual([...phases], ["check", "copy", "verify", "ready", "switch", "done"].slice(1));
  assert.deepEqual([report.bucket, report.noted], [nats.bucket, true]);
  assert.equal(report.counts.users, 4);
  await store.addUser(person("after"));
  await failsWith("refused", () => openSqlite(db), /its control plane moved to bucket/);
  const sides = await sidesOf(db, nats);
  assert.equal(servingSide(sides), "bucket");
  assert.deepEqual([sides.bucket.users.size, sides.file.users.size], [5, 4]);
  await using again = await openJetStream({ ...nats, create: false });
  assert.equal(again.generation, 1);
});

test("Writes during the whole move are all in the bucket, each once", async ({ db, nats }) => {
  await using store = openSqlite(db);
  await populate(store);
  await using target = await openTarget(nats);
  const acknowledged: string[] = [];
  let isOver = false;
  const writing = (async () => {
    for (let n = 0; !isOver; n++) {
      await store.addUser(person(n));
      acknowledged.push(person(n).signPub);
      if (n % 3 === 0) await store.revokeUser(person(n).signPub);
      if (n % 7 === 0) await store.deleteUser(person(n).signPub);
      assert.equal(await store.isAuthorized(person("ada").signPub), true);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  await growStore(store, { target });
  isOver = true;
  await writing;
  const deleted = (n: number) => n % 7 === 0;
  const { bucket } = await sidesOf(db, nats);
  acknowledged.forEach((key, n) => assert.equal(bucket.users.has(key), !deleted(n), `user ${n}`));
  assert.equal(bucket.users.size, 4 + acknowledged.filter((_, n) => !deleted(n)).length);
});
