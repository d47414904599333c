import assert from "node:assert/strict";
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { followStore, openJetStream, openSqlite } from "../../../mod.ts";
import { smallDisk } from "../../helpers/disk.ts";
import { testServer } from "../../helpers/nats.ts";
import { inDir, person } from "../../helpers/sqlite.ts";
import { readNode, writeNode } from "../../../cli/settings/node.ts";
import { createIdentity } from "../../../src/keys/identity.ts";
import { cli, documentOf } from "../kit.ts";
import { daemon, isReady, until } from "../serve/kit.ts";
import { addUser, done, isAdmitted, reach, SERVED, statusIn, stopAll } from "./kit.ts";

/** A server with three users, one revoked, and the file that follows it. */
async function followed(dir: string) {
  const server = await testServer();
  const db = `${dir}/f.db`;
  await using store = await openJetStream({ servers: server.url });
  for (let i = 0; i < 3; i++) await store.addUser({ ...person(i), role: "admin" });
  await store.revokeUser(person(2).signPub);
  await using follower = await followStore({ nats: { servers: server.url }, db });
  await follower.whenExact();
  return { server, db, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

Deno.test("promote refuses while the cluster serves, then makes the file the store with new keys", () =>
  inDir(async (dir) => {
    const [ada, eve] = [createIdentity(), createIdentity()];
    const secrets = `${dir}/secrets`;
    const pass = `${secrets}/pass`;
    await using disk = await smallDisk(secrets, 1);
    await writeFile(pass, "old\n", { mode: 0o600 });
    const env = { env: { UNIBUS_DB: `${dir}/a.db`, UNIBUS_CLUSTER_PASS_FILE: pass } };
    const db = `${dir}/follower.db`;
    {
      await using server = await daemon(dir, SERVED);
      await addUser(ada, reach(dir, server), "--admin");
      await addUser(eve, reach(dir, server));
      await until(() => statusIn(db, eve) === "active", "eve in the follower");
      // In use, and its server takes writes; a copy of it is not in use.
      const inUse = await cli(["promote", db], env);
      assert.equal(inUse.code, 1);
      assert.match(inUse.stderr, /another process follows .*\nhint: stop membershipd/);
      const copy = `${dir}/copy.db`;
      await done(cli(["backup", "--db", db, "--to", copy], env));
      const refused = await cli(["promote", copy, "--force"], env);
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /still takes writes\nhint: move it back/);
      await stopAll(server);
    }
    // As on a node that joined a cluster; after that it serves alone.
    const settings = { store: "jetstream", clusterPassFile: "secrets/pass" };
    const node = { name: "n2", cluster: "bus", plan: "p", settings, alone: {} };
    await writeNode(db, { ...node, state: "clustered" });
    const before = await readFile(`${dir}/service-keys.json`, "utf8");
    const plan = documentOf(await done(cli(["promote", db, "--dry-run", "--json"], env)));
    assert.equal(plan.dryRun, true);
    assert.equal((await readNode(db))!.state, "clustered");
    assert.equal(await readFile(`${dir}/service-keys.json`, "utf8"), before);
    if (disk !== null) {
      await assert.rejects(writeFile(`${secrets}/full`, new Uint8Array(2 ** 21)), {
        code: "ENOSPC",
      });
      assert.match((await cli(["promote", db], env)).stderr, /Replacing .*pass: .*no space/i);
      assert.equal(await readFile(pass, "utf8"), "old\n");
      await rm(`${secrets}/full`);
    }
    const report = await done(cli(["promote", db], env));
    assert.equal((await readNode(db))!.state, "alone");
    assert.match(
      report.stdout,
      /it ends at position \d+ of bucket UNIBUS, \d{4}-.*writes are lost/,
    );
    assert.match(report.stderr, /next: membershipd serve --store sqlite --db .*follower\.db/);
    assert.notEqual(await readFile(`${dir}/service-keys.json`, "utf8"), before);
    assert.match(await readFile(pass, "utf8"), /^[\w-]{43}\n$/);
    const [saved, ...others] = (await readdir(secrets)).filter((it) => it.startsWith("pass."));
    assert.equal(await readFile(`${secrets}/${saved}`, "utf8"), "old\n");
    assert.deepEqual(others, []);
    const keys = (await readdir(dir)).filter((it) => it.startsWith("service-keys.json."));
    assert.equal(keys.length, disk === null ? 1 : 2, keys.join());
    // The wrong order: it is a primary now.
    assert.match((await cli(["promote", db], env)).stderr, /not the file of a follower/);
    const sqlite = ["--db", db, "--new", "--bus-auth", "enforce"];
    await using server = await daemon(`${dir}`, sqlite);
    await isReady(server.http);
    await until(() => isAdmitted(ada, server), "admission");
  }));

Deno.test("a backup of a follower is promoted, or what a stream lost is written back from it", () =>
  inDir(async (dir) => {
    const to = `${dir}/b.db`;
    {
      await using it = await followed(dir);
      await using _running = await followStore({ nats: { servers: it.server.url }, db: it.db });
      const report = documentOf(
        await done(cli(["backup", "--db", it.db, "--to", to, "--json"])),
      );
      assert.equal(report.counts.users, 3);
      assert.equal(report.blobs, null);
      const again = await cli(["backup", "--db", it.db, "--to", to]);
      assert.equal(again.code, 1);
      assert.match(again.stderr, /the file already exists/);
      await cp(to, `${dir}/c.db`);
      await using store = await openJetStream({ servers: it.server.url });
      await store.deleteUser(person(2).signPub);
      const args = ["repair", "--from", `${dir}/c.db`, "--nats-url", it.server.url];
      // What was acknowledged after the backup stays.
      assert.match((await done(cli(args))).stdout, /wrote 0 keys, deleted 0; 1 newer key stays/);
    }
    await done(cli(["promote", to]));
    await using store = openSqlite(to);
    assert.equal(await store.isAuthorized(person(1).signPub), true);
    assert.equal(await store.isAuthorized(person(2).signPub), false);
  }));

Deno.test("backup lists the blobs, and refuses what is no follower", () =>
  inDir(async (dir) => {
    await using it = await followed(dir);
    const { openDiskBlobs } = await import("../../../src/blobs/mod.ts");
    {
      await using blobs = await openDiskBlobs(`${dir}/blobs`);
      const bytes = async function* () {
        yield new Uint8Array([1, 2, 3]);
      };
      await blobs.put(bytes(), { maxBytes: 10 });
    }
    const args = ["backup", "--db", it.db, "--to", `${dir}/b.db`, "--store-dir", `${dir}/blobs`];
    assert.match((await done(cli(args))).stdout, /\nlisted 1 blob -> .*b\.db\.blobs\n/);
    assert.match(
      await readFile(`${dir}/b.db.blobs`, "utf8"),
      /^\{"id":"[0-9a-f]{64}","size":3\}\n$/,
    );
    await done(cli(["invite", "create", "--create", "--db", `${dir}/p.db`]));
    const primary = await cli(["backup", "--db", `${dir}/p.db`, "--to", `${dir}/x.db`]);
    assert.equal(primary.code, 1);
    assert.match(
      primary.stderr,
      /not the file of a follower\nhint: use membershipd snapshot export/,
    );
  }));

Deno.test("migrate-to-sqlite --follower takes the follower's file", () =>
  inDir(async (dir) => {
    await using it = await followed(dir);
    const db = `${dir}/new.db`;
    const args = ["migrate-to-sqlite", "--nats-url", it.server.url, "--db", db];
    await done(cli([...args, "--follower", it.db]));
    await using store = openSqlite(db);
    assert.equal((await store.listUsers()).items.length, 3);
    assert.ok(!(await readdir(dir)).includes("f.db"));
  }));
