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
import { Following, until } from "./kit.ts";

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

Deno.test("following a history in which nothing happens keeps nothing of each wait", async () => {
  await using server = await testServer();
  await using store = await openJetStream({ servers: server.url });
  const { addEventListener, removeEventListener } = AbortSignal.prototype;
  let added = 0;
  let kept = 0;
  AbortSignal.prototype.addEventListener = function (...args: unknown[]) {
    added++;
    kept++;
    return Reflect.apply(addEventListener, this, args);
  };
  AbortSignal.prototype.removeEventListener = function (...args: unknown[]) {
    kept--;
    return Reflect.apply(removeEventListener, this, args);
  };
  try {
    await using _ = new Following(store);
    // Its pauses double.
    await until(() => added >= 8, "it has waited several times");
    assert.ok(kept <= 3, `${kept} listeners of ${added} are left`);
  } finally {
    Object.assign(AbortSignal.prototype, { addEventListener, removeEventListener });
  }
});
