/**
 * Blobs that are read from the files of a replica, of a real server and with each kind of record.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { openObjectBlobs } from "../../src/blobs/mod.ts";
import { digestOfId, ObjectSubjects } from "../../src/blobs/objects/format.ts";
import { type Salvage, salvageBlobs } from "../../src/blobs/objects/salvage.ts";
import { testServer } from "../helpers/nats.ts";
import { inDir } from "../helpers/sqlite.ts";
import { owner, putBy } from "./holders.ts";
import { bytesOf, idOf } from "./kit.ts";

/** What was found of each blob: whether it is whole, its holders, and the digest of what is read. */
async function found({ blobs }: Salvage) {
  const all: Record<string, unknown> = {};
  for (const { id, size, holders, isWhole, read } of blobs) {
    const bytes = Buffer.concat(await Array.fromAsync(read()));
    all[id] = { size, owners: holders.owners, isWhole, isRight: idOf(bytes) === id };
  }
  return all;
}

Deno.test("what a server stored is read from its files when it does not run", async () => {
  await using server = await testServer();
  const connection = await connect({ servers: server.url });
  const [a, b] = [owner(), owner()].sort() as [string, string];
  const [small, large, back] = [bytesOf(1000), bytesOf(300_000), bytesOf(3000)];
  let gone = "";
  {
    await using objects = await openObjectBlobs({ connection, bucket: "SAVED" });
    await putBy(objects, small, a);
    await putBy(objects, small, b);
    await putBy(objects, large, a);
    gone = (await putBy(objects, bytesOf(2000), a)).id;
    await objects.delete(gone);
    await putBy(objects, back, a);
    await objects.delete(idOf(back));
    await putBy(objects, back, b);
  }
  await connection.close();
  const stream = join(server.directory, "store", "jetstream", "$G", "streams", "OBJ_SAVED");
  await server.stop();
  const salvage = await salvageBlobs(stream, "SAVED");
  const right = { isWhole: true, isRight: true };
  assert.deepEqual(await found(salvage), {
    [idOf(small)]: { size: 1000, owners: [a, b], ...right },
    [idOf(large)]: { size: 300_000, owners: [a], ...right },
    [idOf(back)]: { size: 3000, owners: [b], ...right },
  });
  assert.deepEqual(salvage.deleted, [gone]);
});

const subjects = new ObjectSubjects("CRAFTED");
const TOMBSTONE = 1n << 62n;
const ERASED = 1n << 63n;

/** A record of a block, as nats-server's filestore.go describes it. */
function record(sequence: bigint, subject = "", body: Uint8Array | string = "", headers = "") {
  const text = Buffer.from(body);
  const head = Buffer.alloc(22);
  const before = headers === "" ? Buffer.alloc(0) : Buffer.alloc(4 + headers.length);
  if (headers !== "") {
    before.writeUInt32LE(headers.length);
    before.write(headers, 4);
  }
  const length = head.length + subject.length + before.length + text.length + 8;
  head.writeUInt32LE(headers === "" ? length : length + 0x8000_0000);
  head.writeBigUInt64LE(sequence, 4);
  head.writeUInt16LE(subject.length, 20);
  return Buffer.concat([head, Buffer.from(subject), before, text, Buffer.alloc(8, 7)]);
}

/** The message that describes bytes whose chunks have a nuid. */
function meta(bytes: Uint8Array, nuid: string, more: object = {}): [string, string, string] {
  const id = idOf(bytes);
  const info = { name: id, size: bytes.length, nuid, digest: digestOfId(id), chunks: 1, ...more };
  return [subjects.metaOf(id), JSON.stringify(info), "NATS/1.0\r\nNats-Rollup: sub\r\n\r\n"];
}

/** Salvages what is in blocks with these numbers. */
function crafted(blocks: Record<number, Buffer[]>, work: (it: Salvage) => Promise<void>) {
  return inDir(async (dir) => {
    await mkdir(`${dir}/msgs`);
    await writeFile(`${dir}/msgs/index.db`, record(5n | TOMBSTONE));
    for (const [number, records] of Object.entries(blocks)) {
      await writeFile(`${dir}/msgs/${number}.blk`, Buffer.concat(records));
    }
    await work(await salvageBlobs(dir, "CRAFTED"));
  });
}

const right = (bytes: Uint8Array) => ({
  [idOf(bytes)]: { size: bytes.length, owners: [], isWhole: true, isRight: true },
});

Deno.test("the last description of a blob counts, and its chunks are read in their order, also over blocks", async () => {
  const bytes = bytesOf(900);
  const chunk = (nuid: string) => subjects.chunksOf(nuid);
  await crafted({
    // The tenth block comes after the ninth.
    9: [
      record(1n, ...meta(bytes, "OLD", { size: 5 })),
      record(3n, chunk("NEW"), bytes.subarray(300, 600)),
      record(2n, chunk("NEW"), bytes.subarray(0, 300)),
      // It was cut here.
      record(9n).subarray(0, 10),
    ],
    10: [
      record(4n, chunk("NEW"), bytes.subarray(600)),
      record(5n, ...meta(bytes, "NEW")),
      Buffer.alloc(100),
    ],
  }, async (it) => assert.deepEqual(await found(it), right(bytes)));
});

Deno.test("a message that was removed or overwritten does not count, in whatever block that is said", async () => {
  const [kept, gone] = [bytesOf(100), bytesOf(200)];
  await crafted({
    1: [
      record(1n, subjects.chunksOf("A"), gone),
      record(2n, ...meta(gone, "A")),
      record(3n, subjects.chunksOf("B"), bytesOf(100)),
      record(4n | ERASED, subjects.chunksOf("B"), bytesOf(7)),
      record(5n, subjects.chunksOf("B"), kept),
      record(6n, ...meta(kept, "B")),
    ],
    2: [record(2n | TOMBSTONE), record(3n | TOMBSTONE)],
  }, async (it) => {
    assert.deepEqual(await found(it), right(kept));
    assert.deepEqual(it.deleted, []);
  });
});

Deno.test("a blob without all its bytes, or with a description of other bytes, is not whole", async () => {
  const [cut, other, lost, last] = [100, 200, 300, 400].map(bytesOf) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  const id = idOf(other);
  await crafted({
    1: [
      record(1n, subjects.chunksOf("A"), cut.subarray(1)),
      record(2n, ...meta(cut, "A")),
      record(3n, subjects.chunksOf("B"), other),
      record(4n, ...meta(other, "B", { digest: digestOfId(idOf(cut)) })),
      record(5n, ...meta(lost, "C")),
      record(6n, subjects.metaOf("x"), `{"name":"x","size":0}`),
      record(7n, subjects.metaOf("y"), "not JSON"),
      record(8n, ...meta(last, "D")),
      record(9n, subjects.chunksOf("D"), last).subarray(0, -20),
    ],
  }, ({ blobs, deleted }) => {
    assert.deepEqual(blobs.map((it) => [it.id, it.isWhole]), [
      [idOf(cut), false],
      [id, false],
      [idOf(lost), false],
      [idOf(last), false],
    ]);
    assert.deepEqual(deleted, []);
    return Promise.resolve();
  });
});
