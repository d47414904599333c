/**
 * What a store on a cluster says of itself, and tells, while nodes come and go.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { AccessChange } from "../../src/core/model.ts";
import { connect } from "@nats-io/transport-node";
import { openObjectBlobs } from "../../src/blobs/mod.ts";
import { findStream } from "../../src/jetstream/log/wire.ts";
import { openJetStream, type StoreWarning } from "../../src/jetstream/mod.ts";
import { eventually, newUser } from "../conformance/kit/kit.ts";
import { testCluster } from "../helpers/nats.ts";

Deno.test("a store opened with fewer replicas shrinks what is there, unless it must not", async () => {
  await using cluster = await testCluster(3);
  const servers = cluster.servers[0]!.url;
  await (await openJetStream({ servers, replicas: 3 })).close();
  const connection = await connect({ servers });
  await (await openObjectBlobs({ connection, replicas: 3 })).close();
  const found = async () => {
    const deadline = Date.now() + 20_000;
    const of = (name: string) => findStream(connection, name, deadline);
    const streams = [await of("KV_UNIBUS"), await of("OBJ_UNIBUS_BLOBS")];
    return streams.map((it) => it?.config.num_replicas);
  };
  const warnings: StoreWarning[] = [];
  const onWarning = (it: StoreWarning) => void warnings.push(it);
  const kept = { connection, replicas: 1, resize: false };
  await (await openJetStream({ ...kept, onWarning })).close();
  await (await openObjectBlobs(kept)).close();
  assert.deepEqual(await found(), [3, 3]);
  const other = warnings.filter((it) => it.code === "other_replicas");
  assert.match(other[0]!.message, /UNIBUS keeps its 3 replicas.*1 were requested/);
  await (await openJetStream({ connection, replicas: 1 })).close();
  await (await openObjectBlobs({ connection, replicas: 1 })).close();
  assert.deepEqual(await found(), [1, 1]);
  await connection.close();
});

Deno.test("health() and watchAccess() with one of three nodes gone, with two gone, and back", async () => {
  await using cluster = await testCluster(3);
  await using store = await openJetStream({ servers: cluster.servers[0]!.url, replicas: 3 });
  await using other = await openJetStream({ servers: cluster.servers[1]!.url });
  const told: AccessChange[] = [];
  store.watchAccess((change) => told.push(change));
  const replicas = async () => (await store.health()).checks.find((it) => it.name === "replicas")!;
  const healthy = () => eventually("healthy", async () => (await store.health()).ok, 30_000);
  await healthy();
  await eventually(
    "3 of 3",
    async () => /^3 of 3 current$/.test((await replicas()).detail),
    10_000,
  );

  await cluster.servers[2]!.stop();
  await eventually(
    "one is missing, and named",
    async () => /^2 of 3 current; not current: n3$/.test((await replicas()).detail),
    30_000,
  );
  await healthy();
  const user = newUser();
  await eventually("written", () => other.addUser(user).then(() => true, () => false), 20_000);
  const covers = (it: AccessChange) => it.endpoint === user.signPub || !Object.keys(it).length;
  await eventually("told", () => Promise.resolve(told.some(covers)));

  cluster.servers[1]!.kill("SIGSTOP");
  await eventually("without a quorum", async () => !(await store.health()).ok, 30_000);
  // What was heard within maxStaleness is believed a little longer than the probe waits for an answer.
  await eventually("no", async () => !(await store.isAuthorized(user.signPub)), 10_000);
  cluster.servers[1]!.kill("SIGCONT");
  await cluster.servers[2]!.restart();
  await healthy();
  await eventually(
    "3 of 3 again",
    async () => (await replicas()).detail === "3 of 3 current",
    30_000,
  );
  // A leader may have been elected just now: nobody is authorized until it has confirmed its quorum.
  await eventually("yes again", () => store.isAuthorized(user.signPub));
});
