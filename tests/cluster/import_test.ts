/**
 * Between one server and a cluster: neither takes over the other's streams, so they are copied.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { HistoryEntry } from "../../mod.ts";
import { openObjectBlobs } from "../../src/blobs/mod.ts";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { findStream } from "../../src/jetstream/log/wire.ts";
import { COPYING_KEY } from "../../src/jetstream/log/stream.ts";
import { copyStream } from "../../src/jetstream/cluster/transfer.ts";
import { busAccounts, loadServiceKeys, startNatsServer } from "../../src/nats/mod.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { lookAt, misuseOf } from "../../cli/cluster/directory.ts";
import { newUser } from "../conformance/kit/kit.ts";
import { documentOf } from "../cli/kit.ts";
import { code, entriesOf, populate, snapshot } from "../move/kit.ts";
import { natsBinary, testCluster } from "../helpers/nats.ts";
import { inDir } from "../helpers/sqlite.ts";
import { CLUSTER, tryRun } from "./kit.ts";

async function* text(it: string): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(new TextEncoder().encode(it));
}

Deno.test("cluster import: a directory comes out as it was, also after an interruption; nothing is overwritten", async (t) => {
  await inDir(async (dir) => {
    const keys = await loadServiceKeys(`${dir}/keys.json`, { create: true });
    const nkeySeed = keys.service.seed;
    const { path: binary } = await natsBinary();
    const accounts = busAccounts({ mode: "off", keys });
    const streams = `${dir}/streams`;
    const single = () => startNatsServer({ binary, ...accounts, jetstream: { storeDir: streams } });
    await using cluster = await testCluster(3, accounts);
    let whole = "";
    let entries: HistoryEntry[] = [];
    let blob = "";
    {
      await using server = await single();
      const connection = await connectNats({ servers: server.url, nkeySeed });
      await using store = await openJetStream({ connection });
      await populate(store);
      for (let i = 0; i < 5; i++) {
        await Promise.all(Array.from({ length: 300 }, () => store.addUser(newUser())));
      }
      whole = await snapshot(store);
      entries = await entriesOf(store);
      await using blobs = await openObjectBlobs({ connection });
      blob = (await blobs.put(text("kept ".repeat(100_000)), { maxBytes: 1e6 })).id;
      await store.close();
      await connection.close();
    }
    const target = ["--nats-url", cluster.urls[0]!, "--service-keys", `${dir}/keys.json`];
    const bring = (...more: string[]) => tryRun("cluster", "import", streams, ...target, ...more);
    await using stack = new AsyncDisposableStack();
    const connection = await connectNats({ servers: cluster.urls, nkeySeed });
    stack.defer(() => connection.close());
    const stream = (name: string) => findStream(connection, name, Date.now() + 10_000);

    await t.step("a node of a cluster is not started on it, a server by itself is", async () => {
      assert.match(await misuseOf(streams, true) ?? "", /streams of a standalone server/);
      assert.equal(await misuseOf(streams, false), null);
      assert.deepEqual((await lookAt(`${dir}/nowhere`)).streams, []);
      const node = cluster.servers[0]!.directory + "/store";
      await using store = await openJetStream({ connection, bucket: "OTHER", replicas: 3 });
      await store.addUser(newUser());
      assert.match(await misuseOf(node, false) ?? "", /streams of a cluster node/);
      assert.equal(await misuseOf(node, true), null);
    });

    await t.step("interrupted, and run again", async () => {
      // The server takes its time to clear up after it.
      if (CLUSTER) {
        await using server = await single();
        const source = await connectNats({ servers: server.url, nkeySeed });
        const half = await connectNats({ servers: cluster.urls[1]!, nkeySeed });
        const controller = new AbortController();
        await assert.rejects(
          copyStream(source, half, "KV_UNIBUS", {
            replicas: 3,
            signal: controller.signal,
            onProgress: () => controller.abort(),
          }),
          code("aborted"),
        );
        await Promise.all([source.close(), half.close()]);
      }
      const result = await bring("--replicas", "3", "--json");
      assert.equal(result.code, 0, result.stderr);
      const { buckets, counts, left } = documentOf(result);
      assert.deepEqual(buckets.map((it: Record<string, unknown>) => [it.bucket, it.copied]), [
        ["UNIBUS", true],
        ["UNIBUS_HISTORY", true],
        ["UNIBUS_BLOBS", true],
      ]);
      assert.deepEqual([counts.users, left], [1504, []]);
      await using store = await openJetStream({ connection, create: false });
      assert.equal(await snapshot(store), whole);
      assert.deepEqual(await entriesOf(store), entries);
      const archived = (await stream("UNIBUS_HISTORY"))!.state.messages;
      assert.equal(archived, entries.length, "the archive received entries twice");
      await using blobs = await openObjectBlobs({ connection });
      const body = (await blobs.get(blob))!.body;
      assert.equal(await new Response(body).text(), "kept ".repeat(100_000));
      for (const name of ["KV_UNIBUS", "UNIBUS_HISTORY", "OBJ_UNIBUS_BLOBS"]) {
        const { config } = (await stream(name))!;
        assert.equal(config.num_replicas, 3);
        assert.equal(config.metadata?.[COPYING_KEY], undefined);
      }
    });

    await t.step("half a copy is not opened, and is made anew", async () => {
      const { config } = (await stream("KV_UNIBUS"))!;
      const metadata = { ...config.metadata, [COPYING_KEY]: "1" };
      await connection.request(
        "$JS.API.STREAM.UPDATE.KV_UNIBUS",
        JSON.stringify({ ...config, metadata }),
      );
      await assert.rejects(openJetStream({ connection }), code("in_progress"));
      const result = await bring("--json");
      assert.equal(result.code, 0, result.stderr);
      assert.deepEqual(
        documentOf(result).buckets.map((it: { copied: boolean }) => it.copied),
        [true, false, false],
      );
      await using store = await openJetStream({ connection });
      assert.equal(await snapshot(store), whole);
      assert.deepEqual(await entriesOf(store), entries);
    });

    await t.step("what was written since, and what is in use, stays", async () => {
      let after = "";
      {
        await using store = await openJetStream({ connection });
        await store.addUser(newUser());
        after = await snapshot(store);
        const refused = await bring();
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /Bucket UNIBUS (is in use|already exists) on the target/);
      }
      const refused = await bring();
      assert.match(refused.stderr, /Bucket UNIBUS already exists on the target, with \d+ messages/);
      await using store = await openJetStream({ connection });
      assert.equal(await snapshot(store), after);
    });

    await t.step("a directory that holds none, or one of several copies, is told so", async () => {
      await Deno.mkdir(`${dir}/empty`);
      const none = await tryRun("cluster", "import", `${dir}/empty`, ...target);
      assert.equal(none.code, 2);
      assert.match(none.stderr, /contains no streams; specify the --nats-store directory/);
      // All three, so that the copy of one is not missed by the others.
      await connection.drain();
      await Promise.all(cluster.servers.map((it) => it.stop()));
      const node = `${cluster.servers[0]!.directory}/store`;
      await using server = await startNatsServer({
        binary,
        ...accounts,
        jetstream: { storeDir: `${dir}/new` },
      });
      const to = ["--nats-url", server.url, "--service-keys", `${dir}/keys.json`];
      const many = await tryRun("cluster", "import", node, ...to, "--bucket", "OTHER");
      assert.equal(many.code, 1);
      assert.match(many.stderr, /membershipd cluster scale --replicas 1 --keep/);
    });
  });
});
