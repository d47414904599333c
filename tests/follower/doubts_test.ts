import assert from "node:assert/strict";
import { cp, rm } from "node:fs/promises";
import { openJetStream, type Store, type StoreError } from "../../mod.ts";
import { Doubts } from "../../src/follower/watch/doubts.ts";
import { openBucket } from "../../src/jetstream/mod.ts";
import { eventually } from "../conformance/kit/kit.ts";
import { type TestServer, testServer } from "../helpers/nats.ts";
import { failsWith, inDir, person } from "../helpers/sqlite.ts";
import { rowsOf } from "./kit.ts";

/** A server with users of whom all but the first were revoked after its disk was copied. */
async function revoked(dir: string) {
  const server: TestServer = await testServer();
  const nats = { servers: server.url };
  const users = Array.from({ length: 300 }, (_, i) => person(i));
  const disk = `${server.directory}/store`;
  {
    // A lone server takes some hundreds of changes a second.
    await using store = await openJetStream({ ...nats, opTimeout: 60_000 });
    await Promise.all(users.map((it) => store.addUser(it)));
  }
  await server.stop();
  await cp(disk, `${dir}/kept`, { recursive: true });
  await server.restart();
  const { promise: alarmed, resolve } = Promise.withResolvers<StoreError>();
  const options = { ...nats, follower: `${dir}/f.db`, onAlarm: resolve };
  {
    await using store = await openJetStream({ ...options, opTimeout: 60_000 });
    await Promise.all(users.slice(1).map(({ signPub }) => store.revokeUser(signPub)));
  }
  const store = await openJetStream(options);
  return {
    server,
    store,
    alarmed,
    users: users.map(({ signPub }) => signPub),
    async putBack() {
      await server.stop();
      await rm(disk, { recursive: true });
      await cp(`${dir}/kept`, disk, { recursive: true });
      await server.restart();
    },
    async [Symbol.asyncDispose]() {
      await store.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Asks about users until it is told to end; who was let in. */
function asking(store: Store, users: string[]): () => Promise<Set<string>> {
  const letIn = new Set<string>();
  let ended = false;
  const done = (async () => {
    while (!ended) {
      await Promise.all(users.map(async (it) => await store.isAuthorized(it) && letIn.add(it)));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  return async () => {
    ended = true;
    await done;
    return letIn;
  };
}

for (const isWarm of [false, true]) {
  const memory = isWarm ? "its users in memory" : "nothing in memory";
  Deno.test(`a store with ${memory} lets no revoked user in when its lone server comes back on an earlier disk`, () =>
    inDir(async (dir) => {
      await using at = await revoked(dir);
      if (isWarm) assert.equal(await at.store.isAuthorized(at.users[0]!), true);
      const end = asking(at.store, at.users.slice(1));
      await at.putBack();
      await at.alarmed;
      assert.deepEqual([...await end()], []);
      await failsWith("corrupt", () => at.store.getUser(at.users[1]!));
    }));
}

Deno.test("a store on a lone server that was restarted answers again when stream and file were compared", () =>
  inDir(async (dir) => {
    await using at = await revoked(dir);
    await at.server.stop();
    const asked = at.store.getUser(at.users[1]!);
    await at.server.restart();
    assert.equal((await asked)?.status, "revoked");
    assert.equal(await at.store.isAuthorized(at.users[0]!), true);
    await at.store.addUser(person("new"));
    assert.equal(await at.store.isAuthorized(person("new").signPub), true);
  }));

Deno.test("closing waits until the file has what was acknowledged", () =>
  inDir(async (dir) => {
    await using at = await revoked(dir);
    for (let i = 1; i < 100; i += 9) {
      await Promise.all(at.users.slice(i, i + 9).map((it) => at.store.deleteUser(it)));
    }
    await at.store.close();
    assert.equal(rowsOf(`${dir}/f.db`, "users").length, 201);
  }));

Deno.test("a stream stays in doubt until it was compared after the last loss of the connection", () =>
  inDir(async () => {
    await using server = await testServer();
    await using store = await openJetStream({ servers: server.url });
    await store.health();
    const { bucket, end } = await openBucket({ servers: server.url });
    const told: boolean[] = [];
    const { promise: settled, resolve } = Promise.withResolvers<void>();
    const comparing: PromiseWithResolvers<void>[] = [];
    const { promise: first, resolve: begun } = Promise.withResolvers<void>();
    const { promise: last, resolve: lastBegun } = Promise.withResolvers<void>();
    const doubts = new Doubts(bucket, {
      compare: () => {
        const one = Promise.withResolvers<void>();
        comparing.push(one);
        if (comparing.length === 1) begun();
        // The second fails and is tried again; the first ends after another loss.
        if (comparing.length === 2) one.reject(new Error("no answer"));
        if (comparing.length === 3) one.resolve();
        if (comparing.length === 4) lastBegun();
        return one.promise;
      },
      onDoubt: (inDoubt) => {
        told.push(inDoubt);
        if (!inDoubt) resolve();
      },
    });
    assert.equal(doubts.inDoubt, false);
    await server.stop();
    await server.restart();
    await first;
    assert.equal(doubts.inDoubt, true);
    await server.stop();
    await eventually("told of the second loss", () => Promise.resolve(told.length === 2));
    comparing[0]!.resolve();
    await server.restart();
    await settled;
    assert.deepEqual(told, [true, true, false]);
    assert.deepEqual([comparing.length, doubts.inDoubt], [3, false]);
    await server.stop();
    await server.restart();
    await last;
    doubts.stop();
    comparing[3]!.resolve();
    await bucket.nc.flush();
    assert.deepEqual([told.length, doubts.inDoubt], [4, true]);
    await end();
  }));
