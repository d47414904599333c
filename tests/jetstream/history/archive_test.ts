/**
 * The subjects of history entries in the bucket's stream, and the stream that archives them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { freezeWriters, thawWriters } from "../../../src/jetstream/freeze.ts";
import {
  archiveInfo,
  archiveOf,
  ensureArchive,
  purgeArchive,
} from "../../../src/jetstream/history/archive.ts";
import { Bucket } from "../../../src/jetstream/log/bucket.ts";
import { ensureStream } from "../../../src/jetstream/log/stream.ts";
import { whyNoResponder } from "../../../src/jetstream/moved.ts";
import { historyKey } from "../../../src/jetstream/records/keys.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { testServer } from "../../helpers/nats.ts";

const soon = () => Date.now() + 60_000;
const open = (bucket: Bucket) =>
  ensureStream(bucket, { resize: false, create: true, deadline: soon() });

function test(name: string, work: (bucket: Bucket, nc: NatsConnection) => Promise<void>): void {
  Deno.test(name, async () => {
    await using server = await testServer();
    const nc = await connectNats({ servers: server.url });
    try {
      await work(new Bucket(nc, "B"), nc);
    } finally {
      await nc.close();
    }
  });
}

async function until(isTrue: () => Promise<boolean>, what: string): Promise<void> {
  for (const end = soon(); !await isTrue();) {
    assert.ok(Date.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("writers that are stopped write no history entries", async (bucket) => {
  await open(bucket);
  await bucket.put(historyKey("t1"), "{}", soon());
  await freezeWriters(bucket, soon());
  await assert.rejects(bucket.put(historyKey("t2"), "{}", soon()));
  await open(bucket);
  await assert.rejects(
    bucket.put(historyKey("t2"), "{}", soon()),
    "opening does not let them go on",
  );
  await thawWriters(bucket, soon());
  await bucket.put(historyKey("t2"), "{}", soon());
});

test(
  "a bucket of an earlier version takes history entries once it was opened",
  async (bucket, nc) => {
    const jsm = await jetstreamManager(nc);
    await open(bucket);
    const earlier = { subjects: [bucket.subject(">")] };
    await jsm.streams.update(bucket.stream, earlier);
    await assert.rejects(bucket.put(historyKey("t1"), "{}", soon()));
    await open(bucket);
    await bucket.put(historyKey("t1"), "{}", soon());
    // An earlier version, beside this one, lets the writers go on.
    await jsm.streams.update(bucket.stream, earlier);
    bucket.onNoResponder = whyNoResponder(bucket);
    await bucket.commit([{ key: historyKey("t2"), value: "{}" }], soon());
  },
);

test(
  "the archive keeps entries that the bucket's stream no longer has, in order",
  async (bucket, nc) => {
    await open(bucket);
    await ensureArchive(bucket, { replicas: 1, resize: true, deadline: soon() });
    const { stream } = archiveOf(bucket.name);
    for (let i = 0; i < 20; i++) await bucket.put(historyKey(`t${i}`), `${i}`, soon());
    const count = async () => (await archiveInfo(bucket, soon()))!.state.messages;
    await until(async () => await count() === 20, "20 entries");
    const jsm = await jetstreamManager(nc);
    await jsm.streams.purge(bucket.stream);
    await ensureArchive(bucket, { replicas: 1, resize: true, deadline: soon() });
    await assert.rejects(jsm.streams.deleteMessage(stream, 3));
    await purgeArchive(bucket, 6, soon());
    await bucket.put(historyKey("t20"), "20", soon());
    await until(async () => await count() === 16, "16 entries");
    const found: string[] = [];
    for (let seq = 6; seq <= 21; seq++) {
      found.push((await jsm.streams.getMessage(stream, { seq }))!.string());
    }
    assert.deepEqual(found, Array.from({ length: 16 }, (_, i) => `${i + 5}`));
  },
);

test("a stream of another program under the archive's name is refused", async (bucket, nc) => {
  await open(bucket);
  const { stream } = archiveOf(bucket.name);
  await (await jetstreamManager(nc)).streams.add({ name: stream, subjects: ["orders.>"] });
  await jetstream(nc).publish("orders.1", "x");
  const made = ensureArchive(bucket, { replicas: 1, resize: true, deadline: soon() });
  await assert.rejects(made, { code: "refused" });
});
