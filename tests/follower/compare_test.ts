import assert from "node:assert/strict";
import { compareStream } from "../../src/follower/stream/compare.ts";
import { hashOf } from "../../src/follower/file/changes.ts";
import type { Held } from "../../src/follower/file/messages.ts";
import type { Thread } from "../../src/follower/file/thread.ts";
import { streamInfo } from "../../src/jetstream/log/stream.ts";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { testServer } from "../helpers/nats.ts";
import { rawBucket } from "./kit.ts";

Deno.test("a replica that lags behind what was applied during a comparison raises no alarm", async () => {
  await using server = await testServer();
  for (const bucket of ["NOW", "BEFORE"]) {
    await (await openJetStream({ servers: server.url, bucket })).close();
  }
  await using present = await rawBucket(server.url, "NOW");
  await using past = await rawBucket(server.url, "BEFORE");
  const { bucket } = present;
  const soon = () => Date.now() + 60_000;
  const read = async (sequence: number) =>
    (await bucket.getLast(["users.a"], sequence, soon())).get("users.a")!;
  const before = await read(await bucket.put("users.a", "1", soon()));
  // The stream's end as an old leader still tells it.
  const { created, state } = (await streamInfo(past.bucket, soon()))!;
  let revision = 0;
  while (revision <= Math.max(state.last_seq, before.revision)) {
    revision = await bucket.put("users.a", "2", soon());
  }
  const now = await read(revision);
  const lagging = Object.create(bucket, {
    nc: { value: bucket.nc },
    stream: { value: past.bucket.stream },
    getLast: {
      value: (_: string[], minimum: number) =>
        Promise.resolve(new Map([["users.a", minimum < revision ? before : now]])),
    },
  });
  // What was held when the comparison began; the second write was applied after that.
  const position = state.last_seq;
  const held = { created, position, exact: true, updatedAt: Date.now() } as Held;
  const compare = (hash: Uint8Array) => {
    const thread = { ask: () => Promise.resolve([{ key: "users.a", revision, hash }]) };
    return compareStream(lagging, thread as unknown as Thread, held, soon());
  };
  assert.equal(await compare(hashOf(now)), null);
  assert.equal((await compare(new Uint8Array(16)))?.field, "sequence");
});

Deno.test("a leader that has not applied all that was committed raises no alarm, a stream that was cut does", async () => {
  await using server = await testServer();
  await (await openJetStream({ servers: server.url, bucket: "SHORT" })).close();
  await using short = await rawBucket(server.url, "SHORT");
  const soon = () => Date.now() + 60_000;
  const { created, state } = (await streamInfo(short.bucket, soon()))!;
  const position = state.last_seq + 4;
  const held = { created, position, exact: true, updatedAt: Date.now() } as Held;
  const thread = { ask: () => Promise.resolve([]) } as unknown as Thread;
  const compare = (isClustered: boolean, written: number, known = 0) => {
    const bucket = Object.create(short.bucket, {
      nc: { value: short.bucket.nc },
      isClustered: { value: isClustered },
      put: { value: () => Promise.resolve(written) },
    });
    return compareStream(bucket, thread, held, soon(), known);
  };
  assert.equal(await compare(true, position + 1), null);
  assert.equal((await compare(true, position))?.field, "end");
  assert.equal((await compare(true, position + 1, position + 1))?.field, "end");
  assert.equal(await compare(true, position + 2, position + 1), null);
  // A lone server has applied all that it has.
  assert.equal((await compare(false, position + 1))?.field, "end");
});
