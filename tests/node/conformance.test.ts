/** The conformance suite under Node's own test runner, on both backends; run by tests/package/node_test.ts. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openJetStream, openSqlite } from "../../mod.ts";
import { runConformance } from "../conformance/mod.ts";
import { type TestServer, testServer } from "../helpers/nats.ts";

let server: TestServer;
let buckets = 0;

before(async () => {
  server = await testServer();
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

const register = (name: string, work: () => unknown) =>
  void test(name, async () => void await work());

runConformance({
  name: "node, sqlite",
  test: register,
  factory: async () => {
    const dir = await mkdtemp(join(tmpdir(), "unibus-node-"));
    return {
      open: (options) => Promise.resolve(openSqlite(join(dir, "unibus.db"), options)),
      dispose: () => rm(dir, { recursive: true }),
    };
  },
});

runConformance({
  name: "node, jetstream",
  test: register,
  factory: () => {
    const bucket = `NODE_${++buckets}`;
    return Promise.resolve({
      open: (options) => openJetStream({ servers: server.url, bucket, ...options }),
      dispose: () => Promise.resolve(),
    });
  },
});
