/** Blobs under Node; run by tests/package/node_test.ts. */

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type BlobStore, openDiskBlobs, openObjectBlobs } from "../../src/blobs/mod.ts";
import { isStoreError } from "../../src/core/errors.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { testServer } from "../helpers/nats.ts";

const SIZE = 3_000_001;

async function check(blobs: BlobStore): Promise<string> {
  const bytes = randomBytes(SIZE);
  const id = createHash("sha256").update(bytes).digest("hex");
  async function* source() {
    for (let at = 0; at < SIZE; at += 65_536) yield bytes.subarray(at, at + 65_536);
  }
  const puts = await Promise.all([1, 2, 3, 4].map(() => blobs.put(source(), { maxBytes: SIZE })));
  assert.deepEqual(puts.map((it) => it.created).sort(), [false, false, false, true]);
  assert.deepEqual(await blobs.stat(id), { id, size: SIZE });
  const whole = await new Response((await blobs.get(id))!.body).arrayBuffer();
  assert.ok(bytes.equals(new Uint8Array(whole)));
  const range = await blobs.get(id, { start: 262_000, end: 2_000_000 });
  const part = await new Response(range!.body).arrayBuffer();
  assert.ok(bytes.subarray(262_000, 2_000_001).equals(new Uint8Array(part)));
  await assert.rejects(blobs.put(source(), { maxBytes: SIZE - 1 }), (it) => {
    return isStoreError(it, "too_large");
  });
  assert.equal((await blobs.health()).ok, true);
  return id;
}

test("blobs on disk come back as they were, once, and damage is found", async () => {
  const directory = await mkdtemp(join(tmpdir(), "unibus-node-blobs-"));
  try {
    await using blobs = await openDiskBlobs(directory);
    const id = await check(blobs);
    assert.deepEqual(await readdir(join(directory, "tmp")), []);
    await truncate(join(directory, id.slice(0, 2), id.slice(2, 4), id), SIZE - 1);
    const { body } = (await blobs.get(id))!;
    await assert.rejects(new Response(body).arrayBuffer(), (it) => isStoreError(it, "corrupt"));
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("blobs in the object store come back as they were, once", async () => {
  await using server = await testServer();
  const connection = await connectNats({ servers: server.url });
  try {
    await using blobs = await openObjectBlobs({ connection });
    await check(blobs);
  } finally {
    await connection.close();
  }
});
