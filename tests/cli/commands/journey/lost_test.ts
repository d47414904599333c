/**
 * `shrink --force`: what is left of a cluster without a majority serves from one file.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, rename } from "node:fs/promises";
import { growStore, openJetStream, openSqlite } from "../../../../mod.ts";
import { lockStore } from "../../../../cli/serve/lock.ts";
import { readNode, writeNode } from "../../../../cli/settings/node.ts";
import { openFollowed } from "../../../../src/follower/open.ts";
import { roleOf } from "../../../../src/sqlite/file/role.ts";
import { testCluster, testServer } from "../../../helpers/nats.ts";
import { inDir, person } from "../../../helpers/sqlite.ts";
import { cli, documentOf } from "../../kit.ts";

/** Node n1 of a cluster, whose server is stopped; its file has moved to the bucket. */
async function node(dir: string, servers: string[]) {
  const db = `${dir}/a.db`;
  const replicas = servers.length;
  {
    await using store = openSqlite(db);
    await store.addUser({ ...person("ada"), role: "admin" });
    await using target = await openJetStream({ servers, replicas, allowInProgress: true });
    await growStore(store, { target });
  }
  {
    const { store, follower } = await openFollowed({ servers, follower: `${dir}/follower.db` });
    await using _ = store;
    await store.addUser(person("late"));
    await follower.whenExact();
  }
  const streams = `${dir}/jetstream.cluster`;
  await mkdir(streams);
  await writeNode(db, {
    name: "n1",
    cluster: "bus",
    plan: "feedfeedfeedfeed",
    state: "clustered",
    settings: {
      store: "jetstream",
      natsPort: Number(new URL(servers[0]!).port),
      clusterName: "bus",
      serverName: "n1",
      routes: ["127.0.0.1:1"],
      natsStore: streams,
    },
    alone: {},
  });
  return { db, streams, env: { UNIBUS_DB: db }, force: forcing(db) };
}

/** Calls the command on the machine of a file. */
function forcing(db: string) {
  const env = { UNIBUS_DB: db };
  return (...more: string[]) => cli(["shrink", "--keep", "n1", "--force", ...more], { env });
}

/** The users of a store's file. */
async function usersIn(db: string): Promise<string[]> {
  await using store = openSqlite(db, { create: false });
  return (await store.listUsers()).items.map((it) => it.handle).sort();
}

Deno.test("shrink --force makes the second copy the store when a majority is lost, and only then", () =>
  inDir(async (dir) => {
    await using cluster = await testCluster(3);
    const { db, streams, env, force } = await node(dir, cluster.urls);
    const requireUnchanged = async () => {
      assert.equal(roleOf(`${dir}/follower.db`).role, "follower");
      assert.equal(roleOf(db).role, "moved");
      assert.equal((await readNode(db))!.state, "clustered");
    };
    const working = await force();
    assert.equal(working.code, 1);
    assert.match(
      working.stderr,
      /still takes writes\nhint: start this server, and run membershipd shrink --keep n1 without/,
    );
    await requireUnchanged();

    await Promise.all(cluster.servers.slice(1).map((it) => it.stop()));
    {
      const signal = new AbortController().signal;
      const lock = await lockStore(streams, { signal, log: () => {} });
      const running = await force();
      assert.equal(running.code, 1);
      assert.match(running.stderr, /The server of node n1 runs.*\nhint: stop membershipd on this/);
      lock.release();
    }
    for (
      const [args, expected] of [
        [["--keep", "n2", "--force"], /this machine is node n1/],
        [["--keep", "n1", "--force", "--hold"], /--force can be used only with/],
      ] as const
    ) {
      const { code, stderr } = await cli(["shrink", ...args], { env });
      assert.match(stderr, expected);
      assert.equal(code, 2);
    }
    const plan = await force("--dry-run");
    assert.equal(plan.code, 0, plan.stderr);
    assert.match(
      plan.stdout,
      /it ends at position \d+ of bucket UNIBUS, .*; later writes are lost/,
    );
    await requireUnchanged();
    assert.ok(existsSync(streams));

    // It ends with the server of the node.
    await cluster.servers[0]!.stop();
    const report = documentOf(await force("--json"));
    assert.deepEqual([report.dryRun, report.generation, report.db], [false, 2, db]);
    assert.equal(roleOf(db).role, "primary");
    assert.equal(roleOf(report.backup).role, "moved");
    assert.equal((await readNode(db))!.state, "alone");
    assert.deepEqual(await usersIn(db), ["user ada", "user late"]);
    assert.ok(!existsSync(`${dir}/follower.db`) && !existsSync(streams));
    assert.ok(existsSync(report.streams));

    const again = await force();
    assert.equal(again.code, 1);
    assert.match(again.stderr, /Node n1 serves from a file already/);
  }));

Deno.test("a shrink --force that was killed on its way is finished by the next", () =>
  inDir(async (dir) => {
    const first = `${dir}/first`;
    await mkdir(first);
    {
      await using server = await testServer();
      await node(first, [server.url]);
    }
    const clustered = (await readNode(`${first}/a.db`))!;
    const env = { UNIBUS_DB: `${first}/a.db` };
    assert.equal((await cli(["promote", `${first}/follower.db`], { env })).code, 0);
    for (const killed of ["promoted", "noted", "renamed"]) {
      const own = `${dir}/${killed}`;
      await cp(first, own, { recursive: true });
      const db = `${own}/a.db`;
      const force = forcing(db);
      if (killed === "promoted") await writeNode(db, clustered);
      if (killed === "renamed") await rename(`${own}/follower.db`, `${db}.partial`);
      const plan = await force("--dry-run");
      assert.match(plan.stdout, /was promoted before/);
      assert.equal(roleOf(db).role, "moved");
      const { code, stdout, stderr } = await force();
      assert.equal(code, 0, stderr);
      assert.match(stdout, /n1 serves from .*a\.db from now on\nthe former file is /);
      assert.equal((await readNode(db))!.state, "alone");
      assert.deepEqual(await usersIn(db), ["user ada", "user late"]);
      const files = await readdir(own);
      assert.ok(!files.includes("follower.db") && !files.includes("a.db.partial"), files.join());
    }
  }));
