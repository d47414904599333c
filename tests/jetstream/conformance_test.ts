/**
 * The conformance suite on the JetStream backend: one nats-server, a bucket of its own for each test.
 *
 * @module
 */

import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { runConformance } from "../conformance/mod.ts";
import { type TestServer, testServer } from "../helpers/nats.ts";

let server: TestServer;
let connection: NatsConnection;
let manager: JetStreamManager;
let buckets = 0;

Deno.test.beforeAll(async () => {
  server = await testServer();
  connection = await connect({ servers: server.url });
  manager = await jetstreamManager(connection);
  // A server that loses its last stream removes their directory, now and then while it makes the next.
  await manager.streams.add({ name: "KEEP", subjects: ["keep"] });
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
        for (const stream of [`KV_${bucket}`, `${bucket}_HISTORY`]) {
          await manager.streams.delete(stream);
        }
      },
    });
  },
});
