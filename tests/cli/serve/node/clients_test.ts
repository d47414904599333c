/**
 * The clients of a node whose control plane has moved to another one.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Kvm } from "@nats-io/kv";
import { answerPresence } from "../../../../cli/cluster/presence.ts";
import { sendAway } from "../../../../cli/serve/node/clients.ts";
import { openJetStream } from "../../../../mod.ts";
import { admitted, enrol, eventually, testBus } from "../../../nats/callout/bus.ts";

Deno.test("clients are sent away when their control plane has moved and the other node has left", async () => {
  await using bus = await testBus();
  await using client = await admitted(bus.server.port, await enrol(bus.store));
  const [connection, system, other] = await Promise.all([
    bus.connect("service"),
    bus.connect("system"),
    bus.connect("service"),
  ]);
  const logged: [string, unknown][] = [];
  const around = {
    signal: new AbortController().signal,
    log: (_: string, event: string, fields?: Record<string, unknown>) =>
      void logged.push([event, fields?.count]),
  };
  const isOpen = () => client.flush();
  await (await openJetStream({ connection })).close();
  // The control plane is there.
  await sendAway(around, { connection, system }, "UNIBUS");
  assert.ok(await isOpen());

  const kv = await new Kvm(connection).open("UNIBUS");
  const startedAt = "2026-01-01T00:00:00.000Z";
  const moved = { node: "n2", db: "a.db", at: startedAt, position: 1, digest: "" };
  const marker = { v: 1, state: "in_progress", by: "journey", source: "s", startedAt, moved };
  await kv.put("meta.migration", JSON.stringify(marker));
  let asked = 0;
  answerPresence(other, () => {
    asked++;
    return Promise.resolve({ node: "n2", bucket: null, keys: null });
  });
  await other.flush();
  const sending = sendAway(around, { connection, system }, "UNIBUS");
  await eventually(() => asked > 0);
  assert.ok(await isOpen());
  await other.close();
  await sending;
  assert.deepEqual(logged, [["clients.sent_away", 1]]);
  await eventually(async () => !await isOpen());
  assert.ok(!connection.isClosed() && !system.isClosed());
});
