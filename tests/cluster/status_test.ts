/**
 * `membershipd cluster`: what it tells of three nodes, one of which goes, and of one server.
 *
 * @module
 */

import assert from "node:assert/strict";
import { busAccounts, loadServiceKeys } from "../../src/nats/mod.ts";
import { openObjectBlobs } from "../../src/blobs/mod.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { cli, cliProcess, documentOf } from "../cli/kit.ts";
import { populate } from "../move/kit.ts";
import { testCluster, testServer } from "../helpers/nats.ts";
import { until } from "../cli/serve/kit.ts";
import { CLUSTER, present } from "./kit.ts";
import { inDir } from "../helpers/sqlite.ts";

/** Makes a bucket and blobs, one copy of each. */
async function fill(servers: string[], nkeySeed: string): Promise<void> {
  const connection = await connectNats({ servers, nkeySeed, bootstrapTimeout: 30_000 });
  try {
    await using store = await openJetStream({ connection, opTimeout: 20_000 });
    await populate(store);
    await using blobs = await openObjectBlobs({ connection });
    const bytes = new TextEncoder().encode("a blob");
    await blobs.put(
      (async function* () {
        yield await Promise.resolve(bytes);
      })(),
      { maxBytes: 1000 },
    );
  } finally {
    await connection.close();
  }
}

Deno.test("status, scale and remove over the life of three nodes", async (t) => {
  await inDir(async (dir) => {
    const keys = await loadServiceKeys(`${dir}/keys.json`, { create: true });
    await using cluster = await testCluster(3, {
      ...busAccounts({ mode: "off", keys }),
      waitReady: true,
    });
    const [n1, n2, n3] = cluster.servers;
    await fill(cluster.urls, keys.service.seed);
    await using beside = new AsyncDisposableStack();
    const [p1, , p3] = await Promise.all(
      cluster.urls.map((url) => present(url, keys.service.seed)),
    ).then((all) => all.map((it) => beside.use(it)));
    const flags = [
      // All of them: that any one is down keeps no command from its work.
      ...["--nats-url", cluster.urls.join(",")],
      ...["--service-keys", `${dir}/keys.json`],
    ];
    const status = async () => {
      const result = await cli(["cluster", "status", ...flags, "--json"]);
      return { code: result.code, ...documentOf(result) };
    };
    const scale = (...args: string[]) => cli(["cluster", "scale", ...flags, ...args]);

    await t.step("one copy on three nodes is not healthy, and told in full", async () => {
      const it = await status();
      assert.deepEqual([it.code, it.healthy, it.cluster], [1, false, "test"]);
      assert.deepEqual(
        it.problems,
        ["UNIBUS", "UNIBUS_HISTORY", "UNIBUS_BLOBS"].map((bucket) =>
          `${bucket} has 1 copy on 3 nodes: losing or replacing a node can destroy it; ` +
          "run membershipd cluster scale --replicas 3"
        ),
      );
      assert.deepEqual(it.quorum, { ok: true, size: 3, reachable: 3, needed: 2 });
      // deno-lint-ignore no-explicit-any
      const nodes = it.nodes.map((it: any) => [it.name, it.reachable, it.syncs]);
      assert.deepEqual(nodes, ["n1", "n2", "n3"].map((name) => [name, true, true]));
      for (const { version } of it.nodes) assert.match(version, /^2\.\d+\.\d+/);
      assert.equal(it.nodes.filter((it: { leads: boolean }) => it.leads).length, 1);
      const buckets = it.buckets.map((it: Record<string, unknown>) => [it.bucket, it.replicas]);
      assert.deepEqual(buckets, [["UNIBUS", 1], ["UNIBUS_HISTORY", 1], ["UNIBUS_BLOBS", 1]]);
      const text = await cli(["cluster", "status", ...flags]);
      assert.equal(text.code, 1, text.stderr);
      assert.match(text.stdout, /quorum {3}yes, 3 of 3 nodes, 2 required/);
      assert.doesNotMatch(text.stdout, /^healthy/m);
    });

    await t.step(
      "without the system account it tells what the copies tell, and says so",
      async () => {
        await Deno.writeTextFile(`${dir}/seed`, keys.service.seed);
        const alone = ["--nats-url", n1!.url, "--nkey-seed-file", `${dir}/seed`];
        const { code, stdout } = await cli(["cluster", "status", ...alone]);
        assert.equal(code, 1);
        assert.match(
          stdout,
          /problem {2}UNIBUS has 1 copy; only the system account \(--service-keys\) shows/,
        );
        assert.match(stdout, /quorum {3}unknown: use --service-keys or --system-seed-file/);
      },
    );

    await t.step("what cannot be is refused, and nothing changed", async () => {
      for (
        const [args, expected, message] of [
          [["--replicas", "0"], 2, /whole number from 1 to 5/],
          [["--replicas", "5"], 2, /the cluster has 3 nodes/],
          [["--replicas", "1", "--keep", "n9"], 2, /the nodes are n1, n2, n3/],
        ] as const
      ) {
        const { code, stderr } = await scale(...args);
        assert.equal(code, expected, stderr);
        assert.match(stderr, message);
      }
      assert.equal((await status()).buckets[0].replicas, 1);
    });

    await t.step("scale waits until all copies are current, and shows progress", async () => {
      const grown = await scale("--replicas", "3", "--progress", "json", "--json");
      assert.equal(grown.code, 0, grown.stderr);
      assert.deepEqual(
        documentOf(grown).buckets.map((
          it: Record<string, unknown>,
        ) => [it.bucket, it.from, it.nodes]),
        ["UNIBUS", "UNIBUS_HISTORY", "UNIBUS_BLOBS"].map((it) => [it, 1, ["n1", "n2", "n3"]]),
      );
      const steps = grown.stderr.trim().split("\n").map((it) => JSON.parse(it));
      assert.deepEqual(steps.at(-1), { phase: "done", done: 9, total: 9, unit: "copies" });
      assert.ok(steps.some((it) => it.phase === "scale" && it.total === 9));
      const it = await status();
      assert.equal(it.code, 0, JSON.stringify(it.problems));
      for (const { copies } of it.buckets) assert.equal(copies.length, 3);
      const text = await cli(["cluster", "status", ...flags]);
      assert.match(text.stdout, /\nhealthy\n$/);
    });

    await t.step("blobs to-kv makes as many copies as the store has", async () => {
      const connection = await connectNats({ servers: n1!.url, nkeySeed: keys.service.seed });
      try {
        await connection.request("$JS.API.STREAM.DELETE.OBJ_UNIBUS_BLOBS");
      } finally {
        await connection.close();
      }
      await Deno.mkdir(`${dir}/blobs`);
      const copy = await cli(["blobs", "to-kv", "--store-dir", `${dir}/blobs`, ...flags]);
      assert.equal(copy.code, 0, copy.stderr);
      const { buckets } = await status();
      assert.deepEqual(buckets.map((it: { replicas: number }) => it.replicas), [3, 3, 3]);
      await until(async () => (await status()).code === 0, "health", 30_000);
    });

    await t.step("membershipd must answer on each node, with the same keys", async () => {
      await p1![Symbol.asyncDispose]();
      assert.deepEqual((await status()).problems, [
        "membershipd does not answer on n1; start it, or check its log",
      ]);
      {
        await using _ = await present(n1!.url, keys.service.seed, { bucket: null });
        assert.match((await status()).problems.join(), /^membershipd serves no bucket on n1 /);
      }
      {
        await using _ = await present(n1!.url, keys.service.seed, { bucket: "OTHER" });
        assert.match((await status()).problems.join(), /another bucket than UNIBUS on n1$/);
      }
      {
        await using _ = await present(n1!.url, keys.service.seed, { keys: "other" });
        assert.match((await status()).problems.join(), /different service keys \(n1 \| n\d n\d\)/);
      }
      beside.use(await present(n1!.url, keys.service.seed));
      assert.equal((await status()).code, 0);
    });

    await t.step("a node that holds the only copy is not removed", async () => {
      assert.equal((await scale("--replicas", "1", "--keep", "n3")).code, 0);
      await n3!.stop();
      let seen = await status();
      await until(async () => {
        seen = await status();
        return /n3 is not reachable/.test(seen.problems.join());
      }, "n3 missed");
      assert.match(
        seen.problems.join("\n"),
        /n3 is not reachable; start it with its own directory/,
      );
      assert.match(seen.problems.join("\n"), /^UNIBUS: no leader answers;/m);
      const text = await cli(["cluster", "status", ...flags]);
      assert.doesNotMatch(text.stdout, /does not exist/);
      assert.match(text.stdout, /^UNIBUS +- +unknown/m);
      const { code, stderr } = await cli(["cluster", "remove", "n3", ...flags]);
      assert.equal(code, 1, stderr);
      assert.match(
        stderr,
        /Removing n3: found no current copy of KV_UNIBUS, OBJ_UNIBUS_BLOBS, UNIBUS_HISTORY on another node/,
      );
      await n3!.restart();
      await until(async () => (await scale("--replicas", "3")).code === 0, "three copies", 60_000);
      await p3![Symbol.asyncDispose]();
      beside.use(await present(n3!.url, keys.service.seed));
      await until(async () => (await status()).code === 0, "health", 30_000);
    });

    await t.step("--keep says which node keeps the last copy", async () => {
      const keep = (await status()).buckets[0].leader === "n2" ? "n1" : "n2";
      const shrunk = await scale("--replicas", "1", "--keep", keep, "--json");
      assert.equal(shrunk.code, 0, shrunk.stderr);
      for (const { nodes } of documentOf(shrunk).buckets) assert.deepEqual(nodes, [keep]);
    });

    await t.step(
      "Ctrl-C ends the waiting, says that the cluster goes on, and it does",
      async () => {
        const connection = await connectNats({ servers: n1!.url, nkeySeed: keys.service.seed });
        try {
          for (let tries = 0;; tries++) {
            assert.equal((await scale("--replicas", "1")).code, 0);
            const controller = new AbortController();
            const { signal } = controller;
            const scaling = cli(["cluster", "scale", "--replicas", "3", ...flags], { signal });
            await until(async () => {
              const info = await connection.request("$JS.API.STREAM.INFO.OBJ_UNIBUS_BLOBS");
              return info.json<{ config: { num_replicas: number } }>().config.num_replicas === 3;
            }, "a change under way");
            controller.abort();
            const { code, stderr } = await scaling;
            // It may have been quicker than we.
            if (code === 0 && tries < 5) continue;
            assert.equal(code, 130, stderr);
            assert.match(
              stderr,
              /hint: the cluster continues by itself; run membershipd cluster status/,
            );
            break;
          }
        } finally {
          await connection.close();
        }
        await until(async () => (await status()).code === 0, "three copies", 30_000);
        for (const { replicas, copies } of (await status()).buckets) {
          assert.deepEqual([replicas, copies.length], [3, 3]);
        }
      },
    );

    await t.step(
      "a node that runs is not removed; one that is gone is missed, and is",
      async () => {
        const remove = (name: string) => cli(["cluster", "remove", name, ...flags]);
        assert.match((await remove("n3")).stderr, /n3 is running; stop it first/);
        assert.match(
          (await remove("n7")).stderr,
          /No node n7 in the cluster; its nodes are n1, n2, n3/,
        );
        await n3!.stop();
        const watch = cliProcess(["cluster", "status", ...flags, "--watch", "--json"]);
        let seen = await status();
        await until(async () => {
          seen = await status();
          return seen.buckets.length === 3 && /n3 is not reachable/.test(seen.problems.join());
        }, "n3 missed");
        assert.equal(seen.code, 1);
        assert.deepEqual(seen.quorum, { ok: true, size: 3, reachable: 2, needed: 2 });
        const big = await scale("--replicas", "3");
        assert.equal(big.code, 1);
        assert.match(big.stderr, /n3 cannot be reached/);
        const removed = await remove("n3");
        assert.equal(removed.code, 0, removed.stderr);
        assert.match(removed.stdout, /removed n3; the cluster has 2 nodes/);
        await until(async () => (await status()).quorum.size === 2, "two nodes");
        assert.equal((await scale("--replicas", "2")).code, 0);
        await until(async () => (await status()).code === 0, "health with two nodes", 30_000);
        watch.kill("SIGINT");
        const { code, stdout } = await watch.ended;
        assert.equal(code, 0);
        assert.ok(stdout.trim().split("\n").every((it) => JSON.parse(it).quorum.needed === 2));
      },
    );

    await t.step({
      name: "without a quorum it says so, in bounded time",
      ignore: !CLUSTER,
      fn: async () => {
        await n2!.stop();
        const began = performance.now();
        const it = await status();
        assert.ok(performance.now() - began < 10_000, "it took too long");
        assert.equal(it.code, 1);
        assert.match(
          it.problems.join("\n"),
          /No quorum: 1 of 2 nodes reachable, 2 required/,
        );
        assert.deepEqual(it.quorum, { ok: false, size: 2, reachable: 1, needed: 2 });
        const { stdout } = await cli(["cluster", "status", ...flags]);
        assert.doesNotMatch(stdout, /no bucket/i);
        assert.match(stdout, /^UNIBUS +(-|2) /m);
      },
    });
  });
});

Deno.test("status and scale of one server by itself", async () => {
  await inDir(async (dir) => {
    const keys = await loadServiceKeys(`${dir}/keys.json`, { create: true });
    await using server = await testServer({
      ...busAccounts({ mode: "off", keys }),
      serverName: "alone",
    });
    const flags = ["--nats-url", server.url, "--service-keys", `${dir}/keys.json`];
    const empty = await cli(["cluster", "scale", "--replicas", "1", ...flags]);
    assert.match(empty.stderr, /No bucket UNIBUS on this server/);
    const none = await cli(["cluster", "status", ...flags]);
    assert.equal(none.code, 1);
    assert.match(none.stdout, /problem {2}Bucket UNIBUS does not exist; .*cluster plan/m);
    await using _ = await present(server.url, keys.service.seed);
    const vanished = await cli(["cluster", "status", ...flags]);
    assert.match(
      vanished.stdout,
      /Bucket UNIBUS does not exist, but a running membershipd serves it/,
    );
    assert.match(vanished.stdout, /Bucket UNIBUS_BLOBS does not exist, but a running membershipd/);
    await fill([server.url], keys.service.seed);
    const { code, stdout } = await cli(["cluster", "status", ...flags]);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /cluster {2}none \(standalone server\)\nquorum {3}yes, 1 of 1 node/);
    assert.match(stdout, /alone/);
    const grow = await cli(["cluster", "scale", "--replicas", "3", ...flags]);
    assert.equal(grow.code, 2);
    assert.match(
      grow.stderr,
      /requires a cluster of at least that many nodes, found a standalone server/,
    );
    assert.equal((await cli(["cluster", "scale", "--replicas", "1", ...flags])).code, 0);
  });
});
