import assert from "node:assert/strict";
import { openJetStream, promoteFollower } from "../../../mod.ts";
import { openFollowed } from "../../../src/follower/open.ts";
import { repairStream } from "../../../src/follower/repair/repair.ts";
import { testCluster } from "../../helpers/nats.ts";
import { failsWith, inDir, person } from "../../helpers/sqlite.ts";
import { rawBucket } from "../kit.ts";

const CLUSTER = Deno.env.get("UNIBUS_CLUSTER") === "1";

/** Three servers with three users of which one is revoked; each has a store with a follower. */
async function nodes(dir: string) {
  const cluster = await testCluster(3);
  const stack = new AsyncDisposableStack();
  stack.use(cluster);
  const all = await Promise.all(cluster.urls.map(async (url, i) => {
    const db = `${dir}/n${i + 1}.db`;
    const alarmed = Promise.withResolvers<void>();
    const renewed = Promise.withResolvers<void>();
    const { store, follower } = await openFollowed({
      servers: [url, ...cluster.urls.filter((it) => it !== url)],
      replicas: 3,
      follower: db,
      onAlarm: () => alarmed.resolve(),
      onRenewed: renewed.resolve,
    });
    stack.defer(() => store.close());
    return { db, store, follower, alarmed: alarmed.promise, renewed: renewed.promise };
  }));
  const { store } = all[0]!;
  for (let i = 0; i < 3; i++) await store.addUser({ ...person(i), role: "admin" });
  await store.revokeUser(person(2).signPub);
  for (const { follower } of all) await follower.whenExact();
  return { cluster, all, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

Deno.test({
  name: "three nodes admit again after one repair of a bucket that was created again",
  ignore: !CLUSTER,
  fn: () =>
    inDir(async (dir) => {
      await using it = await nodes(dir);
      const { urls } = it.cluster;
      {
        await using raw = await rawBucket(urls[0]!);
        await raw.api("DELETE");
      }
      await (await openJetStream({ servers: urls, replicas: 3 })).close();
      await Promise.all(it.all.map(({ alarmed }) => alarmed));
      for (const { store } of it.all) {
        assert.equal(await store.isAuthorized(person(0).signPub), false);
      }
      // Once on each node: the first writes, the others take what is there.
      for (const [i, { db }] of it.all.entries()) {
        const { changes } = await retried(() => repairStream({ db, nats: { servers: urls } }));
        assert.equal(changes.restore > 0, i === 0);
      }
      await Promise.all(it.all.map(({ renewed }) => renewed));
      const digests = new Map<number, Set<string>>();
      for (const { store, follower } of it.all) {
        assert.equal(await store.isAuthorized(person(0).signPub), true);
        assert.equal(await store.isAuthorized(person(2).signPub), false);
        const { position, digest } = await follower.whenExact();
        digests.set(position, (digests.get(position) ?? new Set()).add(digest));
      }
      // Fences between them change no data.
      assert.equal(new Set([...digests.values()].flatMap((it) => [...it])).size, 1);
    }),
});

/** Tries again while those who had an alarm have not let go of the file. */
async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!/another process|in use/.test(String(error))) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

Deno.test({
  name: "promoteFollower() refuses while a majority of the other servers runs, also with force",
  ignore: !CLUSTER,
  fn: () =>
    inDir(async (dir) => {
      await using it = await nodes(dir);
      const { servers } = it.cluster;
      for (const { store } of it.all) await store.close();
      const { db } = it.all[0]!;
      await servers[0]!.stop();
      for (const force of [false, true]) {
        await failsWith("refused", () => promoteFollower({ db, force }), /still takes writes/);
      }
      // One of three is no majority.
      await servers[1]!.stop();
      assert.equal((await promoteFollower({ db, dryRun: true })).generation, 1);
      await servers[2]!.stop();
      assert.equal((await promoteFollower({ db })).counts.users, 3);
    }),
});
