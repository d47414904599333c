/**
 * The conformance suite on three servers with three replicas. Each handle is connected to another
 * node, so reads meet replicas that lag and compare-and-set comes from everywhere.
 *
 * @module
 */

import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { runConformance } from "../conformance/mod.ts";
import { type TestCluster, testCluster } from "../helpers/nats.ts";

let cluster: TestCluster;
let connection: NatsConnection;
let buckets = 0;
let opened = 0;

Deno.test.beforeAll(async () => {
  cluster = await testCluster(3);
  connection = await connect({ servers: cluster.urls });
});

Deno.test.afterAll(async () => {
  await connection.close();
  await cluster[Symbol.asyncDispose]();
});

runConformance({
  name: "jetstream, 3 replicas",
  test: Deno.test,
  factory: () => {
    const bucket = `conformance-${++buckets}`;
    return Promise.resolve({
      open: (options) => {
        const servers = cluster.urls[opened++ % cluster.urls.length]!;
        return openJetStream({ servers, bucket, replicas: 3, ...options });
      },
      dispose: async () => {
        const manager = await jetstreamManager(connection, { checkAPI: false });
        await manager.streams.delete(`KV_${bucket}`);
      },
    });
  },
});
