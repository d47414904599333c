/**
 * What tests of followers share.
 *
 * @module
 */

import { cp, rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { headers, nuid } from "@nats-io/transport-node";
import { did } from "../../src/core/history/entry.ts";
import { openBucket } from "../../src/jetstream/mod.ts";
import type { Bucket } from "../../src/jetstream/log/bucket.ts";
import { encodeEntry } from "../../src/jetstream/records/entries.ts";
import { historyKey } from "../../src/jetstream/records/keys.ts";
import type { TestServer } from "../helpers/nats.ts";

/** All rows of a table, as another process sees them. */
export function rowsOf(path: string, table: string): Record<string, unknown>[] {
  const db = new DatabaseSync(path, { readOnly: true, timeout: 60_000 });
  try {
    return db.prepare(`SELECT * FROM ${table}`).all();
  } finally {
    db.close();
  }
}

/** The handles of the users in a file. */
export function namesIn(path: string): string[] {
  return rowsOf(path, "users").map(({ handle }) => String(handle));
}

/** The digest of what a file holds, added up anew. */
export function digestOf(path: string): string {
  let sum = 0n;
  for (const { hash } of rowsOf(path, "follower_entries")) {
    sum += [...hash as Uint8Array].reduce((all, byte) => (all << 8n) | BigInt(byte), 0n);
  }
  return BigInt.asUintN(128, sum).toString(16).padStart(32, "0");
}

/** The bucket below the store, on a connection of its own. */
export async function rawBucket(
  servers: string | string[],
  name = "UNIBUS",
  nkeySeed?: string,
) {
  const { bucket, end } = await openBucket({
    servers,
    bucket: name,
    create: false,
    ...nkeySeed === undefined ? {} : { nkeySeed },
  });
  const soon = () => Date.now() + 60_000;
  return {
    bucket,
    /** Asks JetStream's API about the bucket's stream. */
    api: (what: string, request?: unknown) =>
      bucket.nc.request(`$JS.API.STREAM.${what}.${bucket.stream}`, JSON.stringify(request), {
        timeout: 60_000,
      }),
    put: (key: string, value: string) => bucket.put(key, value, soon()),
    get: async (key: string) => new TextDecoder().decode((await bucket.get(key, soon()))!.data),
    [Symbol.asyncDispose]: end,
  };
}

/** Stops a nats-server, keeps its disk, and starts it; what it returns puts that disk back. */
export async function keepDisk(server: TestServer, dir: string): Promise<() => Promise<void>> {
  const store = `${server.directory}/store`;
  await server.stop();
  await cp(store, `${dir}/kept`, { recursive: true });
  await server.restart();
  return async () => {
    await server.stop();
    await rm(store, { recursive: true });
    await cp(`${dir}/kept`, store, { recursive: true });
    await server.restart();
  };
}

/**
 * Writes a batch: values of keys, and as its last message an entry of the history that lives so many
 * seconds. Answers with the entry's sequence.
 */
export async function putWithEntry(
  bucket: Bucket,
  values: Record<string, string>,
  life: number,
): Promise<number> {
  const id = nuid.next();
  const author = { by: "library", at: new Date().toISOString(), wrote() {} };
  const entry = encodeEntry(did.keysPruned("r1", 1), author, 0);
  const all = [...Object.entries(values), [historyKey(id), entry] as const];
  for (const [i, [key, value]] of all.entries()) {
    const header = headers();
    header.set("Nats-Batch-Id", id);
    header.set("Nats-Batch-Sequence", String(i + 1));
    if (i < all.length - 1) {
      bucket.nc.publish(bucket.subject(key), value, { headers: header });
      continue;
    }
    header.set("Nats-Batch-Commit", "1");
    header.set("Nats-TTL", `${life}s`);
    const answer = await bucket.nc.request(bucket.subject(key), value, {
      headers: header,
      // A leader that is killed does not answer.
      timeout: 10_000,
    });
    const { seq, error } = answer.json<{ seq: number; error?: { description: string } }>();
    if (error !== undefined) throw new Error(error.description);
    return seq;
  }
  throw new Error("unreachable");
}
