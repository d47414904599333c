/**
 * Another process that uses a store of blobs.
 *
 * `disk DIR` or `objects URL BUCKET` says which one, then
 * - `put TEXT SIZE`: says `ready`, waits for a line, stores SIZE bytes made of TEXT, says the result;
 * - `hang SIZE`: takes in SIZE bytes, says `hanging` and never ends the source;
 * - `flow MB`: stores and reads MB megabytes, says by how many bytes its memory grew at most.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type BlobStore, openDiskBlobs, openObjectBlobs } from "../../src/blobs/mod.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";

const [kind, ...rest] = Deno.args;

async function open(): Promise<{ blobs: BlobStore; args: string[] }> {
  if (kind === "disk") return { blobs: await openDiskBlobs(rest[0]!), args: rest.slice(1) };
  const connection = await connectNats({ servers: rest[0]! });
  return {
    blobs: await openObjectBlobs({ connection, bucket: rest[1]! }),
    args: rest.slice(2),
  };
}

const { blobs, args: [what, ...args] } = await open();

async function put([text, size]: string[]): Promise<void> {
  const bytes = Buffer.alloc(Number(size), text!);
  console.log("ready");
  await Deno.stdin.read(new Uint8Array(16));
  async function* source() {
    for (let at = 0; at < bytes.length; at += 65_536) {
      await Promise.resolve();
      yield bytes.subarray(at, at + 65_536);
    }
  }
  console.log(JSON.stringify(await blobs.put(source(), { maxBytes: bytes.length })));
}

async function hang([size]: string[]): Promise<void> {
  async function* source() {
    for (let left = Number(size); left > 0; left -= 65_536) yield new Uint8Array(65_536).fill(1);
    console.log("hanging");
    await new Promise(() => setInterval(() => {}, 1000));
  }
  await blobs.put(source(), { maxBytes: Number(size) * 2 });
}

async function flow([megabytes]: string[]): Promise<void> {
  const chunk = crypto.getRandomValues(new Uint8Array(65_536));
  const chunks = Number(megabytes) * 16;
  async function* source() {
    for (let i = 0; i < chunks; i++) {
      new DataView(chunk.buffer).setUint32(0, i);
      yield chunk;
      if (i % 64 === 0) await look();
    }
  }
  const before = Deno.memoryUsage().rss;
  let peak = before;
  const look = async () => {
    await Promise.resolve();
    // What is held counts, not what waits to be collected.
    (globalThis as { gc?: () => void }).gc?.();
    peak = Math.max(peak, Deno.memoryUsage().rss);
  };
  const { id } = await blobs.put(source(), { maxBytes: Number.MAX_SAFE_INTEGER });
  const { body } = (await blobs.get(id))!;
  let read = 0;
  for await (const bytes of body) {
    read += bytes.length;
    if (Math.floor(read / 65_536) % 64 !== 0) continue;
    // A reader slower than the store.
    await new Promise((resolve) => setTimeout(resolve, 1));
    await look();
  }
  console.log(JSON.stringify({ read, grown: peak - before }));
}

const work = { put, hang, flow }[what ?? ""];
if (work === undefined) throw new Error(`Cannot ${what}`);
await work(args);
await blobs.close();
Deno.exit(0);
