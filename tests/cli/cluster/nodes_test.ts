/** What a node knows of the others: which of them take sessions, and for which names. */

import assert from "node:assert/strict";
import { type Announced, watchNodes } from "../../../cli/cluster/nodes.ts";
import { answerPresence } from "../../../cli/cluster/presence.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { testServer } from "../../helpers/nats.ts";
import { eventually } from "../../nats/callout/bus.ts";

Deno.test("a node takes certificates for the names of every node of its cluster, also of one that has just started", async () => {
  await using server = await testServer();
  const node = (name: string, sessions?: string[]): Announced => ({
    node: name,
    bucket: "UNIBUS",
    keys: "k",
    urls: [`https://${name}.example`],
    busUrls: [],
    ...sessions && { sessions },
  });
  const connect = () => connectNats({ servers: server.url });
  await using connection = await connect();
  // Its nats-server has another name until it enters the cluster.
  let own = "NDA";
  const nodes = watchNodes(connection, () => node(own, ["n1.example", "bus.example"]));
  let asked = 0;
  const start = async (own: Announced) => {
    const it = await connect();
    const more = { follower: null, waiting: null };
    answerPresence(it, () => {
      asked++;
      return Promise.resolve({ ...own, ...more });
    });
    await it.flush();
    return it;
  };
  try {
    assert.ok(await nodes.isAudience("n1.example"));
    assert.ok(await nodes.isAudience("bus.example"));
    assert.ok(!await nodes.isAudience("n2.example"));
    await using _second = await start(node("n2", ["n2.example"]));
    // Asked when a client needs it, not only every five seconds, and once for all who wait.
    asked = 0;
    for (let i = 0; i < 5; i++) assert.ok(!await nodes.isAudience("evil.example"));
    await eventually(() => asked >= 5);
    asked = 0;
    await Promise.all(Array.from({ length: 50 }, () => nodes.isAudience("evil.example")));
    assert.ok(asked < 25, `${asked}`);
    assert.ok(await nodes.isAudience("n2.example"));
    // An older node, and one of another control plane on the same bus.
    await using _third = await start(node("n3"));
    await using _other = await start({ ...node("n4", ["n4.example"]), keys: "other" });
    await eventually(() => nodes.list().length === 3);
    assert.deepEqual(nodes.list().map((it) => it.name), ["NDA", "n2", "n3"]);
    own = "n1";
    assert.deepEqual(nodes.list().map((it) => [it.name, it.sessions]), [
      ["n1", true],
      ["n2", true],
      ["n3", false],
    ]);
    assert.ok(!await nodes.isAudience("n3.example"));
    assert.equal(nodes.list(), nodes.list());
    assert.ok(!await nodes.isAudience("n4.example"));
  } finally {
    nodes.stop();
  }
});
