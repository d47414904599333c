/**
 * The conformance suite on the JetStream backend: one nats-server, a bucket of its own for each test.
 *
 * @module
 */

import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { openJetStream } from "../src/jetstream/mod.ts";
import { runConformance } from "./conformance/mod.ts";
import { type TestServer, testServer } from "./helpers/nats.ts";

let server: TestServer;
let connection: NatsConnection;
let buckets = 0;

Deno.test.beforeAll(async () => {
  server = await testServer();
  connection = await connect({ servers: server.url });
});

Deno.test.afterAll(async () => {
  await connection.close();
  await server[Symbol.asyncDispose]();
});

runConformance({
  name: "jetstream",
  test: Deno.test,
  factory: () => {
    const bucket = `conformance-${++buckets}`;
    return Promise.resolve({
      open: (options) => openJetStream({ servers: server.url, bucket, ...options }),
      dispose: async () => {
        const manager = await jetstreamManager(connection, { checkAPI: false });
        await manager.streams.delete(`KV_${bucket}`);
      },
    });
  },
});
