/**
 * What the server's answers mean to a transaction, as they come through the JetStream library.
 *
 * @module
 */

import assert from "node:assert/strict";
import { jetstream } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../../src/core/errors.ts";
import { Bucket } from "../../../src/jetstream/log/bucket.ts";
import { ensureStream } from "../../../src/jetstream/log/stream.ts";
import {
  answered,
  apiCode,
  CODE,
  manage,
  rawHeaders,
  Transient,
  WrongRevision,
} from "../../../src/jetstream/log/wire.ts";
import { isData } from "../../../src/jetstream/contents/compare.ts";
import { historyKey, parseKey } from "../../../src/jetstream/records/keys.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { testServer, type TestServerOptions } from "../../helpers/nats.ts";

const soon = () => Date.now() + 60_000;

async function withServer(
  options: TestServerOptions,
  work: (nc: NatsConnection) => Promise<void>,
): Promise<void> {
  await using server = await testServer(options);
  const nc = await connectNats({ servers: server.url });
  try {
    await work(nc);
  } finally {
    await nc.close();
  }
}

async function openBucket(nc: NatsConnection): Promise<Bucket> {
  const bucket = new Bucket(nc, "ANSWERS");
  await ensureStream(bucket, { resize: false, create: true, deadline: soon() });
  return bucket;
}

Deno.test("a revision that is not the expected one is a lost race, of one message and of a batch", async () => {
  await withServer({}, async (nc) => {
    const bucket = await openBucket(nc);
    const revision = await bucket.put("users.a", "1", soon());
    const wrong = { key: "users.a", value: "2", expect: revision + 1 };
    await assert.rejects(bucket.commit([wrong], soon()), WrongRevision);
    const other = { key: "users.b", value: "2", expect: 0 };
    await assert.rejects(bucket.commit([wrong, other], soon()), WrongRevision);
    const guarded = { key: "users.b", value: "2", guard: { key: "users.a", revision: 7 } };
    await assert.rejects(bucket.commit([guarded], soon()), WrongRevision);
    assert.equal(await bucket.get("users.b", soon()), null);
    const right = { ...wrong, expect: revision };
    assert.ok(await bucket.commit([right, other], soon()) > revision);
    const found = await bucket.get("users.a", soon());
    assert.equal(new TextDecoder().decode(found!.data), "2");
    assert.match(found!.txn ?? "", /^\w{22}$/);
  });
});

Deno.test("a batch that lacks a message leaves the outcome open, and nothing is written", async () => {
  await withServer({}, async (nc) => {
    const bucket = await openBucket(nc);
    const headers = rawHeaders(
      "Nats-Batch-Id: lacking\r\nNats-Batch-Sequence: 3\r\nNats-Batch-Commit: 1\r\n",
    );
    const ack = jetstream(nc).publish(bucket.subject("users.a"), "1", { headers });
    await assert.rejects(answered(nc, "Writing", ack), (error) => {
      assert.ok(error instanceof Transient);
      assert.equal(apiCode(error), CODE.batchIncomplete);
      return true;
    });
    assert.equal(await bucket.get("users.a", soon()), null);
  });
});

Deno.test("a stream or a message that is not there is an answer, not a failure", async () => {
  await withServer({}, async (nc) => {
    const missing = manage(nc, "Reading", (jsm) => jsm.streams.info("NONE"), { deadline: soon() });
    await assert.rejects(missing, (error) => apiCode(error) === CODE.streamNotFound);
    const bucket = await openBucket(nc);
    assert.equal(await bucket.next(">", 1, soon()), null);
    assert.equal((await bucket.getMany(["users.>"], 0, soon())).size, 0);
  });
});

Deno.test("a history entry has a subject outside the bucket's keys, and maps back", async () => {
  await withServer({ jetstream: false }, (nc) => {
    const bucket = new Bucket(nc, "B");
    assert.equal(bucket.subject(historyKey("t1")), "$UNIBUS.B.history.t1");
    assert.equal(bucket.key("$UNIBUS.B.history.t1"), historyKey("t1"));
    assert.equal(bucket.key(bucket.subject("users.a")), "users.a");
    assert.deepEqual(parseKey(historyKey("t1")), { space: "history", txn: "t1" });
    assert.equal(isData(historyKey("t1")), false);
    return Promise.resolve();
  });
});

Deno.test("a server without JetStream is asked until the deadline, then it is unavailable", async () => {
  await withServer({ jetstream: false }, async (nc) => {
    const began = Date.now();
    const info = manage(nc, "Read stream X", (jsm) => jsm.streams.info("X"), {
      deadline: began + 2000,
    });
    await assert.rejects(info, (error) => {
      assert.ok(error instanceof StoreError && error.code === "unavailable");
      assert.match(error.message, /^Read stream X: no responders.*\((?!1 )\d+ attempts\)$/);
      return true;
    });
    assert.ok(Date.now() - began < 20_000);
  });
});

Deno.test("a write without an answer is sent once: whether it is sent again is the caller's decision", async () => {
  await withServer({}, async (nc) => {
    let sent = 0;
    nc.subscribe("nobody.answers", { callback: () => void sent++ });
    const ack = jetstream(nc).publish("nobody.answers", "1", { timeout: 300 });
    await assert.rejects(answered(nc, "Writing", ack), Transient);
    assert.equal(sent, 1);
  });
});

Deno.test("a call ends at its deadline, however many requests it sends", async () => {
  await withServer({ jetstream: false }, async (nc) => {
    nc.subscribe("$JS.API.STREAM.INFO.SLOW", { callback: () => {} });
    const began = Date.now();
    const asked = manage(nc, "Asking", async ({ streams }) => {
      await streams.info("SLOW").catch(() => {});
      return await streams.info("SLOW");
    }, { deadline: began + 3000 });
    await assert.rejects(asked, /^StoreError: Asking: timeout \(1 attempt\)$/);
    assert.ok(Date.now() - began < 5900, `${Date.now() - began} ms`);
  });
});
