/**
 * Why a server stores nothing: a full disk, or a majority that is away.
 *
 * @module
 */

import assert from "node:assert/strict";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { JetStreamApiError } from "@nats-io/jetstream";
import { openJetStream, StoreError } from "../../../mod.ts";
import { Bucket } from "../../../src/jetstream/log/bucket.ts";
import { quorumAge, streamInfo } from "../../../src/jetstream/log/stream.ts";
import { whenStuck } from "../../../src/jetstream/log/stuck.ts";
import { CODE, Transient } from "../../../src/jetstream/log/wire.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { testCluster, testServer } from "../../helpers/nats.ts";
import { failsWith } from "../../helpers/sqlite.ts";

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

Deno.test("a server that answers but stores nothing is told from one that is away, after a second of failures", async () => {
  await using server = await testServer();
  await (await openJetStream({ servers: server.url })).close();
  const connection = await connectNats({ servers: server.url });
  /** Small writes end as the test says. */
  class Failing extends Bucket {
    puts = 0;
    error: Error | null = null;
    override put(): Promise<number> {
      this.puts++;
      return this.error === null ? Promise.resolve(1) : Promise.reject(this.error);
    }
  }
  const bucket = new Failing(connection, "UNIBUS");
  try {
    const onOpen = whenStuck(bucket);
    await onOpen();
    assert.equal(bucket.puts, 0);
    await pause(1050);
    await onOpen();
    assert.equal(bucket.puts, 1);
    // What was stored a moment ago says that it can.
    await onOpen();
    assert.equal(bucket.puts, 1);
    const after = async (error: Error) => {
      const onOpen = whenStuck(bucket);
      bucket.error = error;
      await pause(1050);
      bucket.puts = 0;
      return onOpen();
    };
    const other = new StoreError("closed", "The store is closed");
    await assert.rejects(after(other), other);
    const code = CODE.insufficientResources;
    const cause = new JetStreamApiError({ code: 503, err_code: code, description: "full" });
    await failsWith("unavailable", () => after(new Transient("full", { cause })), /is full: full;/);
    assert.equal(bucket.puts, 1);
    await failsWith(
      "unavailable",
      () => after(new Transient("no answer")),
      /is full: it answers but stores nothing/,
    );
    assert.ok(bucket.puts > 1, `${bucket.puts} tries`);
    process.kill(server.pid, "SIGSTOP");
    await after(new Transient("no answer"));
    assert.equal(bucket.puts, 0);
  } finally {
    process.kill(server.pid, "SIGCONT");
    await connection.close();
  }
});

const soon = () => Date.now() + 60_000;
