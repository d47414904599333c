/**
 * The conformance suite on three servers with three replicas. Each handle is connected to another
 * node, so reads meet replicas that lag and compare-and-set comes from everywhere.
 *
 * Runs when UNIBUS_CLUSTER=1 is set: it takes about a minute of both cores, mostly raft groups that are
 * made and removed for each of its buckets, and the other files of this directory are in the gate.
 *
 * @module
 */

import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { runConformance } from "../conformance/mod.ts";
import { type TestCluster, testCluster } from "../helpers/nats.ts";

const wanted = Deno.env.get("UNIBUS_CLUSTER") === "1";

let cluster: TestCluster;
let connection: NatsConnection;
let buckets = 0;
let opened = 0;

Deno.test.beforeAll(async () => {
  if (!wanted) return;
  cluster = await testCluster(3);
  connection = await connect({ servers: cluster.urls });
});

Deno.test.afterAll(async () => {
  if (!wanted) return;
  await connection.close();
  await cluster[Symbol.asyncDispose]();
});

runConformance({
  name: "jetstream, 3 replicas",
  test: (name, fn) => Deno.test({ name, ignore: !wanted, fn }),
  factory: () => {
    const bucket = `conformance-${++buckets}`;
    return Promise.resolve({
      open: (options) => {
        const servers = cluster.urls[opened++ % cluster.urls.length]!;
        return openJetStream({ servers, bucket, replicas: 3, ...options });
      },
      dispose: async () => {
        const manager = await jetstreamManager(connection, { checkAPI: false });
        for (const stream of [`KV_${bucket}`, `${bucket}_HISTORY`]) {
          await manager.streams.delete(stream);
        }
      },
    });
  },
});
