/**
 * Blobs that move with the store: copied whole or not at all, and again at any time.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { connect } from "@nats-io/transport-node";
import { type BlobStore, copyBlobs, openDiskBlobs, openObjectBlobs } from "../../src/blobs/mod.ts";
import { StoreError } from "../../src/core/errors.ts";
import { cli } from "../cli/kit.ts";
import { testServer } from "../helpers/nats.ts";
import { inDir } from "../helpers/sqlite.ts";

async function* bytes(size: number, seed: number): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(new Uint8Array(size).map((_, i) => (i * 31 + seed) % 251));
}

async function fill(blobs: BlobStore, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    ids.push((await blobs.put(bytes(i * 997, i), { maxBytes: 1e7 })).id);
  }
  ids.push((await blobs.put(bytes(2_000_000, 7), { maxBytes: 1e7 })).id);
  return ids.sort();
}

async function idsOf(blobs: BlobStore): Promise<string[]> {
  const found: string[] = [];
  for await (const { id } of blobs.list()) found.push(id);
  return found.sort();
}

Deno.test("blobs to-kv and back: each one is there, whole, and a second time copies nothing", async () => {
  await using server = await testServer();
  await inDir(async (dir) => {
    let ids: string[];
    {
      await using disk = await openDiskBlobs(`${dir}/blobs`);
      ids = await fill(disk, 20);
    }
    const nats = ["--nats-url", server.url, "--json"];
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await cli(["blobs", ...args, ...nats]);
      assert.equal(code, 0, stdout + stderr);
      return JSON.parse(stdout);
    };
    const first = await run("to-kv", "--store-dir", `${dir}/blobs`);
    assert.equal(first.copied, 21);
    assert.deepEqual(await run("to-kv", "--store-dir", `${dir}/blobs`), { ...first, copied: 0 });
    assert.deepEqual(await run("to-disk", "--store-dir", `${dir}/back`), first);
    await using back = await openDiskBlobs(`${dir}/back`);
    assert.deepEqual(await idsOf(back), ids);
    for (const id of ids) {
      const [a, b] = await Promise.all(["blobs", "back"].map((it) => {
        return readFile(`${dir}/${it}/${id.slice(0, 2)}/${id.slice(2, 4)}/${id}`);
      }));
      assert.ok(a!.equals(b!), id);
    }
  });
});

Deno.test("a blob that was damaged on disk is not copied, and is named; the rest may be copied after", async () => {
  await using server = await testServer();
  await inDir(async (dir) => {
    await using disk = await openDiskBlobs(`${dir}/blobs`);
    const ids = await fill(disk, 5);
    const bad = ids[2]!;
    const path = `${dir}/blobs/${bad.slice(0, 2)}/${bad.slice(2, 4)}/${bad}`;
    const good = await readFile(path);
    const data = Uint8Array.from(good);
    data[data.length >> 1]! ^= 1;
    await Deno.chmod(path, 0o600);
    await writeFile(path, data);
    const connection = await connect({ servers: server.url });
    await using objects = await openObjectBlobs({ connection });
    await assert.rejects(
      copyBlobs(disk, objects),
      (error: unknown) =>
        error instanceof StoreError && error.code === "corrupt" && error.message.includes(bad),
    );
    assert.equal(await objects.stat(bad), null);
    await writeFile(path, good);
    const report = await copyBlobs(disk, objects);
    assert.equal(report.count, 6);
    assert.deepEqual(await idsOf(objects), ids);
    await objects.close();
    await connection.close();
  });
});

Deno.test("copying that was ended is begun again where it was", async () => {
  await using server = await testServer();
  await inDir(async (dir) => {
    await using disk = await openDiskBlobs(`${dir}/blobs`);
    const ids = await fill(disk, 30);
    const connection = await connect({ servers: server.url });
    await using objects = await openObjectBlobs({ connection });
    const controller = new AbortController();
    const onProgress = (done: number) => done >= 10 && controller.abort();
    await assert.rejects(
      copyBlobs(disk, objects, { signal: controller.signal, onProgress }),
      (error: unknown) => error instanceof StoreError && error.code === "aborted",
    );
    const some = (await idsOf(objects)).length;
    assert.ok(some >= 10 && some < ids.length, `${some}`);
    assert.equal((await copyBlobs(disk, objects)).copied, ids.length - some);
    assert.deepEqual(await idsOf(objects), ids);
    await objects.close();
    await connection.close();
  });
});

Deno.test("a place that is not there is an error, and none is made", async () => {
  await using server = await testServer();
  await inDir(async (dir) => {
    const to = ["--store-dir", `${dir}/slip`, "--nats-url", server.url];
    const missing = await cli(["blobs", "to-kv", ...to]);
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /Directory .*slip does not exist/);
    const empty = await cli(["blobs", "to-disk", ...to]);
    assert.equal(empty.code, 1);
    assert.match(empty.stderr, /No bucket UNIBUS_BLOBS/);
    assert.deepEqual(await readdir(dir), []);
    assert.equal((await cli(["blobs", "to-kv"])).code, 2);
  });
});
