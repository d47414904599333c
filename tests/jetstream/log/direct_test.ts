/**
 * Reads of many messages end when the answer stops, and not while it goes on.
 *
 * @module
 */

import assert from "node:assert/strict";
import { headers } from "@nats-io/transport-node";
import { directGet } from "../../../src/jetstream/log/direct.ts";
import { Transient } from "../../../src/jetstream/log/wire.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { testServer } from "../../helpers/nats.ts";

const QUERY = { multi_last: [">"] };

Deno.test("a read lasts as long as messages come, and fails after one timeout without any", async () => {
  await using server = await testServer({ jetstream: false });
  const nc = await connectNats({ servers: server.url });
  try {
    let messages = 4;
    nc.subscribe("$JS.API.DIRECT.GET.SLOW", {
      callback: (_, request) => {
        const timer = setInterval(() => {
          const answer = headers();
          if (messages > 0) answer.set("Nats-Subject", `s.${messages}`);
          request.respond("", { headers: answer });
          if (messages-- === 0) clearInterval(timer);
        }, 1000);
      },
    });
    const seen: string[] = [];
    await directGet(nc, "SLOW", QUERY, 3000, (subject) => seen.push(subject));
    assert.deepEqual(seen, ["s.4", "s.3", "s.2", "s.1"]);

    nc.subscribe("$JS.API.DIRECT.GET.SILENT", { callback: () => {} });
    const began = Date.now();
    await assert.rejects(directGet(nc, "SILENT", QUERY, 3000, () => {}), Transient);
    assert.ok(Date.now() - began < 5900, `${Date.now() - began} ms`);

    const one = headers();
    one.set("Nats-Subject", "s");
    nc.subscribe("$JS.API.DIRECT.GET.HALF", {
      callback: (_, request) => void request.respond("", { headers: one }),
    });
    await assert.rejects(directGet(nc, "HALF", QUERY, 300, () => {}), Transient);
  } finally {
    await nc.close();
  }
});
