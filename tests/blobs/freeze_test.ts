/**
 * Stopping the writers of a bucket of blobs at the server.
 *
 * @module
 */

import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import {
  changedObjectBlobs,
  freezeObjectBlobs,
  thawObjectBlobs,
} from "../../src/blobs/objects/freeze.ts";
import { openObjectBlobs } from "../../src/blobs/mod.ts";
import { testServer } from "../helpers/nats.ts";

const bytes = async function* (text: string) {
  yield new TextEncoder().encode(text);
};

Deno.test("a frozen bucket of blobs hands out what it has and takes nothing, until it is thawed", async () => {
  await using server = await testServer();
  const connection = await connect({ servers: server.url });
  try {
    await using blobs = await openObjectBlobs({ connection, opTimeout: 2000 });
    const one = await blobs.put(bytes("one"), { maxBytes: 10 });
    await freezeObjectBlobs({ connection });
    await assert.rejects(blobs.put(bytes("two"), { maxBytes: 10 }), {
      code: "unavailable",
      message: /takes no blobs while the control plane moves to a file/,
    });
    assert.deepEqual((await Array.fromAsync(blobs.list())).map(({ id }) => id), [one.id]);
    // One that begins meanwhile opens it as it is.
    await using other = await openObjectBlobs({ connection });
    assert.equal((await Array.fromAsync(other.list())).length, 1);
    await thawObjectBlobs({ connection });
    await blobs.put(bytes("two"), { maxBytes: 10 });
    assert.equal((await Array.fromAsync(other.list())).length, 2);
  } finally {
    await connection.close();
  }
});

Deno.test("the blobs that changed after a position are named: put, held by another, deleted", async () => {
  await using server = await testServer();
  const connection = await connect({ servers: server.url });
  try {
    await using blobs = await openObjectBlobs({ connection });
    const put = async (text: string) => (await blobs.put(bytes(text), { maxBytes: 10 })).id;
    assert.deepEqual(await changedObjectBlobs({ connection }, 0), { ids: [], position: 0 });
    const [kept, held, deleted] = [await put("one"), await put("two"), await put("three")];
    const first = await changedObjectBlobs({ connection }, 0);
    assert.deepEqual(first.ids.sort(), [kept, held, deleted].sort());
    assert.deepEqual(await changedObjectBlobs({ connection }, first.position), {
      ids: [],
      position: first.position,
    });
    const more = await put("four");
    await blobs.addHolders(held!, { owners: ["a1".repeat(32)], unowned: false });
    await blobs.delete(deleted!);
    const second = await changedObjectBlobs({ connection }, first.position);
    assert.deepEqual(second.ids.sort(), [more, held, deleted].sort());
    assert.ok(second.position > first.position);
  } finally {
    await connection.close();
  }
});
