/**
 * The cluster in `/v1/status` of a program that embeds the control plane, by the library alone.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { clusterStatus, type ClusterStatusOptions, openJetStream } from "@unibus/membership";
import { createClient, createIdentity } from "@unibus/membership/client";
import { createControlPlane, openObjectBlobs, serve } from "@unibus/membership/http";
import { busAccounts, loadServiceKeys } from "@unibus/membership/nats";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";
import { testCluster, testServer } from "../../helpers/nats.ts";
import { until } from "../../cli/serve/kit.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { type Answer, nodesIn } from "../../../src/jetstream/cluster/nodes.ts";

/** Servers of a cluster may be busy with other tests, and elect leaders. */
const PATIENT = { bootstrapTimeout: 60_000, opTimeout: 30_000 };

type Places = Required<Pick<ClusterStatusOptions, "connection" | "system">>;

/** A control plane with blobs in NATS, and an admin's client of it. */
async function embedded({ connection, system }: Places, replicas: number, bucket = "UNIBUS") {
  await using stack = new AsyncDisposableStack();
  const store = stack.use(await openJetStream({ connection, bucket, replicas, ...PATIENT }));
  const options = { connection, bucket: `${bucket}_BLOBS`, replicas, opTimeout: 30_000 };
  const blobs = stack.use(await openObjectBlobs(options));
  const cluster = () => clusterStatus({ connection, system, bucket });
  const server = await serve(createControlPlane(store, { blobs, cluster }), { port: 0 });
  stack.defer(() => server.close(100));
  const identity = createIdentity();
  const { signPub, kexPub } = identity;
  await store.addUser({ signPub, kexPub, handle: "ada", role: "admin" });
  const client = createClient({ url: server.url, identity });
  stack.defer(() => client.close());
  const owned = stack.move();
  return { client, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

Deno.test("a node that another has not met since its start is one node, with the name that others know", () => {
  const answer = (name: string, replicas: object[]): Answer => ({
    server: { name, ver: "2.15.1" },
    data: {
      meta_cluster: {
        name: "bus",
        leader: "n1",
        cluster_size: 3,
        replicas: structuredClone(replicas),
      } as never,
    },
  });
  const unknown = (peer: string) => `Server name unknown at this time (peerID: ${peer})`;
  const of = (...answers: Answer[]) =>
    nodesIn(answers).nodes.map(({ name, reachable, current }) => [name, reachable, current]);
  const n3 = { name: "n3", peer: "c", current: false, offline: true };
  const strange = { ...n3, name: unknown("c") };
  const n2 = { name: "n2", peer: "b", current: true };
  const all = [["n1", true, true], ["n2", true, true], ["n3", false, false]];
  assert.deepEqual(of(answer("n1", [n2, n3]), answer("n2", [strange])), all);
  assert.deepEqual(of(answer("n2", [n3]), answer("n1", [n2, strange])), all);
  assert.deepEqual(of(answer("n1", [n2, strange]), answer("n2", [strange])), [
    [unknown("c"), false, false],
    ...all.slice(0, 2),
  ]);
});

Deno.test("/v1/status of an embedded control plane shows three nodes, and one that goes", () =>
  inDir(async (dir) => {
    const keys = await loadServiceKeys(join(dir, "keys.json"), { create: true });
    await using cluster = await testCluster(3, busAccounts({ mode: "off", keys }));
    const as = (seed: string) =>
      connect({
        servers: cluster.urls,
        authenticator: nkeyAuthenticator(new TextEncoder().encode(seed)),
        maxReconnectAttempts: -1,
      });
    const [connection, system] = await Promise.all([as(keys.service.seed), as(keys.system.seed)]);
    try {
      await using it = await embedded({ connection, system }, 3);
      // The copies of what was just made become current by themselves.
      let { cluster: whole } = await it.client.status();
      const isWhole = async () => {
        whole = (await it.client.status()).cluster;
        return whole?.healthy === true;
      };
      await until(isWhole, "copies of everything", 120_000);
      assert.ok(whole !== null);
      assert.deepEqual(whole.problems, []);
      assert.deepEqual(whole.nodes.map(({ name, syncs }) => [name, syncs]), [
        ["n1", true],
        ["n2", true],
        ["n3", true],
      ]);
      assert.deepEqual(whole.quorum, { ok: true, size: 3, reachable: 3, needed: 2 });
      assert.deepEqual(
        whole.buckets.map(({ bucket, holds, replicas, whole }) => [bucket, holds, replicas, whole]),
        [
          ["UNIBUS", "control plane", 3, true],
          ["UNIBUS_HISTORY", "history", 3, true],
          ["UNIBUS_BLOBS", "blobs", 3, true],
        ],
      );
      // Three copies are enough also where the system account is not asked.
      const isEnough = async () => (await clusterStatus({ connection })).problems.length === 0;
      await until(isEnough, "status without problems", 120_000);
      const leaders = new Set([
        whole.nodes.find(({ leads }) => leads)?.name,
        ...whole.buckets.map(({ leader }) => leader),
      ]);
      const lost = cluster.servers.findIndex((_, i) => !leaders.has(`n${i + 1}`));
      // Three leaders may be on three nodes: then one of them goes.
      await cluster.servers.at(lost)!.kill();
      const name = `n${lost < 0 ? 3 : lost + 1}`;
      // The connections may have been to that node, and are made again.
      let status = whole;
      const isMissed = async () => {
        status = await clusterStatus({ connection, system });
        const lostOf = ({ copies }: typeof status.buckets[0]) =>
          copies.filter(({ reachable }) => !reachable).map(({ node }) => node).join();
        return status.nodes.some((node) => node.name === name && !node.reachable) &&
          status.quorum?.reachable === 2 && status.buckets.every((it) => lostOf(it) === name);
      };
      await until(isMissed, `status without ${name}`, 120_000);
      assert.deepEqual([status.quorum?.ok, status.healthy], [true, false]);
      assert.ok(status.problems.some((text) => text.startsWith(`${name} is not reachable`)));
      const isBehind = async () => {
        await it.client.createInvite().catch(() => {});
        const lags = (await clusterStatus({ connection, system })).buckets[0]!.copies
          .map(({ node, lag }) => [node, lag > 0]);
        return lags.length === 3 && lags.every(([node, is]) => is === (node === name));
      };
      await until(isBehind, `lag of the copy on ${name}, and of no other`, 120_000);
      await it[Symbol.asyncDispose]();
      await cluster.servers.find((server) => server !== cluster.servers.at(lost))!.kill();
      const isAlone = async () => {
        status = await clusterStatus({ connection, system });
        return status.quorum?.reachable === 1;
      };
      await until(isAlone, "status of a node that is alone", 120_000);
      assert.equal(status.quorum?.ok, false);
    } finally {
      await Promise.all([connection.close(), system.close()]);
    }
  }));

Deno.test("without the system account the status of one server shows its buckets and nothing of the node", async () => {
  await using server = await testServer();
  const connection = await connect({ servers: server.url });
  try {
    await using it = await embedded({ connection, system: null }, 1, "ALONE");
    const { cluster } = await it.client.status();
    assert.deepEqual([cluster?.cluster, cluster?.quorum], [null, null]);
    assert.deepEqual(cluster?.nodes.map(({ version, syncs }) => [version, syncs]), [[null, null]]);
    assert.deepEqual(cluster?.buckets.map(({ bucket, whole }) => [bucket, whole]), [
      ["ALONE", true],
      ["ALONE_HISTORY", true],
      ["ALONE_BLOBS", true],
    ]);
    assert.deepEqual(cluster?.problems, []);
    // Blobs need not be in NATS, nor be kept beside the bucket; a control plane must.
    const problemsOf = async (options: { bucket: string; blobsBucket?: string }) =>
      (await clusterStatus({ connection, ...options })).problems;
    assert.deepEqual(await problemsOf({ bucket: "ALONE", blobsBucket: "NO_BLOBS" }), []);
    assert.deepEqual(await problemsOf({ bucket: "NONE" }), [
      "Bucket NONE does not exist; a control plane that is in a file moves into it by membershipd " +
      "cluster plan and grow, or migrate-to-kv",
    ]);
    await assert.rejects(
      clusterStatus({ connection, bucket: "ALONE", signal: AbortSignal.abort() }),
      { code: "aborted" },
    );
  } finally {
    await connection.close();
  }
});

Deno.test("the status shows how many entries an archive lacks that has no room, and that it catches up", async () => {
  await using server = await testServer();
  const connection = await connect({ servers: server.url });
  try {
    await using it = await embedded({ connection, system: null }, 1, "FULL");
    const api = async (what: string, body?: unknown) => {
      const subject = `$JS.API.STREAM.${what}.FULL_HISTORY`;
      const data = body === undefined ? "" : JSON.stringify(body);
      const answer = await connection.request(subject, data, { timeout: 60_000 });
      const { config, error } = answer.json<{ config: object; error?: unknown }>();
      assert.equal(error, undefined);
      return config;
    };
    const archive = async () => {
      const { buckets } = (await it.client.status()).cluster!;
      return buckets.find(({ holds }) => holds === "history")!;
    };
    await until(async () => (await archive()).messages === 1, "the archive");
    assert.equal((await archive()).behind, 0);
    const config = await api("INFO");
    await api("UPDATE", { ...config, max_msgs: 1, discard: "new" });
    for (let i = 0; i < 10; i++) await it.client.createInvite();
    await until(async () => (await archive()).behind! > 0, "entries that it lacks");
    await api("UPDATE", config);
    await until(async () => (await archive()).messages === 11, "the archive again", 60_000);
    await until(async () => (await archive()).behind === 0, "no more entries that it lacks");
  } finally {
    await connection.close();
  }
});
