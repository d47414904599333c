/**
 * Two handles on one empty store of each backend.
 *
 * @module
 */

import { openJetStream } from "../../src/follower/mod.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import type { Store } from "../../src/core/store.ts";
import { type TestServer, testServer } from "./nats.ts";
import { inDir } from "./sqlite.ts";

/** Opens two handles for some work, and closes them. */
export type WithHandles = (work: (a: Store, b: Store) => Promise<void>) => Promise<void>;

/**
 * By the backend's name. A test file's calls share one nats-server, each with a bucket of its own.
 *
 * @param followed Whether the first handle has a follower
 */
export function backends(followed = false): Readonly<Record<"sqlite" | "jetstream", WithHandles>> {
  let server: TestServer;
  let buckets = 0;
  Deno.test.beforeAll(async () => {
    server = await testServer();
  });
  Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());
  return {
    sqlite: (work) =>
      inDir(async (dir) => {
        await using a = openSqlite(`${dir}/a.db`);
        await using b = openSqlite(`${dir}/a.db`);
        await work(a, b);
      }),
    jetstream: (work) =>
      inDir(async (dir) => {
        const options = { servers: server.url, bucket: `HANDLES_${++buckets}` };
        const follower = followed ? { follower: `${dir}/f.db` } : {};
        await using a = await openJetStream({ ...options, ...follower });
        await using b = await openJetStream(options);
        await work(a, b);
      }),
  };
}
