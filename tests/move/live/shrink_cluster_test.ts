/**
 * Moves to a file out of a cluster of three nodes: with elections, with other nodes that serve, and when
 * the majority is lost.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import {
  type Follower,
  followStore,
  lossOf,
  openSqlite,
  promoteFollower,
  type ServerEnd,
  shrinkStore,
} from "../../../mod.ts";
import { freezeWriters, thawWriters } from "../../../src/jetstream/freeze.ts";
import { isWrittenSince } from "../../../src/jetstream/log/fence.ts";
import { type TestCluster, testCluster } from "../../helpers/nats.ts";
import { person } from "../../helpers/sqlite.ts";
import { rawBucket } from "../../follower/kit.ts";
import { until } from "../../cli/serve/kit.ts";
import { populate, snapshot } from "../kit.ts";
import { failure, open, toN1, whoServes, withPlace } from "./shrink_kit.ts";

let cluster: TestCluster;
Deno.test.beforeAll(async () => void (cluster = await testCluster(3)));
Deno.test.afterAll(async () => await cluster[Symbol.asyncDispose]());

const ada = person("ada");

/** A replica of a stream beside its leader, as JetStream tells of it. */
interface Copy {
  current: boolean;
  lag?: number;
}

Deno.test("nothing is written behind the fence of a freeze while leaders are elected", () =>
  withPlace(cluster.urls, async (at) => {
    await using it = await open(at, { replicas: 3, bootstrapTimeout: 60_000 });
    await it.store.addUser(ada);
    await using raw = await rawBucket(cluster.urls[0]!, at.nats.bucket);
    const { bucket } = raw;
    let elected = 0;
    for (let round = 0; round < 4; round++) {
      let stopped = false;
      let written = 0;
      const writing = Array.from({ length: 24 }, async (_, i) => {
        for (let n = 0; !stopped; n++) {
          await bucket.put(`users.${round}_${i}_${n}`, "{}", Date.now() + 1000)
            .then(() => written++, () => pause(1));
        }
      });
      while (written < 200) await pause(1);
      // The leader steps down in the same moment.
      const electing = raw.api("LEADER.STEPDOWN").then(() => elected++);
      await pause(Math.random() * 5);
      const fence = await freezeWriters(bucket, Date.now() + 60_000);
      await electing;
      await pause(300);
      stopped = true;
      await Promise.all(writing);
      const except = (key: string) => key.startsWith("meta.");
      const since = { sequence: fence, except };
      assert.equal(await isWrittenSince(bucket, since, Date.now() + 60_000), false);
      await thawWriters(bucket, Date.now() + 60_000);
    }
    assert.equal(elected, 4);
  }));

Deno.test("a control plane moves to one of three nodes while all write; the others fail closed", () =>
  withPlace(cluster.urls, async (at) => {
    await using n1 = await open(at, { replicas: 3, bootstrapTimeout: 60_000 });
    await populate(n1.store);
    await using n2 = await open({ ...at, follower: join(at.dir, "n2.db") });
    await using n3 = await followStore({ nats: at.nats, db: join(at.dir, "n3.db") });
    while (!(await n2.store.health()).ok) await pause(20);
    const acknowledged: string[] = [];
    let stopped = false;
    const writing = [n1, n1, n2, n2].map(async ({ store }, i) => {
      for (let n = 0; !stopped; n++) {
        const user = person(`c${i}_${n}`);
        await store.addUser(user).then(() => acknowledged.push(user.signPub), () => pause(5));
        await pause(1);
      }
    });
    await pause(200);
    await shrinkStore(n1.store, toN1(at));
    await until(async () => !await n2.store.isAuthorized(ada.signPub), "the refusal of n2");
    await assert.rejects(n2.store.listUsers(), failure("refused", "moved"));
    await assert.rejects(n2.store.search!.users(), failure("refused", "moved"));
    await assert.rejects(n3.whenExact(), failure("refused", "moved"));
    await assert.rejects(
      open({ ...at, follower: join(at.dir, "n4.db") }),
      failure("refused", "moved"),
    );
    await pause(50);
    stopped = true;
    await Promise.all(writing);
    assert.equal(await whoServes(at, acknowledged), "file");
    assert.equal(await n1.store.isAuthorized(ada.signPub), true);
    // What n2 has is no way round.
    await n2.store.close();
    const db = join(at.dir, "n2.db");
    const nats = { servers: "nats://127.0.0.1:1" };
    await assert.rejects(promoteFollower({ db, nats, dryRun: true }), failure("refused", "moved"));
  }));

Deno.test("with the majority lost, what a promotion would lose is shown, and is lost", async () => {
  await using own = await testCluster(3);
  await withPlace(own.urls, async (at) => {
    let follower: Follower;
    {
      await using it = await open(at, { replicas: 3, bootstrapTimeout: 60_000 });
      await populate(it.store);
      follower = it.follower;
      await follower.whenExact();
    }
    const text = await (async () => {
      // Written when nothing follows.
      await using it = await open({ ...at, follower: join(at.dir, "other.db") });
      const before = await snapshot(it.store);
      await it.store.addUser(person("late"));
      await it.store.revokeUser(person("bob").signPub);
      await it.follower.whenExact();
      await using raw = await rawBucket(own.urls[0]!, at.nats.bucket);
      await until(async () => {
        const { cluster } = (await raw.api("INFO")).json<{ cluster: { replicas: Copy[] } }>();
        return cluster.replicas.every(({ current, lag = 0 }) => current && lag === 0);
      }, "the same on all servers");
      return before;
    })();
    const [kept, ...gone] = own.servers;
    for (const { pid } of gone) process.kill(pid, "SIGKILL");
    const monitors = [kept!.monitoringUrl!, gone[0]!.monitoringUrl!];
    const report = await lossOf({ db: at.follower, monitors });
    const [n1, n2] = report.servers as [ServerEnd, ServerEnd];
    assert.ok(n1.last! >= report.position + 2, JSON.stringify(report));
    assert.equal(n1.error, null);
    assert.equal(n2.last, null);
    assert.ok(n2.error !== null);
    assert.equal(report.exact, true);
    await promoteFollower({ db: at.follower, nats: { servers: own.urls } });
    await using store = openSqlite(at.follower);
    assert.equal(await snapshot(store), text);
    assert.equal(store.generation, report.generation);
  });
});

Deno.test("lossOf() refuses what is no follower", () =>
  withPlace([], async (at) => {
    await assert.rejects(lossOf({ db: at.follower }), failure("not_found"));
    openSqlite(at.db).close();
    await assert.rejects(lossOf({ db: at.db }), failure("refused", "role"));
  }));
