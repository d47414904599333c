/**
 * Why a server stores nothing: a full disk, or a majority that is away.
 *
 * @module
 */

import assert from "node:assert/strict";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { openJetStream } from "../../../mod.ts";
import { Bucket } from "../../../src/jetstream/log/bucket.ts";
import { quorumAge, streamInfo } from "../../../src/jetstream/log/stream.ts";
import { whenStuck } from "../../../src/jetstream/log/stuck.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { testCluster } from "../../helpers/nats.ts";

Deno.test("a majority that was away and is back in the last moment is not taken for a full disk", async () => {
  await using cluster = await testCluster(3);
  await (await openJetStream({ servers: cluster.urls, replicas: 3, bootstrapTimeout: 60_000 }))
    .close();
  const first = await connectNats({ servers: cluster.urls });
  const { leader } = (await streamInfo(new Bucket(first, "UNIBUS"), soon()))!.cluster!;
  await first.close();
  const at = Number(leader!.slice(1)) - 1;
  const others = cluster.servers.filter((_, i) => i !== at);
  const connection = await connectNats({ servers: cluster.urls[at]! });
  const signal = (name: "SIGSTOP" | "SIGCONT") => {
    for (const { pid } of others) process.kill(pid, name);
  };
  let tries = 0;
  /** The majority comes back after the last try has failed. */
  class Late extends Bucket {
    override async put(key: string, value: string, deadline: number): Promise<number> {
      tries++;
      try {
        return await super.put(key, value, deadline);
      } catch (error) {
        if (Date.now() - begun >= 3900) {
          signal("SIGCONT");
          while (!await isHealthy()) await pause(50);
        }
        throw error;
      }
    }
  }
  const bucket = new Late(connection, "UNIBUS");
  const isHealthy = async () => {
    const info = await streamInfo(bucket, Date.now() + 1000).catch(() => null);
    return info !== null && quorumAge(info) < 1000;
  };
  signal("SIGSTOP");
  const onOpen = whenStuck(bucket);
  let begun = 0;
  try {
    await pause(1050);
    begun = Date.now();
    await onOpen();
  } finally {
    signal("SIGCONT");
    await connection.close();
  }
  assert.ok(tries <= 2, `${tries} tries`);
});

const soon = () => Date.now() + 60_000;
