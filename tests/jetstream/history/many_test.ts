/**
 * Many transactions at once wait for each other, longer than one of them may take.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { NatsConnection } from "@nats-io/transport-node";
import { openJetStream } from "../../../mod.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { testServer } from "../../helpers/nats.ts";
import { person } from "../../helpers/sqlite.ts";

/** A connection on which each request takes so many milliseconds more. */
function slow(nc: NatsConnection, ms: number): NatsConnection {
  const request: NatsConnection["request"] = async (...args) => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    return await nc.request(...args);
  };
  return new Proxy(nc, {
    get(target, name) {
      const found = Reflect.get(target, name);
      if (name === "request") return request;
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
}

Deno.test("many changes at once take longer than the time limit of one, and are all made", async () => {
  await using server = await testServer();
  const nc = await connectNats({ servers: server.url });
  {
    await using store = await openJetStream({ connection: slow(nc, 100), opTimeout: 3000 });
    const users = Array.from({ length: 480 }, (_, i) => person(`many ${i}`));
    await Promise.all(users.map((it) => store.addUser(it)));
    const some = users.slice(0, 30);
    await Promise.all(some.map(({ signPub }) => store.revokeUser(signPub)));
    const { items } = await store.listUsers();
    assert.equal(items.length, users.length);
    assert.equal(items.filter(({ status }) => status === "revoked").length, some.length);
  }
  await nc.close();
});
