/**
 * The conformance suite through the HTTP client, over a real socket, against a server on either
 * backend.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openJetStream, openSqlite } from "@unibus/membership";
import { runConformance } from "../conformance/mod.ts";
import { overHttp } from "./store.ts";
import { type TestServer, testServer } from "../helpers/nats.ts";

let nats: TestServer;
let buckets = 0;

Deno.test.beforeAll(async () => {
  nats = await testServer();
});

Deno.test.afterAll(async () => {
  await nats[Symbol.asyncDispose]();
});

runConformance({
  name: "http, sqlite",
  test: Deno.test,
  skip: (name, reason) => Deno.test.ignore(`${name} (${reason})`, () => {}),
  capabilities: { anyValue: false },
  factory: async () => {
    const folder = await mkdtemp(join(tmpdir(), "unibus-http-"));
    return {
      open: (options) => overHttp(openSqlite(join(folder, "unibus.db"), options), options?.clock),
      dispose: () => rm(folder, { recursive: true }),
    };
  },
});

runConformance({
  name: "http, jetstream",
  test: Deno.test,
  skip: (name, reason) => Deno.test.ignore(`${name} (${reason})`, () => {}),
  capabilities: { anyValue: false },
  factory: () => {
    const bucket = `http-${++buckets}`;
    return Promise.resolve({
      open: async (options) =>
        await overHttp(
          await openJetStream({ servers: nats.url, bucket, ...options }),
          options?.clock,
        ),
      dispose: () => Promise.resolve(),
    });
  },
});
