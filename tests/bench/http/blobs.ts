/**
 * Storing blobs, against piping the same bytes through SHA-256 into a synced file.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type BlobStore, openDiskBlobs, openObjectBlobs } from "../../../src/blobs/mod.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { alternate, median } from "../measure.ts";
import { type Row, whole } from "../table.ts";
import type { World } from "../world.ts";

const MB = 1024 * 1024;
const SIZE = 64 * MB;
const CHUNK = 64 * 1024;
const ROUNDS = 8;

/** The bytes of a blob no one has stored, in chunks as a socket gives them. */
async function* fresh(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  bytes.set(randomBytes(16));
  for (let at = 0; at < bytes.length; at += CHUNK) {
    await Promise.resolve();
    yield bytes.subarray(at, at + CHUNK);
  }
}

/** What people write who need a file and its SHA-256. */
async function piped(source: AsyncIterable<Uint8Array>, path: string): Promise<string> {
  const hash = createHash("sha256");
  const hashed = new Transform({
    transform(chunk, _, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  await pipeline(Readable.from(source, { objectMode: false }), hashed, createWriteStream(path));
  const file = await open(path, "r+");
  await file.sync();
  await file.close();
  return hash.digest("hex");
}

async function drain(blobs: BlobStore, id: string): Promise<void> {
  const { body } = (await blobs.get(id))!;
  for await (const chunk of body) void chunk;
}

/** Measures storing and reading, on disk and in the object store. */
export async function blobs(world: World): Promise<Row[]> {
  const directory = join(world.server.directory, "bench-blobs");
  const bare = join(world.server.directory, "bench-piped");
  let files = 0;
  const connection = await connectNats({ servers: world.server.url });
  try {
    await mkdir(bare);
    await using disk = await openDiskBlobs(directory);
    await using objects = await openObjectBlobs({ connection, bucket: "BENCH_BLOBS" });
    const bytes = randomBytes(SIZE);
    const put = (store: BlobStore) => store.put(fresh(bytes), { maxBytes: SIZE });
    const times = await alternate(ROUNDS, [
      () => put(disk),
      // A new file each time, as a blob is: to write over one that is there costs half.
      () => piped(fresh(bytes), join(bare, String(files++))),
      () => put(objects),
    ]);
    const { id } = await put(disk);
    await objects.put(
      (async function* () {
        await Promise.resolve();
        yield bytes;
      })(),
      { maxBytes: SIZE },
    );
    const reads = await alternate(ROUNDS, [() => drain(disk, id), () => drain(objects, id)]);
    const [toDisk, toFile, toObjects] = times.map(median) as [number, number, number];
    const [fromDisk, fromObjects] = reads.map(median) as [number, number];
    const speed = (ms: number) => `${whole(SIZE / MB / ms * 1000)} MB/s`;
    return [
      {
        what: "blob of 64 MB to disk",
        found: speed(toDisk),
        baseline: `piped through SHA-256 into a synced new file ${speed(toFile)}`,
        ratio: toFile / toDisk,
        goal: { least: 0.6 },
      },
      {
        what: "blob of 64 MB to the object store",
        found: speed(toObjects),
        baseline: `the same file ${speed(toFile)}`,
        ratio: toFile / toObjects,
      },
      { what: "blob of 64 MB from disk, checked", found: speed(fromDisk) },
      { what: "blob of 64 MB from the object store, checked", found: speed(fromObjects) },
    ];
  } finally {
    await connection.close();
    await rm(directory, { recursive: true, force: true });
    await rm(bare, { recursive: true, force: true });
  }
}
