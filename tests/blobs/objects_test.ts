/** Blobs in JetStream's object store: the promises of every store of blobs, and those of NATS. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { jetstreamManager } from "@nats-io/jetstream";
import { Objm } from "@nats-io/obj";
import type { NatsConnection } from "@nats-io/transport-node";
import { openObjectBlobs } from "../../src/blobs/mod.ts";
import { Accounts } from "../../src/blobs/objects/holders.ts";
import { ObjectStream } from "../../src/blobs/objects/stream.ts";
import { sweepChunks } from "../../src/blobs/objects/sweep.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { type BlobBed, bodyOf, bytesOf, chunks, idOf, spawn, until } from "./kit.ts";
import { owner, putBy, testHolders } from "./holders.ts";
import { testPromises } from "./promises.ts";
import { type TestServer, testServer } from "../helpers/nats.ts";
import { failsWith } from "../helpers/sqlite.ts";

const MB = 1024 * 1024;

let server: TestServer;
let connection: NatsConnection;
let buckets = 0;

Deno.test.beforeAll(async () => {
  server = await testServer();
  connection = await connectNats({ servers: server.url });
});
Deno.test.afterAll(async () => {
  await connection.close();
  await server[Symbol.asyncDispose]();
});

type ObjectBed = BlobBed & { bucket: string };

async function objectBed(): Promise<ObjectBed> {
  const bucket = `BLOBS_${++buckets}`;
  const jsm = await jetstreamManager(connection);
  const stream = `OBJ_${bucket}`;
  const subjectOf = async (id: string) => {
    const info = await (await new Objm(connection).open(bucket)).info(id);
    return `$O.${bucket}.C.${info!.nuid}`;
  };
  return {
    bucket,
    open: () => openObjectBlobs({ connection, bucket }),
    address: ["objects", server.url, bucket],
    async flip(id) {
      // A message cannot be changed: all chunks are stored anew.
      const subject = await subjectOf(id);
      const stored: Uint8Array[] = [];
      for (let seq = 1;;) {
        const query = { seq, next_by_subj: subject };
        const next = await new ObjectStream(connection, bucket).read(query, Date.now() + 60_000);
        if (next === null) break;
        stored.push(next.data);
        seq = next.sequence + 1;
      }
      stored.at(-1)![0]! ^= 1;
      await jsm.streams.purge(stream, { filter: subject });
      for (const data of stored) {
        await connection.request(subject, data, { timeout: 60_000 });
      }
    },
    async truncate(id) {
      const last = await jsm.streams.getMessage(stream, { last_by_subj: await subjectOf(id) });
      await jsm.streams.deleteMessage(stream, last!.seq);
    },
    async leftovers() {
      const { state } = await jsm.streams.info(stream, { subjects_filter: `$O.${bucket}.>` });
      const subjects = new Set(Object.keys(state.subjects ?? {}));
      for (const info of await (await new Objm(connection).open(bucket)).list()) {
        subjects.delete(`$O.${bucket}.C.${info.nuid}`);
      }
      return [...subjects].filter((it) => it.startsWith(`$O.${bucket}.C.`)).length;
    },
    [Symbol.asyncDispose]: async () => void await jsm.streams.delete(stream),
  };
}

testPromises("objects", objectBed);
testHolders("objects", objectBed);

Deno.test("objects: a blob of 0.1, or of another tool, is never taken by its later owners", async () => {
  await using bed = await objectBed();
  await using blobs = await bed.open();
  const library = await new Objm(connection).open(bed.bucket);
  const bytes = bytesOf(200_000);
  const id = idOf(bytes);
  await library.putBlob({ name: id }, bytes);
  const by = owner();
  assert.deepEqual(await blobs.holders(id), { owners: [], unowned: true });
  await failsWith("forbidden", () => blobs.delete(id, by));
  assert.equal((await putBy(blobs, bytes, by)).created, false);
  assert.deepEqual(await blobs.holders(id), { owners: [by], unowned: true });
  assert.equal(await blobs.delete(id, by), false);
  assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
  assert.deepEqual(await library.getBlob(id), new Uint8Array(bytes));
  assert.equal(await blobs.delete(id), true);
  assert.equal(await library.getBlob(id), null);
});

Deno.test("objects: a count of what an owner keeps that is too high is mended before it refuses", async () => {
  await using bed = await objectBed();
  await using blobs = await bed.open();
  const by = owner();
  const stream = new ObjectStream(connection, bed.bucket);
  // As if processes had been killed between the charge and the blob.
  const accounts = new Accounts(stream, 5000, () => Promise.resolve(0));
  await accounts.charge(by, 9 * MB, Infinity);
  assert.equal(await blobs.usage(by), 9 * MB);
  await putBy(blobs, bytesOf(MB), by, 10 * MB);
  assert.equal(await blobs.usage(by), 10 * MB);
  await putBy(blobs, bytesOf(MB), by, 10 * MB);
  assert.equal(await blobs.usage(by), 2 * MB);
  await failsWith("quota_exceeded", () => putBy(blobs, bytesOf(9 * MB), by, 10 * MB));
});

Deno.test("objects: the bucket takes no more bytes than it may, and the stream beside it goes on", async () => {
  await using bed = await objectBed();
  await using blobs = await openObjectBlobs({ connection, bucket: bed.bucket, maxBytes: 2 * MB });
  const kept = await blobs.put(chunks(bytesOf(MB)), { maxBytes: MB });
  const large = bytesOf(2 * MB);
  await failsWith(
    "unavailable",
    () => blobs.put(chunks(large), { maxBytes: 2 * MB }),
    /reserved for the control plane/,
  );
  assert.equal(await bed.leftovers(), 0);
  assert.equal(await blobs.stat(idOf(large)), null);
  const small = await blobs.put(chunks(bytesOf(MB / 2)), { maxBytes: MB });
  assert.equal(await blobs.delete(kept.id), true);
  await blobs.put(chunks(bytesOf(MB)), { maxBytes: MB });
  assert.equal((await blobs.stat(small.id))?.size, MB / 2);
});

Deno.test("objects: a server whose largest message is smaller than a chunk takes blobs", async () => {
  await using small = await testServer({ extra: `max_payload: ${64 * 1024}` });
  const nc = await connectNats({ servers: small.url });
  try {
    await using blobs = await openObjectBlobs({ connection: nc, bucket: "SMALL" });
    const bytes = bytesOf(200_000);
    const { id } = await blobs.put(chunks(bytes), { maxBytes: MB });
    assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
  } finally {
    await nc.close();
  }
});

Deno.test("objects: the library of the object store reads what we store", async () => {
  await using bed = await objectBed();
  await using blobs = await bed.open();
  const bytes = bytesOf(MB + 5);
  const { id } = await blobs.put(chunks(bytes), { maxBytes: MB + 5 });
  const library = await new Objm(connection).open(bed.bucket);
  const info = await library.info(id);
  assert.deepEqual([info?.size, info?.chunks], [MB + 5, 9]);
  assert.deepEqual(await library.getBlob(id), new Uint8Array(bytes));
});

Deno.test("objects: a blob the library stored or deleted is read as such", async () => {
  await using bed = await objectBed();
  await using blobs = await bed.open();
  const library = await new Objm(connection).open(bed.bucket);
  const bytes = bytesOf(2 * MB);
  const id = idOf(bytes);
  await library.putBlob({ name: id }, bytes);
  assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
  assert.equal((await blobs.put(chunks(bytes), { maxBytes: 2 * MB })).created, false);
  await library.delete(id);
  assert.equal(await blobs.stat(id), null);
  assert.equal(await blobs.get(id), null);
  assert.equal((await blobs.put(chunks(bytes), { maxBytes: 2 * MB })).created, true);
  assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
  // Other bytes under a name that is another's SHA-256.
  await library.putBlob({ name: "0".repeat(64) }, bytes);
  await failsWith("corrupt", () => blobs.get("0".repeat(64)));
});

Deno.test("objects: chunks nobody finished are removed a day later, and nothing else", async () => {
  await using bed = await objectBed();
  await using blobs = await bed.open();
  const kept: string[] = [];
  for (let i = 0; i < 20; i++) {
    const bytes = bytesOf(200_000);
    kept.push((await blobs.put(chunks(bytes), { maxBytes: MB })).id);
  }
  const { child, lines } = spawn(bed, "hang", String(MB));
  assert.equal((await lines.next()).value, "hanging");
  // What it has sent may be on its way.
  await until("chunks are there", async () => await bed.leftovers() === 1);
  child.kill("SIGKILL");
  await child.status;
  await child.stdin.close().catch(() => {});
  const stream = new ObjectStream(connection, bed.bucket);
  const sweep = (hours: number) =>
    sweepChunks(
      stream,
      { opTimeout: 60_000, check: () => {} },
      Date.now() + hours * 3600 * 1000,
    );
  await sweep(23);
  assert.equal(await bed.leftovers(), 1);
  await sweep(25);
  assert.equal(await bed.leftovers(), 0);
  for (const id of kept) assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
});

Deno.test("objects: a bucket that is full is unavailable, and leaves nothing", async () => {
  await using bed = await objectBed();
  await using blobs = await bed.open();
  const jsm = await jetstreamManager(connection);
  const { config } = await jsm.streams.info(`OBJ_${bed.bucket}`);
  await jsm.streams.update(`OBJ_${bed.bucket}`, { ...config, max_bytes: 2 * MB });
  const bytes = bytesOf(3 * MB);
  const put = () => blobs.put(chunks(bytes), { maxBytes: 3 * MB });
  await failsWith("unavailable", put, /maximum bytes exceeded/);
  assert.equal(await bed.leftovers(), 0);
  assert.equal((await blobs.put(chunks(bytesOf(MB)), { maxBytes: MB })).created, true);
});

Deno.test("objects: a server that is gone is unavailable, in bounded time, and works when it is back", async () => {
  await using own = await testServer();
  const nc = await connectNats({ servers: own.url });
  try {
    await using blobs = await openObjectBlobs({ connection: nc, opTimeout: 2000 });
    const bytes = bytesOf(2 * MB);
    const { id } = await blobs.put(chunks(bytes), { maxBytes: 2 * MB });
    await own.stop();
    await failsWith("unavailable", () => blobs.stat(id));
    await failsWith("unavailable", () => blobs.get(id));
    await failsWith(
      "unavailable",
      () => blobs.put(chunks(bytesOf(5 * MB)), { maxBytes: 5 * MB }),
    );
    assert.equal((await blobs.health()).ok, false);
    await own.restart();
    while (!(await blobs.health()).ok) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(idOf(await bodyOf(await blobs.get(id))), id);
  } finally {
    await nc.close();
  }
});

Deno.test("objects: options that make no sense are refused", async () => {
  await failsWith("invalid", () => openObjectBlobs({ connection, bucket: "a.b" }));
  await failsWith("invalid", () => openObjectBlobs({ connection, replicas: 6 }));
  await failsWith("invalid", () => openObjectBlobs({ connection, replicas: 0 }));
  await failsWith(
    "invalid",
    () => openObjectBlobs({ connection, bucket: "R3", replicas: 3 }),
    /replicas 3 needs a cluster/,
  );
});

Deno.test("objects: ids are plain in the names the tools show", async () => {
  await using bed = await objectBed();
  await using blobs = await bed.open();
  const { id } = await blobs.put(chunks(Buffer.from("hello")), { maxBytes: 5 });
  const names = (await (await new Objm(connection).open(bed.bucket)).list()).map((it) => it.name);
  assert.deepEqual(names, [id]);
});
