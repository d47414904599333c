/**
 * `shrink --force`: what is left of a cluster without a majority serves from one file.
 *
 * @module
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { growStore, openJetStream, openSqlite } from "../../../../mod.ts";
import { lockStore } from "../../../../cli/serve/lock.ts";
import { readNode, writeNode } from "../../../../cli/settings/node.ts";
import { type BlobStore, openDiskBlobs, openObjectBlobs } from "../../../../src/blobs/mod.ts";
import { writeBlobProbe } from "../../../../src/blobs/objects/probe.ts";
import { lockOf } from "../../../../src/follower/file/prepare.ts";
import { openFollowed } from "../../../../src/follower/open.ts";
import { holds } from "../../../../src/jetstream/cluster/replica.ts";
import { Bucket } from "../../../../src/jetstream/log/bucket.ts";
import { connectNats } from "../../../../src/nats/connection/connect.ts";
import { roleOf } from "../../../../src/sqlite/file/role.ts";
import { testCluster, testServer } from "../../../helpers/nats.ts";
import { inDir, person } from "../../../helpers/sqlite.ts";
import { cli, documentOf } from "../../kit.ts";
import { until } from "../../serve/kit.ts";

/** Node n1 of a cluster, whose server is stopped; its file has moved to the bucket. */
async function node(dir: string, servers: string[], streams = `${dir}/jetstream.cluster`) {
  const db = `${dir}/a.db`;
  const replicas = servers.length;
  {
    await using store = openSqlite(db);
    await store.addUser({ ...person("ada"), role: "admin" });
    const options = { servers, replicas, bootstrapTimeout: 60_000, opTimeout: 30_000 };
    await using target = await openJetStream({ ...options, allowInProgress: true });
    await growStore(store, { target });
  }
  {
    const { store, follower } = await openFollowed({
      servers,
      follower: `${dir}/follower.db`,
      bootstrapTimeout: 60_000,
      opTimeout: 30_000,
    });
    await using _ = store;
    await store.addUser(person("late"));
    await follower.whenExact();
  }
  await mkdir(streams, { recursive: true });
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
  return { db, streams, env: environment(db), force: forcing(db) };
}

/** Calls the command on the machine of a file. */
function forcing(db: string) {
  const env = environment(db);
  return (...more: string[]) => cli(["shrink", "--keep", "n1", "--force", ...more], { env });
}

function environment(db: string): Record<string, string> {
  return { UNIBUS_DB: db, UNIBUS_STORE_DIR: `${dirname(db)}/blobs` };
}

/** Bytes that are a blob, in several chunks where they are many. */
async function* one(text: string): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield new TextEncoder().encode(text);
}

/** What is in the blobs of a directory. */
async function textIn(directory: string, id: string): Promise<string | null> {
  await using disk = await openDiskBlobs(directory);
  const found = await disk.get(id);
  return found && await new Response(found.body).text();
}

/**
 * Stores blobs on the disk of n1 and in its cluster: one on the disk only, one that was deleted in the
 * cluster since, and three in the cluster only. Returns when the copy of n1 has them.
 */
async function blobsIn(dir: string, servers: string[]) {
  const put = async (blobs: BlobStore, text: string, name: string) => {
    const holders = { owners: [person(name).signPub], unowned: false };
    return (await blobs.put(one(text), { maxBytes: 1e6, holders })).id;
  };
  await using disk = await openDiskBlobs(`${dir}/blobs`);
  const connection = await connectNats({ servers });
  try {
    await using objects = await openObjectBlobs({ connection, replicas: 3, opTimeout: 60_000 });
    const here = await put(disk, "only on the disk", "ada");
    const gone = await put(disk, "deleted", "ada");
    await put(objects, "deleted", "ada");
    await objects.delete(gone);
    const small = await put(objects, "small", "late");
    const large = await put(objects, "large ".repeat(60_000), "ada");
    const damaged = await put(objects, "damaged ".repeat(1000), "ada");
    await using probe = await writeBlobProbe({ connection, bucket: "UNIBUS_BLOBS" });
    const bucket = new Bucket(connection, "UNIBUS");
    const isThere = () => holds(bucket, "n1", probe.sequence, "OBJ_UNIBUS_BLOBS");
    await until(isThere, "the blobs in the copy of n1");
    return { here, gone, small, large, damaged };
  } finally {
    await connection.close();
  }
}

/** Changes a byte of a message in the files of a stream. */
async function damage(streams: string, text: string): Promise<void> {
  const msgs = `${streams}/jetstream/$G/streams/OBJ_UNIBUS_BLOBS/msgs`;
  let changed = 0;
  for (const name of await readdir(msgs)) {
    if (!name.endsWith(".blk")) continue;
    const bytes = await readFile(`${msgs}/${name}`);
    const at = bytes.indexOf(text);
    if (at < 0) continue;
    bytes[at + 1]! ^= 1;
    await writeFile(`${msgs}/${name}`, bytes);
    changed++;
  }
  assert.equal(changed, 1);
}

/** The users of a store's file. */
async function usersIn(db: string): Promise<string[]> {
  await using store = openSqlite(db, { create: false });
  return (await store.listUsers()).items.map((it) => it.handle).sort();
}

Deno.test("shrink --force makes the second copy the store when a majority is lost, and only then", () =>
  inDir(async (dir) => {
    await using cluster = await testCluster(3);
    const store = `${cluster.servers[0]!.directory}/store`;
    const { db, streams, env, force } = await node(dir, cluster.urls, store);
    const { here, gone, small, large, damaged } = await blobsIn(dir, cluster.urls);
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
    assert.match(
      plan.stdout,
      /blobs: 5 would be on the disk, 3 of them would be copied from this node's copy of the object/,
    );
    assert.match(plan.stdout, /blobs that were deleted in the cluster and are back: 1/);
    assert.equal(await textIn(`${dir}/blobs`, small), null);
    await requireUnchanged();
    assert.ok(existsSync(streams));

    // It ends with the server of the node.
    await cluster.servers[0]!.stop();
    await damage(streams, "damaged damaged");
    const report = documentOf(await force("--json"));
    const { blobs } = report;
    assert.deepEqual(blobs, { kept: 4, copied: 2, lost: [damaged], undeleted: 1 });
    const all = await Promise.all(
      [here, gone, small, large, damaged].map((it) => textIn(`${dir}/blobs`, it)),
    );
    assert.deepEqual(
      all,
      ["only on the disk", "deleted", "small", "large ".repeat(60_000), null],
    );
    {
      await using disk = await openDiskBlobs(`${dir}/blobs`);
      assert.deepEqual((await disk.holders(small))!.owners, [person("late").signPub]);
    }
    assert.deepEqual([report.dryRun, report.generation, report.db], [false, 2, db]);
    assert.equal(roleOf(db).role, "primary");
    assert.equal(roleOf(report.backup).role, "moved");
    assert.equal((await readNode(db))!.state, "alone");
    assert.deepEqual(await usersIn(db), ["user ada", "user late"]);
    assert.ok(!existsSync(`${dir}/follower.db`) && !existsSync(streams));
    assert.ok(existsSync(report.streams));

    // The same again has nothing to do; not for a node that is still meant to be one of three.
    const again = await force();
    assert.deepEqual([again.code, again.stdout], [
      0,
      `nothing to do: n1 serves from its file ${db}\n`,
    ]);
    assert.deepEqual(documentOf(await force("--json")), { db, unchanged: true });
    await writeNode(db, { ...(await readNode(db))!, state: "clustered" });
    const begun = await force();
    assert.equal(begun.code, 1);
    assert.match(begun.stderr, /Node n1 serves from a file already: .*\nhint: .*grow --call-off/);
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
    const { settings } = clustered;
    const env = { UNIBUS_DB: `${first}/a.db` };
    assert.equal((await cli(["promote", `${first}/follower.db`], { env })).code, 0);
    for (const killed of ["promoted", "aside", "noted", "renamed"]) {
      const own = `${dir}/${killed}`;
      await cp(first, own, { recursive: true });
      const db = `${own}/a.db`;
      const natsStore = `${own}/jetstream.cluster`;
      const force = forcing(db);
      await writeNode(db, { ...clustered, settings: { ...settings, natsStore } });
      if (killed === "aside") {
        // The last step fails.
        const lock = lockOf(`${own}/follower.db`);
        await rm(lock, { force: true });
        await mkdir(`${lock}/full`, { recursive: true });
        assert.equal((await force()).code, 1);
        assert.equal(existsSync(natsStore), false);
        await rm(lock, { recursive: true });
      }
      if (killed !== "promoted") await writeNode(db, { ...(await readNode(db))!, state: "alone" });
      if (killed === "renamed") await rename(`${own}/follower.db`, `${db}.partial`);
      const plan = await force("--dry-run");
      assert.match(plan.stdout, /was promoted before/);
      assert.equal(existsSync(natsStore), killed !== "aside");
      assert.equal(roleOf(db).role, "moved");
      const { code, stdout, stderr } = await force();
      assert.equal(code, 0, stderr);
      assert.match(stdout, /n1 serves from .*a\.db from now on\nthe former file is /);
      assert.equal((await readNode(db))!.state, "alone");
      assert.deepEqual(await usersIn(db), ["user ada", "user late"]);
      const files = await readdir(own);
      const old = ["follower.db", "a.db.partial", "jetstream.cluster"];
      assert.deepEqual(files.filter((it) => old.includes(it)), [], files.join());
    }
  }));
