/** What clients of three nodes notice when the nodes are restarted one after another, or hang. */

import assert from "node:assert/strict";
import process from "node:process";
import {
  type Client,
  createClient,
  createIdentity,
  type Identity,
  openRooms,
} from "@unibus/membership/client";
import { isStoreError } from "@unibus/membership";
import { isAlive, until } from "../../cli/serve/kit.ts";
import { CLUSTER, json, ready, type TestNode, type TestNodes, testNodes, tryRun } from "../kit.ts";

const RATE = 200;

interface Load {
  /** Stops it and returns how it went. */
  stop(): Promise<{ calls: number; failed: string[]; slowest: number }>;
}

/** Calls `RATE` times a second, or as often as a busy machine comes to it: nine reads to one write. */
function load(client: Client): Load {
  const failed: string[] = [];
  let calls = 0;
  let slowest = 0;
  const under = new Set<Promise<void>>();
  const timer = setInterval(() => {
    const began = performance.now();
    const isWrite = calls++ % 10 === 0;
    const call: Promise<unknown> = isWrite ? client.createInvite() : client.me();
    const done = call.then(
      () => void (slowest = Math.max(slowest, performance.now() - began)),
      (error) => void failed.push(`${isWrite ? "write" : "read"}: ${error.message}`),
    ).finally(() => under.delete(done));
    under.add(done);
  }, 1000 / RATE);
  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(under);
      return { calls, failed, slowest };
    },
  };
}

async function threeNodes(): Promise<TestNodes & { identity: Identity }> {
  const place = await testNodes(3);
  try {
    const more = ["--store", "jetstream", "--replicas", "3"];
    await Promise.all(place.nodes.map((it) => it.start({ more })));
    await Promise.all(place.nodes.map((it) => ready(it)));
    const identity = createIdentity();
    await using store = await place.open(place.nodes);
    await store.addUser({ ...identity, handle: "ada", role: "admin" });
    return Object.assign(place, { identity });
  } catch (error) {
    await place[Symbol.asyncDispose]();
    throw error;
  }
}

/** Waits until a node tells its clients of three. */
async function listed(client: Client): Promise<void> {
  const count = async () => {
    try {
      return (await client.nodes()).nodes.length;
    } catch (error) {
      // The user may not have arrived there yet.
      if (isStoreError(error)) return 0;
      throw error;
    }
  };
  await until(async () => await count() === 3, "three nodes in the list");
}

Deno.test({
  name:
    "a rolling restart fails calls of a client with one URL, and none with three or with one that learns",
  ignore: !CLUSTER,
  fn: async () => {
    await using place = await threeNodes();
    const { nodes, identity } = place;
    const urls = nodes.map((it) => it.http);
    using one = createClient({ url: urls[1]!, identity, learnNodes: false });
    using three = createClient({ url: urls, identity });
    using learns = createClient({ url: urls[1]!, identity });
    await listed(learns);
    const loads = [one, three, learns].map(load);
    const { restarted } = await json("cluster", "restart", "--rolling", ...place.flags(...nodes));
    assert.deepEqual(restarted.map((it: { node: string }) => it.node).sort(), ["n1", "n2", "n3"]);
    for (const { daemon } of nodes) {
      assert.equal(daemon!.events().filter((it) => it.event === "ready").length, 2);
    }
    const [a, b, c] = await Promise.all(loads.map((it) => it.stop()));
    for (const [name, it] of Object.entries({ one: a!, three: b!, learns: c! })) {
      const { calls, failed, slowest } = it;
      console.log(
        `${name}: ${failed.length} of ${calls} failed, ${Math.round(slowest)} ms at most`,
      );
    }
    assert.ok(a!.failed.length > 0, "with one URL some fail");
    assert.deepEqual(b!.failed, []);
    assert.deepEqual(c!.failed, []);
  },
});

Deno.test({
  name: "a client and its bus connection leave a node that hangs or is killed",
  ignore: !CLUSTER,
  fn: async () => {
    await using place = await threeNodes();
    const { nodes, identity } = place;
    const [n1, n2, n3] = nodes as [TestNode, TestNode, TestNode];
    using client = createClient({ url: n1.http, identity });
    await listed(client);
    // So the connection is a session, certified for n1 and admitted by the others.
    assert.ok((await client.nodes()).nodes.every((it) => it.sessions));
    await using rooms = await openRooms({ client, identity, nats: { servers: n1.nats } });
    const room = await rooms.createRoom({ id: "kitchen", members: [] });
    await room.send("before");

    // The process hangs, its nats-server runs.
    process.kill(n1.daemon!.process.pid, "SIGSTOP");
    try {
      const began = performance.now();
      await client.me();
      assert.ok(performance.now() - began < 3_000, "a read");
      const again = performance.now();
      await client.createInvite();
      assert.ok(performance.now() - again < 1_000, "a write");
    } finally {
      process.kill(n1.daemon!.process.pid, "SIGCONT");
    }

    // Both are killed.
    const pid = n1.daemon!.natsPid();
    n1.daemon!.process.kill("SIGKILL");
    const began = performance.now();
    process.kill(pid, "SIGKILL");
    await until(() => !isAlive(pid), "end of the nats-server");
    await room.send("after");
    const took = performance.now() - began;
    console.log(`the bus was back after ${Math.round(took)} ms`);
    assert.ok(took < 3_000, `${took} ms`);
    await client.me();
    await n1.stop("SIGKILL");
    assert.ok(n2.daemon !== null && n3.daemon !== null);
  },
});

Deno.test({
  name:
    "cluster restart restarts one node by its service manager, and none while a node is missing",
  ignore: !CLUSTER,
  fn: async () => {
    await using place = await threeNodes();
    const { nodes } = place;
    const [n1, n2, n3] = nodes as [TestNode, TestNode, TestNode];
    const flags = place.flags(...nodes);
    const restart = (...more: string[]) => tryRun("cluster", "restart", ...more, ...flags);

    for (const wrong of [[], ["--rolling", "--node", "n1"]]) {
      const refused = await restart(...wrong);
      assert.equal(refused.code, 2, refused.stderr);
      assert.match(refused.stderr, /needs --rolling for all nodes, or --node NAME/);
    }
    const unknown = await restart("--node", "n9");
    assert.match(unknown.stderr, /No node n9 in the cluster; its nodes are n1, n2, n3/);

    const exiting = restart("--node", "n2", "--exit");
    const { code } = await n2.daemon!.process.ended;
    assert.equal(code, 75);
    await n2.stop();
    await n2.start({ more: ["--store", "jetstream"] });
    const done = await exiting;
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stdout, /^restarted n2$/m);

    await n3.stop();
    const refused = await restart("--rolling", "--wait", "2");
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /waiting: .*n3/);
    assert.match(refused.stderr, /Nothing was restarted; the cluster is not whole after 2 s: .*n3/);
    for (const { daemon } of [n1, n2]) {
      assert.equal(daemon!.events().filter((it) => it.event === "stopping").length, 0);
    }
  },
});
