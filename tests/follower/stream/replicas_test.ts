import assert from "node:assert/strict";
import { rm, stat } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { errors } from "@nats-io/transport-node";
import { openJetStream, type StoreError } from "../../../mod.ts";
import { Audits } from "../../../src/follower/watch/audits.ts";
import { openFile } from "../../../src/follower/file/prepare.ts";
import { Feed } from "../../../src/jetstream/log/feed.ts";
import { FENCE_KEY } from "../../../src/jetstream/records/keys.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { eventually } from "../../conformance/kit/kit.ts";
import { blocksOf, flipIn } from "../../faults/bits/damage.ts";
import { interposed } from "../../helpers/interposed.ts";
import { testCluster, testServer } from "../../helpers/nats.ts";
import { inDir, person } from "../../helpers/sqlite.ts";
import { writeUsers } from "../fill.ts";
import { rawBucket } from "../kit.ts";

/** Servers of a cluster may be busy with other tests, and elect leaders. */
const PATIENT = { bootstrapTimeout: 60_000, opTimeout: 30_000 };

/** Damages messages in the middle of a stream. Its index stays: without it the server gets all again. */
async function damage(store: string): Promise<void> {
  const block = (await blocksOf(store))[0]!;
  const { size } = await stat(block);
  for (const share of [0.3, 0.5, 0.7]) await flipIn(block, Math.floor(size * share), 2);
}

Deno.test("the follower of the node whose replica is damaged notices it and names the server", () =>
  inDir(async (dir) => {
    await using cluster = await testCluster(3);
    const [, damaged] = cluster.servers;
    const open = (server: { url: string }) =>
      openJetStream({
        ...PATIENT,
        servers: server.url,
        follower: `${dir}/${new URL(server.url).port}.db`,
      });
    {
      await using store = await openJetStream({ ...PATIENT, servers: cluster.urls, replicas: 3 });
      await store.addUser({ ...person("admin"), role: "admin" });
    }
    await writeUsers(damaged!.url, 300);
    for (const server of cluster.servers) {
      await using store = await open(server);
      assert.equal(await store.isAuthorized(person("bulk 1").signPub), true);
    }
    await damaged!.stop();
    await damage(`${damaged!.directory}/store`);
    await damaged!.restart();
    await cluster.ready();
    // As often as it is asked: it is not left to chance which replica is read.
    for (let i = 0; i < 5; i++) {
      await assert.rejects(() => open(damaged!), (error: StoreError) => {
        assert.equal(error.code, "corrupt");
        assert.equal(error.field, "replica");
        assert.match(
          error.message,
          /^Following bucket UNIBUS: the replica of server n2 is damaged:/,
        );
        assert.match(error.hint!, /remove its JetStream directory and start it/);
        return true;
      });
    }
    await damaged!.stop();
    await rm(`${damaged!.directory}/store`, { recursive: true });
    await damaged!.restart();
    await cluster.ready();
    // Nothing has to be repaired or accepted.
    await using store = await open(damaged!);
    assert.equal(await store.isAuthorized(person("bulk 299").signPub), true);
  }));

Deno.test("a fence without an answer is written again when a node opens its store", () =>
  inDir(async (dir) => {
    await using cluster = await testCluster(3);
    const follower = `${dir}/f.db`;
    {
      const all = { ...PATIENT, servers: cluster.urls, replicas: 3, follower };
      await using store = await openJetStream(all);
      await store.addUser({ ...person("admin"), role: "admin" });
    }
    const connection = await connectNats({ servers: cluster.urls[0]! });
    try {
      let lost = 0;
      const losing = interposed(connection, (_, subject) => subject.endsWith(`.${FENCE_KEY}`), {
        instead: () => {
          lost++;
          return Promise.reject(new errors.TimeoutError());
        },
      });
      await using store = await openJetStream({ ...PATIENT, connection: losing, follower });
      assert.equal(lost, 1);
      assert.equal(await store.isAuthorized(person("admin").signPub), true);
    } finally {
      await connection.close();
    }
  }));

Deno.test("what most replicas lost is not blamed on one, at the start and in an open store", () =>
  inDir(async (dir) => {
    await using cluster = await testCluster(3);
    const nats = { ...PATIENT, servers: cluster.urls[0]!, replicas: 3 };
    const { promise, resolve } = Promise.withResolvers<StoreError>();
    await using store = await openJetStream({
      ...nats,
      follower: `${dir}/open.db`,
      onAlarm: resolve,
    });
    const follower = `${dir}/f.db`;
    {
      await using other = await openJetStream({ ...nats, follower });
      for (let i = 0; i < 5; i++) await other.addUser(person(i));
    }
    assert.equal(await store.isAuthorized(person(1).signPub), true);
    await using raw = await rawBucket(nats.servers);
    await raw.api("PURGE", { filter: `$KV.UNIBUS.users.${person(3).signPub}` });
    const check = (error: StoreError) => {
      assert.match(error.field!, /^(sequence|messages)$/);
      assert.match(error.hint!, /repair --from follower/);
      return true;
    };
    check(await promise);
    assert.equal(await store.isAuthorized(person(1).signPub), false);
    await assert.rejects(() => openJetStream({ ...nats, follower }), check);
  }));

Deno.test("a feed reads the replica of the server that it is told", () =>
  inDir(async () => {
    await using cluster = await testCluster(3);
    {
      await using store = await openJetStream({ ...PATIENT, servers: cluster.urls, replicas: 3 });
      await store.addUser(person(1));
    }
    await using raw = await rawBucket(cluster.urls[0]!);
    for (const server of ["n1", "n2", "n3", "n1", "n2", "n3"]) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const feed = new Feed(raw.bucket, {
        pattern: ">",
        piece: 10,
        server,
        onEntry: () => resolve(),
        onEnd: reject,
      });
      await feed.start();
      await promise;
      const { nc, stream } = raw.bucket;
      // A list that a busy server did not answer in time lacks what it knows.
      await eventually(`a consumer on ${server}`, async () => {
        const timeout = 60_000;
        const answer = await nc.request(`$JS.API.CONSUMER.LIST.${stream}`, "{}", { timeout });
        const { consumers } = answer.json<{ consumers: { cluster: { leader: string } }[] }>();
        return consumers.some(({ cluster }) => cluster.leader === server);
      });
      feed.stop();
    }
  }));

Deno.test("a follower goes over the whole stream again and again", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/f.db`;
    const nats = { servers: server.url };
    {
      await using store = await openJetStream({ ...nats, follower: db });
      for (let i = 0; i < 100; i++) await store.addUser(person(i));
    }
    await using raw = await rawBucket(server.url);
    const thread = openFile(db, { bucket: "UNIBUS", servers: [server.url], at: "" });
    const held = (await thread.ask("held", undefined))!;
    const { promise, resolve } = Promise.withResolvers<StoreError>();
    let asked = 0;
    const current = () => {
      asked++;
      return held;
    };
    const of = { bucket: raw.bucket, thread, path: db, guards: false, current, interval: 20 };
    const found: StoreError[] = [];
    const onFound = (error: StoreError) => {
      found.push(error);
      resolve(error);
    };
    const audits = new Audits(of, { onAlarm: onFound, onDamage: onFound });
    audits.repeat();
    const looks = async (more: number) => {
      const wanted = asked + more;
      while (asked < wanted) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    try {
      await looks(3);
      // A move compares what it copies itself.
      raw.bucket.mark.begin({ state: "in_progress" }, 0);
      await looks(2);
      const file = new DatabaseSync(db);
      // Not among the newest: nothing else looks at it.
      file.exec(`UPDATE follower_entries SET hash = zeroblob(16) WHERE revision = (
        SELECT revision FROM follower_entries ORDER BY revision LIMIT 1)`);
      file.close();
      await looks(3);
      assert.deepEqual(found, []);
      raw.bucket.mark.begin({ state: "complete" }, 0);
      const alarm = await promise;
      assert.equal(alarm.field, "sequence");
    } finally {
      audits.stop();
      await thread.close();
    }
  }));
