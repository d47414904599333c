/**
 * The life of an operator, as docs/migration.md tells it, step by step: one server on SQLite, three nodes,
 * one server on SQLite again. Every step ends with the same digest of everything.
 *
 * @module
 */

import assert from "node:assert/strict";
import { rename, rm } from "node:fs/promises";
import { connect, type NatsConnection, nkeyAuthenticator } from "@nats-io/transport-node";
import { openObjectBlobs } from "../../src/blobs/mod.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import { newUser } from "../conformance/kit/kit.ts";
import { enrol, newPeer, openRoom, type Peer } from "../nats/callout/bus.ts";
import { populate } from "../move/kit.ts";
import { launch, until } from "../cli/serve/kit.ts";
import {
  CLUSTER,
  digestOf,
  json,
  LONG,
  ready,
  run,
  type TestNode,
  testNodes,
  tryRun,
} from "./kit.ts";

const encoder = new TextEncoder();

Deno.test({
  name: "one server on SQLite becomes three nodes, loses one, and becomes one on SQLite again",
  ignore: !CLUSTER,
  fn: async (t) => {
    await using place = await testNodes(3);
    const { nodes, dir } = place;
    const [n1, n2, n3] = nodes as [TestNode, TestNode, TestNode];
    const alone = { clustered: false };
    const single = [...place.flags(n1)];
    const all = place.flags(...nodes);
    const db = `${n1.dir}/a.db`;
    const streams = `${n1.dir}/jetstream`;
    const jetstream = { more: ["--store", "jetstream"] };
    const natsOnly = { more: ["--nats-only"] };
    const peer = newPeer();
    let first = "";
    let blob = "";

    /** What is there is what was there at the beginning. */
    const same = async (...flags: string[]) => assert.equal(await digestOf(dir, ...flags), first);
    const step = (name: string, work: () => Promise<void>) =>
      t.step(name, async () => {
        const began = performance.now();
        await work();
        console.log(`${name}: ${Math.round(performance.now() - began)} ms`);
      });
    const healthy = () =>
      until(async () => (await tryRun("cluster", "status", ...all)).code === 0, "health", 60_000);
    const blobs = async (
      work: (it: Awaited<ReturnType<typeof openObjectBlobs>>) => Promise<void>,
      ...of: TestNode[]
    ) => {
      const servers = of.map((it) => it.nats);
      const connection = await connectNats({ servers, nkeySeed: place.keys.service.seed });
      try {
        await using it = await openObjectBlobs({ connection });
        await work(it);
      } finally {
        await connection.close();
      }
    };

    await step("a single server on SQLite, with users and rooms", async () => {
      await Deno.mkdir(n1.dir, { recursive: true });
      {
        await using store = openSqlite(db);
        await populate(store);
        await enrol(store, peer);
        await openRoom(store, "lobby", peer);
      }
      await n1.start(alone);
      await ready(n1);
      await run(
        "user",
        "add",
        "--handle",
        "eve",
        "--db",
        db,
        "--sign-pub",
        "e1".repeat(32),
        "--kex-pub",
        "e2".repeat(32),
      );
      first = await digestOf(dir, "--db", db);
      await n1.stop();
    });

    await step("migrate-to-kv, into the NATS server it manages", async () => {
      await n1.start({ ...alone, ...natsOnly });
      const { digests } = await json("migrate-to-kv", "--db", db, ...single);
      assert.equal(digests.all, first);
      await n1.stop();
      await n1.start({ ...alone, ...jetstream });
      await ready(n1);
      await same(...single);
      await blobs(async (it) => {
        const bytes = encoder.encode("kept all along ".repeat(100_000));
        blob = (await it.put(
          (async function* () {
            yield await Promise.resolve(bytes);
          })(),
          { maxBytes: 1e7 },
        )).id;
      }, n1);
      await n1.stop();
    });

    await step("its streams are not a cluster's: it is not started as a node on them", async () => {
      const refused = await (await launch(n1.dir, n1.args(jetstream))).ended;
      assert.equal(refused.code, 2, refused.stderr);
      assert.match(
        refused.stderr,
        /contains the streams of a standalone server, which a cluster node cannot/,
      );
    });

    await step("the second and the third node join", async () => {
      await rename(streams, `${streams}.single`);
      await Promise.all(nodes.map((it) => it.start(natsOnly)));
      const report = await json("cluster", "import", `${streams}.single`, ...all);
      assert.equal(report.digests.all, first);
      // Again, as after an interruption: nothing to do.
      const again = await json("cluster", "import", `${streams}.single`, ...all);
      assert.deepEqual(again.buckets.map((it: { copied: boolean }) => it.copied), [
        false,
        false,
        false,
      ]);
      for (const it of nodes) {
        await it.stop();
        await it.start(jetstream);
      }
      for (const it of nodes) await ready(it);
      await same(...all);
    });

    await step("scale to three copies", async () => {
      const { buckets } = await json("cluster", "scale", "--replicas", "3", ...all);
      assert.deepEqual(
        buckets.map((it: Record<string, unknown>) => [it.bucket, it.from, it.nodes]),
        ["UNIBUS", "UNIBUS_HISTORY", "UNIBUS_BLOBS"].map((it) => [it, 1, ["n1", "n2", "n3"]]),
      );
      await healthy();
      for (const it of nodes) await same(...place.flags(it));
    });

    await step("every node is restarted in turn, with clients connected", async () => {
      await using work = await clients(place, peer);
      for (const it of nodes) {
        await it.stop();
        await it.start(jetstream);
        await ready(it);
        await healthy();
      }
      const { written, longest } = await work.end();
      console.log(`  ${written} writes, longest gap ${Math.round(longest)} ms`);
      assert.ok(written > 50, `${written} writes`);
      assert.ok(longest < 20_000, `a gap of ${longest} ms`);
      for (const it of nodes) await same(...place.flags(it));
    });

    await step("a lost node is replaced by an empty one of its name", async () => {
      await n3.stop("SIGKILL");
      await rm(n3.dir, { recursive: true });
      const { healthy: well, problems } = await json2("cluster", "status", ...place.flags(n1, n2));
      assert.equal(well, false);
      assert.match(
        problems.join("\n"),
        /n3 is not reachable; start it, or replace it by an empty node/,
      );
      await same(...place.flags(n1, n2));
      await n3.start(jetstream);
      await ready(n3);
      await healthy();
      await same(...place.flags(n3));
      // Its copy is one that counts: without another node, it is of the majority.
      await n2.stop("SIGKILL");
      await until(async () => {
        return (await tryRun("user", "list", ...place.flags(n3))).code === 0;
      }, "an answer of the two");
      await n2.start(jetstream);
      await ready(n2);
      await healthy();
    });

    await step("back to one node", async () => {
      const { buckets } = await json("cluster", "scale", "--replicas", "1", "--keep", "n1", ...all);
      for (const it of buckets) assert.deepEqual(it.nodes, ["n1"]);
      await same(...all);
      await Promise.all(nodes.map((it) => it.stop()));
      const refused = await (await launch(n1.dir, n1.args({ ...alone, ...jetstream }))).ended;
      assert.equal(refused.code, 2, refused.stderr);
      assert.match(refused.stderr, /contains the streams of a cluster node/);
      await rename(streams, `${streams}.cluster`);
      await n1.start({ ...alone, ...natsOnly });
      const report = await json("cluster", "import", `${streams}.cluster`, ...single);
      assert.equal(report.digests.all, first);
      await n1.stop();
      await n1.start({ ...alone, ...jetstream });
      await ready(n1);
      await same(...single);
      await blobs(async (it) => {
        const opened = await it.get(blob);
        const text = await new Response(opened!.body).text();
        assert.equal(text, "kept all along ".repeat(100_000));
      }, n1);
      await n1.stop();
    });

    await step("migrate-to-sqlite", async () => {
      await n1.start({ ...alone, ...natsOnly });
      const { digests } = await json("migrate-to-sqlite", "--db", `${dir}/back.db`, ...single);
      assert.equal(digests.all, first);
      await n1.stop();
      await same("--db", `${dir}/back.db`);
      await n1.start({ ...alone, more: ["--db", `${dir}/back.db`] });
      await ready(n1);
      await n1.stop();
    });
  },
});

Deno.test({
  name: "a file is moved into three new nodes at once; all lost, a snapshot brings everything back",
  ignore: !CLUSTER,
  fn: async () => {
    await using place = await testNodes(3);
    const { nodes, dir } = place;
    const all = place.flags(...nodes);
    const natsOnly = { more: ["--nats-only"] };
    const db = `${dir}/single.db`;
    {
      await using store = openSqlite(db);
      await populate(store);
    }
    const first = await digestOf(dir, "--db", db);
    await Promise.all(nodes.map((it) => it.start(natsOnly)));
    const { digests } = await json("migrate-to-kv", "--db", db, "--replicas", "3", ...all);
    assert.equal(digests.all, first);
    await Promise.all(nodes.map((it) => it.stop()));
    await Promise.all(nodes.map((it) => it.start({ more: ["--store", "jetstream"] })));
    for (const it of nodes) await ready(it);
    const { buckets } = await json("cluster", "status", ...all);
    assert.equal(buckets[0].replicas, 3);
    await run("snapshot", "export", `${dir}/backup.ndjson`, ...all);
    for (const it of nodes) {
      await it.stop("SIGKILL");
      await rm(it.dir, { recursive: true });
    }
    await Promise.all(nodes.map((it) => it.start(natsOnly)));
    await run("snapshot", "import", `${dir}/backup.ndjson`, ...all);
    await run("cluster", "scale", "--replicas", "3", ...all);
    await Promise.all(nodes.map((it) => it.stop()));
    await Promise.all(nodes.map((it) => it.start({ more: ["--store", "jetstream"] })));
    for (const it of nodes) await ready(it);
    for (const it of nodes) assert.equal(await digestOf(dir, ...place.flags(it)), first);
  },
});

Deno.test({
  name: "a lost node is replaced by one of another name, which gets its copies and its vote",
  ignore: !CLUSTER,
  fn: async () => {
    await using place = await testNodes(4);
    const [n1, n2, n3, n4] = place.nodes as [TestNode, TestNode, TestNode, TestNode];
    const flags = { more: ["--store", "jetstream", "--replicas", "3"] };
    await Promise.all([n1, n2, n3].map((it) => it.start(flags)));
    for (const it of [n1, n2, n3]) await ready(it);
    {
      await using store = await place.open([n1, n2, n3], { opTimeout: 20_000 });
      await populate(store);
    }
    const first = await digestOf(place.dir, ...place.flags(n1));
    await n3.stop("SIGKILL");
    await n4.start(flags);
    const rest = place.flags(n1, n2, n4);
    const { size } = await json("cluster", "remove", "n3", ...rest);
    assert.equal(size, 3);
    await until(
      async () => {
        return (await tryRun("cluster", "status", ...rest)).code === 0;
      },
      "health",
      60_000,
    );
    const { nodes, buckets } = await json("cluster", "status", ...rest);
    assert.deepEqual(nodes.map((it: { name: string }) => it.name), ["n1", "n2", "n4"]);
    for (const { copies } of buckets) {
      const on = copies.map((it: { node: string }) => it.node).sort();
      assert.deepEqual(on, ["n1", "n2", "n4"]);
    }
    // Its vote is worth one: with n1 gone as well, the two decide.
    await n1.stop("SIGKILL");
    const two = place.flags(n2, n4);
    await until(async () => (await tryRun("user", "list", ...two)).code === 0, "an answer", 60_000);
    assert.equal(await digestOf(place.dir, ...two), first);
  },
});

Deno.test({
  name: "a node that never hears of another ends by itself, with the reason, and exit code 1",
  ignore: !LONG,
  fn: async () => {
    await using place = await testNodes(2);
    const [alone] = place.nodes as [TestNode];
    const began = performance.now();
    const child = await launch(alone.dir, alone.args({ more: ["--store", "jetstream"] }));
    const { code, stderr } = await child.ended;
    const took = performance.now() - began;
    assert.equal(code, 1, stderr);
    assert.match(stderr, /error: .*JetStream/);
    assert.ok(took > 110_000 && took < 140_000, `It took ${took} ms`);
  },
});

/** A command's JSON document, however it ended. */
// deno-lint-ignore no-explicit-any
async function json2(...args: string[]): Promise<any> {
  return JSON.parse((await tryRun(...args, "--json")).stdout);
}

interface Clients extends AsyncDisposable {
  /** Ends the work; every client must be connected still, and hear of a message. */
  end(): Promise<{ written: number; longest: number }>;
}

/** Writes that leave nothing behind, and a client of the bus, while nodes go and come. */
async function clients(
  place: Awaited<ReturnType<typeof testNodes>>,
  peer: Peer,
): Promise<Clients> {
  const store = await place.open(place.nodes, { opTimeout: 20_000 });
  const bus: NatsConnection = await connect({
    servers: place.nodes.map((it) => it.nats),
    authenticator: nkeyAuthenticator(peer.pair.getSeed()),
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
    pingInterval: 1000,
  });
  let heard = 0;
  bus.subscribe("room.lobby", { callback: (error) => void (error ?? heard++) });
  await bus.flush();
  let running = true;
  let written = 0;
  let longest = 0;
  const work = (async () => {
    let last = performance.now();
    while (running) {
      const user = newUser();
      await store.addUser(user);
      await store.deleteUser(user.signPub);
      written += 2;
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }
  })();
  work.catch(() => {});
  return {
    async end() {
      running = false;
      await work;
      assert.ok(!bus.isClosed(), "the bus client was given up");
      await until(() => {
        bus.publish("room.lobby", "hello");
        return heard > 0;
      }, "a message on the bus");
      return { written, longest };
    },
    async [Symbol.asyncDispose]() {
      running = false;
      await work.catch(() => {});
      await bus.close();
      await store.close();
    },
  };
}
