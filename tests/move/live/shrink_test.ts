/**
 * The live move from a bucket to a file.
 *
 * @module
 */

import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { openSqlite, type ShrinkPhase, shrinkStore } from "../../../mod.ts";
import { type TestServer, testServer } from "../../helpers/nats.ts";
import { person } from "../../helpers/sqlite.ts";
import { populate, snapshot } from "../kit.ts";
import { open, type Place, roleIn, usersIn, whoServes, withPlace } from "./shrink_kit.ts";

let server: TestServer;
Deno.test.beforeAll(async () => void (server = await testServer()));
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

function test(name: string, work: (place: Place) => Promise<void>): void {
  Deno.test(name, () => withPlace(server.url, work));
}

test("shrinkStore() moves a control plane to a file while it is written and read", async (at) => {
  // A busy machine must not make what it knows too old, or the switch too slow.
  await using it = await open(at, { maxStaleness: 60_000, opTimeout: 60_000 });
  const { store } = it;
  await populate(store);
  // Both have the follower's file open from then on.
  assert.ok((await store.history()).items.length > 0);
  await store.search!.users();
  const phases: ShrinkPhase[] = [];
  const acknowledged: string[] = [];
  let stopped = false;
  const refused: unknown[] = [];
  const writing = Array.from({ length: 8 }, async (_, i) => {
    for (let n = 0; !stopped; n++) {
      const user = person(`w${i}_${n}`);
      await store.addUser(user);
      acknowledged.push(user.signPub);
      // A store in a file answers without ever leaving the thread.
      await setImmediate();
    }
  });
  const reading = async () => {
    while (!stopped) {
      if (!await store.isAuthorized(person("ada").signPub)) refused.push(phases.at(-1));
      await store.getUser(person("ada").signPub).catch((error) => refused.push(error));
      await setImmediate();
    }
  };
  writing.push(reading());
  const report = await shrinkStore(store, {
    db: at.db,
    node: "n1",
    patience: 30_000,
    onProgress: ({ phase }) => phases.push(phase),
  });
  const before = acknowledged.length;
  while (acknowledged.length < before + 20) await new Promise((resolve) => setTimeout(resolve, 5));
  stopped = true;
  await Promise.all(writing);
  assert.deepEqual(refused, []);
  assert.equal(store.backend, "sqlite");
  assert.equal(store.generation, 1);
  assert.equal(phases.at(-1), "done");
  assert.equal(report.attempts, 1);
  assert.equal(await whoServes(at, acknowledged), "file");
  assert.deepEqual(roleIn(at.db), { role: "primary", generation: 1 });
  const text = await snapshot(store);
  await store.close();
  await using again = openSqlite(at.db);
  assert.equal(await snapshot(again), text);
  assert.equal(usersIn(at.db).length, acknowledged.length + 3);
});
