/**
 * What must be so of each node before the switch of a move into a cluster.
 *
 * @module
 */

import assert from "node:assert/strict";
import process from "node:process";
import { jetstreamManager } from "@nats-io/jetstream";
import { whenCurrent } from "../../../../cli/serve/journey/copies.ts";
import { openJetStream } from "../../../../mod.ts";
import { openObjectBlobs } from "../../../../src/blobs/mod.ts";
import { freezeObjectBlobs, thawObjectBlobs } from "../../../../src/blobs/objects/freeze.ts";
import { copiesOf } from "../../../../src/jetstream/cluster/copies.ts";
import { findStream } from "../../../../src/jetstream/log/wire.ts";
import { connectNats } from "../../../../src/nats/connection/connect.ts";
import { type TestCluster, testCluster } from "../../../helpers/nats.ts";
import { person } from "../../../helpers/sqlite.ts";
import { until } from "../kit.ts";

const moving = { bucket: "UNIBUS", history: true };

Deno.test("a node that takes no writes keeps the switch from being made, though its copy counts as current", async () => {
  await using cluster = await testCluster(3);
  const leads = await filled(cluster);
  // One that leads none of them, or only the history.
  const [quiet] = cluster.servers.filter((_, i) => !leads.includes(`n${i + 1}`));
  const url = cluster.urls[Number(leads[0]!.slice(1)) - 1]!;
  const connection = await connectNats({ servers: url });
  const { pid } = quiet!;
  let isStopped = false;
  try {
    const told: number[] = [];
    const abort = new AbortController();
    const trip = {
      signal: abort.signal,
      begin: () => {},
      tell: ({ done }: { done?: number }) => void told.push(done!),
    };
    await whenCurrent({ connection }, moving, trip);
    assert.equal(told.at(-1), 9);

    told.length = 0;
    process.kill(pid, "SIGSTOP");
    isStopped = true;
    let isOver = false;
    const waiting = whenCurrent({ connection }, moving, trip).finally(() => isOver = true);
    await until(() => isOver || told.length > 0, "the first look", 120_000);
    assert.equal(isOver, false);
    assert.ok(told[0]! < 9, `${told}`);
    process.kill(pid, "SIGCONT");
    isStopped = false;
    await waiting;
    assert.equal(told.at(-1), 9);

    await whenCurrent({ connection }, { ...moving, history: false }, trip);
    assert.equal(told.at(-1), 6);
    // Without its streams nothing is ready.
    const ends = (now: { done?: number }) => {
      trip.tell(now);
      abort.abort("call-off");
    };
    await assert.rejects(
      whenCurrent({ connection }, { ...moving, bucket: "NONE" }, { ...trip, tell: ends }),
    );
    assert.equal(told.at(-1), 0);
  } finally {
    if (isStopped) process.kill(pid, "SIGCONT");
    await connection.close();
  }
});

Deno.test("the switch waits until the bucket of blobs takes writes, and the history has all its copies", async () => {
  await using cluster = await testCluster(3);
  await filled(cluster);
  const connection = await connectNats({ servers: cluster.urls });
  const place = { connection, bucket: "UNIBUS_BLOBS" };
  try {
    const jsm = await jetstreamManager(connection, { timeout: 60_000 });
    const copies = (num_replicas: number) => jsm.streams.update("UNIBUS_HISTORY", { num_replicas });
    const { subjects } = (await jsm.streams.info("KV_UNIBUS")).config;
    const take = (subjects: string[]) => jsm.streams.update("KV_UNIBUS", { subjects });
    for (
      const [hinder, help] of [
        [() => freezeObjectBlobs(place), () => thawObjectBlobs(place)],
        [() => copies(1), () => copies(3)],
        [() => take(["$KV.UNIBUS.none"]), () => take(subjects)],
      ] as const
    ) {
      await hinder();
      const told: number[] = [];
      const trip = {
        signal: new AbortController().signal,
        begin: () => {},
        tell: ({ done }: { done?: number }) => void told.push(done!),
      };
      let isOver = false;
      const waiting = whenCurrent({ connection }, moving, trip).finally(() => isOver = true);
      waiting.catch(() => {});
      await until(() => isOver || told.some((it) => it < 9), "a look", 120_000);
      assert.equal(isOver, false);
      await help();
      await waiting;
      assert.equal(told.at(-1), 9);
    }
    // What was written to find that out is gone.
    assert.equal((await jsm.streams.info("OBJ_UNIBUS_BLOBS")).state.messages, 0);
  } finally {
    await connection.close();
  }
});

/** Makes both buckets; returns the nodes that lead them. */
async function filled({ urls }: TestCluster): Promise<string[]> {
  await using store = await openJetStream({
    servers: urls,
    replicas: 3,
    bootstrapTimeout: 60_000,
    opTimeout: 30_000,
  });
  await store.addUser(person("ada"));
  const connection = await connectNats({ servers: urls });
  try {
    const options = { connection, bucket: "UNIBUS_BLOBS", replicas: 3, opTimeout: 60_000 };
    await (await openObjectBlobs(options)).close();
    const leads = await Promise.all(["KV_UNIBUS", "OBJ_UNIBUS_BLOBS"].map(async (it) => {
      const info = await findStream(connection, it, Date.now() + 30_000);
      return copiesOf(info!).find(({ leads }) => leads)!.node;
    }));
    return leads;
  } finally {
    await connection.close();
  }
}
