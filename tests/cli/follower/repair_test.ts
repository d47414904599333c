import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { followStore, openJetStream, type Store, type UserRole } from "../../../mod.ts";
import { keepDisk, rawBucket, rowsOf } from "../../follower/kit.ts";
import { type TestServer, testServer } from "../../helpers/nats.ts";
import { tampered } from "../../jetstream/tamper.ts";
import { failsWith, inDir, newRoom, person } from "../../helpers/sqlite.ts";
import { cli, cliProcess, documentOf } from "../kit.ts";
import { addUser, done, isAdmitted, putBack, reach, SERVED, stopAll } from "./kit.ts";
import { daemon, isReady, until } from "../serve/kit.ts";
import { createIdentity } from "../../../src/keys/identity.ts";

/** Changes a store. */
async function change(server: TestServer, work: (store: Store) => Promise<unknown>): Promise<void> {
  await using store = await openJetStream({ servers: server.url });
  await work(store);
}

/** Follows until the file is exact. */
async function follow(server: TestServer, db: string): Promise<void> {
  await using follower = await followStore({ nats: { servers: server.url }, db });
  await follower.whenExact();
}

async function addUsers(
  store: Store,
  from: number,
  to: number,
  role: UserRole = "admin",
): Promise<void> {
  const add = (i: number) => store.addUser({ ...person(i), role });
  for (let i = from; i < to; i += 100) {
    const count = Math.min(100, to - i);
    await Promise.all(Array.from({ length: count }, (_, n) => add(i + n)));
  }
}

const keyOf = (n: number) => `users.${person(n).signPub}`;

Deno.test("repair writes back what a disk put back lost, deletes again, and keeps what came later", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/f.db`;
    await change(server, (store) => addUsers(store, 0, 10));
    const back = await keepDisk(server, dir);
    await change(server, async (store) => {
      await store.revokeUser(person(1).signPub);
      await store.deleteUser(person(2).signPub);
      await addUsers(store, 20, 22);
      await store.createRoom(newRoom("lab", 3));
    });
    await follow(server, db);
    const held = rowsOf(db, "users").length;
    await back();
    // Sequences are used again: both stay.
    await change(server, async (store) => {
      await addUsers(store, 30, 31);
      await store.revokeUser(person(3).signPub);
    });
    const opened = () => openJetStream({ servers: server.url, follower: db });
    await failsWith("corrupt", opened);
    const args = ["repair", "--from", db, "--nats-url", server.url, "--json"];
    const plan = documentOf(await done(cli([...args, "--dry-run"])));
    const planned = new Map(plan.changes.map((it: Record<string, string>) => [it.key, it.change]));
    assert.equal(planned.get(keyOf(1)), "replace");
    assert.equal(planned.get(keyOf(2)), "delete");
    assert.equal(planned.get(keyOf(20)), "restore");
    assert.equal(planned.get("rooms.lab"), "restore");
    assert.equal(planned.has(keyOf(3)), false);
    assert.equal(planned.has(keyOf(30)), false);
    assert.equal(plan.dryRun, true);
    // Nothing was written, and the alarm stays.
    await failsWith("corrupt", opened);
    const report = documentOf(await done(cli(args)));
    assert.deepEqual(report.changes, plan.changes);
    assert.equal(report.dryRun, false);
    await using store = await opened();
    assert.equal(await store.isAuthorized(person(1).signPub), false);
    assert.equal(await store.isAuthorized(person(2).signPub), false);
    assert.equal(await store.isAuthorized(person(3).signPub), false);
    assert.equal(await store.isAuthorized(person(20).signPub), true);
    assert.equal(await store.isAuthorized(person(30).signPub), true);
    assert.equal((await store.listMembers("lab")).items.length, 3);
    await until(() => rowsOf(db, "users").length === held + 1, "the follower");
    const verified = await cli(["doctor", "--nats-url", server.url]);
    assert.doesNotMatch(verified.stdout, /problem +(index|members|records)/, verified.stdout);
  }));

Deno.test("repair brings back messages that were cut out of the stream, such as a revocation", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/f.db`;
    await change(server, async (store) => {
      await addUsers(store, 0, 5);
      await store.revokeUser(person(1).signPub);
    });
    await follow(server, db);
    await using raw = await rawBucket(server.url);
    const filter = `$KV.UNIBUS.${keyOf(1)}`;
    await raw.api("PURGE", { filter });
    const args = ["repair", "--from", db, "--nats-url", server.url];
    const { stdout, stderr } = await done(cli(args));
    assert.match(stdout, new RegExp(`^restore {2}${keyOf(1)} {2}\\(missing in the bucket\\)\n`));
    assert.match(stdout, /\nwrote 1 key, deleted 0\n/);
    assert.match(stderr, /admits clients again by itself; on other nodes/);
    await using store = await openJetStream({ servers: server.url, follower: db });
    assert.equal((await store.getUser(person(1).signPub)).status, "revoked");
    assert.equal(await store.isAuthorized(person(0).signPub), true);
    await store.close();
    assert.match((await done(cli(args))).stdout, /^wrote 0 keys, deleted 0\n/);
  }));

Deno.test("repair from a file of days ago asks for --force, as a deletion may be forgotten", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/f.db`;
    await change(server, (store) => addUsers(store, 0, 3));
    await follow(server, db);
    {
      using file = new DatabaseSync(db);
      file.prepare("UPDATE follower SET updated_at = updated_at - ?").run(2 * 24 * 3600_000);
    }
    const args = ["repair", "--from", db, "--nats-url", server.url];
    // Nothing is missing: no need.
    await done(cli([...args, "--dry-run"]));
    await using raw = await rawBucket(server.url);
    await raw.api("PURGE", { filter: `$KV.UNIBUS.${keyOf(1)}` });
    const refused = await cli(args);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /could come back, .*\nhint: look at the list of --dry-run/);
    assert.match((await done(cli([...args, "--dry-run"]))).stdout, /^restore {2}users/);
    assert.match((await done(cli([...args, "--force"]))).stdout, /\nwrote 1 key/);
    await using store = await openJetStream({ servers: server.url, follower: db });
    assert.equal(await store.isAuthorized(person(1).signPub), true);
  }));

Deno.test("repair fills a bucket that was created again, unless it holds something of its own", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/f.db`;
    await change(server, (store) => addUsers(store, 0, 5));
    await follow(server, db);
    {
      await using raw = await rawBucket(server.url);
      await raw.api("DELETE");
    }
    const args = ["repair", "--from", db, "--nats-url", server.url];
    const absent = await cli(args);
    assert.equal(absent.code, 1);
    assert.match(absent.stderr, /No bucket UNIBUS/);
    await change(server, (store) => addUsers(store, 7, 8));
    const refused = await cli(args);
    assert.equal(refused.code, 1, refused.stderr);
    assert.match(refused.stderr, /deleted and created again.*\nhint: .*repair --accept/);
    await change(server, (store) => store.deleteUser(person(7).signPub, { force: true }));
    await done(cli(args));
    await using store = await openJetStream({ servers: server.url, follower: db });
    assert.equal((await store.listUsers()).items.length, 5);
  }));

Deno.test("repair refuses wrong flags, a file in use, one that is no follower and another bucket", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/f.db`;
    await change(server, (store) => addUsers(store, 0, 2));
    const url = ["--nats-url", server.url];
    for (
      const args of [[], ["--from", db, "--accept"], ["--accept", "--dry-run"], ["--from", db]]
    ) {
      assert.equal((await cli(["repair", ...args])).code, 2, args.join(" "));
    }
    const absent = await cli(["repair", "--from", db, ...url]);
    assert.match(absent.stderr, /f\.db/);
    assert.equal(absent.code, 1);
    {
      await using _follower = await followStore({ nats: { servers: server.url }, db });
      for (const args of [["--from", db, ...url], ["--accept", "--follower", db]]) {
        const { code, stderr } = await cli(["repair", ...args]);
        assert.equal(code, 1);
        assert.match(stderr, /another process follows.*\nhint: stop membershipd/);
      }
    }
    await follow(server, db);
    {
      await using _other = await openJetStream({ servers: server.url, bucket: "OTHER" });
    }
    const other = await cli(["repair", "--from", db, ...url, "--bucket", "OTHER"]);
    assert.match(other.stderr, /it follows bucket UNIBUS, not OTHER/);
    const primary = `${dir}/p.db`;
    await done(
      cli(["user", "list", "--db", primary, "--json"]).then(async () =>
        await cli(["invite", "create", "--create", "--db", primary])
      ),
    );
    for (const args of [["--from", primary, ...url], ["--accept", "--follower", primary]]) {
      const { code, stderr } = await cli(["repair", ...args]);
      assert.equal(code, 1);
      assert.match(stderr, /not the file of a follower/);
    }
  }));

Deno.test("repair beside a server with an alarm: after its restart the revoked user stays out", () =>
  inDir(async (dir) => {
    const { ada, bob, eve } = await putBack(dir);
    const env = { env: { UNIBUS_DB: `${dir}/a.db` } };
    {
      await using server = await daemon(dir, SERVED);
      await server.event("follower.alarm");
      const late = createIdentity();
      await addUser(late, reach(dir, server));
      const args = ["repair", "--from", "follower", ...reach(dir, server)];
      const { stdout } = await done(cli(args, env));
      assert.match(stdout, new RegExp(`replace {2}users\\.${eve.signPub}`));
      assert.match(stdout, new RegExp(`restore {2}users\\.${bob.signPub}`));
      assert.doesNotMatch(stdout, new RegExp(late.signPub));
      // Whether it has noticed the repair already or not.
      assert.equal(await isAdmitted(eve, server), false);
      await stopAll(server);
    }
    await using server = await daemon(dir, SERVED);
    await isReady(server.http);
    for (const it of [ada, bob]) await until(() => isAdmitted(it, server), "admission");
    assert.equal(await isAdmitted(eve, server), false);
    const inUse = await cli(["repair", "--from", "follower", ...reach(dir, server)], env);
    assert.match(inUse.stderr, /another process follows .*\nhint: stop membershipd/);
  }));

Deno.test("repair --accept keeps the file under another name and takes the bucket as it is", () =>
  inDir(async (dir) => {
    const { eve, bob } = await putBack(dir);
    {
      await using server = await daemon(dir, SERVED);
      await server.event("follower.alarm");
      const accept = ["repair", "--accept", "--follower", `${dir}/follower.db`, "--json"];
      const { saved } = documentOf(await done(cli(accept)));
      assert.ok(rowsOf(saved, "users").some((it) => it.sign_pub === bob.signPub));
      assert.ok(!(await readdir(dir)).includes("follower.db"));
      await stopAll(server);
    }
    await using server = await daemon(dir, SERVED);
    await isReady(server.http);
    // As it is: the operator said so.
    await until(() => isAdmitted(eve, server), "admission");
    assert.equal(await isAdmitted(bob, server), false);
  }));

Deno.test("repair while others write: what they wrote stays, and a killed repair is continued", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const db = `${dir}/f.db`;
    await change(server, (store) => addUsers(store, 0, 10));
    const back = await keepDisk(server, dir);
    await change(server, (store) => addUsers(store, 1000, 3500, "user"));
    await change(server, (store) => store.revokeUser(person(1).signPub));
    await follow(server, db);
    await back();
    const args = ["repair", "--from", db, "--nats-url", server.url, "--progress", "json"];
    {
      // It hears that its first batch was stored, and nothing after that.
      let isHeard = false;
      await using proxy = await tampered(server.url, (text) => {
        if (isHeard) return "";
        isHeard = /"batch":/.test(text);
        return text;
      });
      const killed = cliProcess(args.map((it) => it === server.url ? proxy.url : it));
      await until(() => isHeard, "the first batch");
      await killed.seen(/"phase":"repair"/);
      killed.kill("SIGKILL");
      await killed.ended;
    }
    await failsWith("corrupt", () => openJetStream({ servers: server.url, follower: db }));
    // Without a follower of its own, which would shut it. A busy machine must not make a write too slow.
    await using other = await openJetStream({ servers: server.url, opTimeout: 60_000 });
    const written: number[] = [];
    let ends = false;
    const writing = (async () => {
      for (let i = 5000; !ends; i++) {
        await other.addUser({ ...person(i), role: "admin" });
        written.push(i);
      }
    })();
    await done(cli(args));
    ends = true;
    await writing;
    await using store = await openJetStream({ servers: server.url, follower: db });
    for (const n of [0, 1000, 2000, 3499, ...written]) {
      assert.equal(await store.isAuthorized(person(n).signPub), true, `${n}`);
    }
    assert.equal(await store.isAuthorized(person(1).signPub), false);
    assert.equal((await cli(["verify", "--db", db, "--nats-url", server.url])).code, 0);
  }));
