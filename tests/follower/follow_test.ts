import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { followStore, openJetStream, openSqlite } from "../../mod.ts";
import { testServer } from "../helpers/nats.ts";
import { failsWith, inDir, newRoom, person } from "../helpers/sqlite.ts";
import { digestOf, namesIn, rawBucket, rowsOf } from "./kit.ts";

Deno.test("a follower holds what the bucket holds, and keeps up", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    await using store = await openJetStream(nats);
    const [ada, bob] = [person("ada"), person("bob")];
    await store.addUser(ada);
    await using follower = await followStore({ nats, db: `${dir}/f.db` });
    assert.equal((await follower.whenExact()).entries, 1);
    await store.addUser(bob);
    await store.createRoom(newRoom("r1", 3));
    await store.deleteUser(ada.signPub);
    const now = await follower.whenExact();
    // A room, three members with an index entry each and a key each, and a user.
    assert.equal(now.entries, 11);
    assert.deepEqual([now.exact, now.alarm, now.failure, now.quarantined], [true, null, null, 0]);
    assert.deepEqual(namesIn(`${dir}/f.db`), ["user bob"]);
    assert.equal(rowsOf(`${dir}/f.db`, "members").length, 3);
  }));

Deno.test("a fresh load has the digest of a follower that kept up", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    await using store = await openJetStream(nats);
    await using first = await followStore({ nats, db: `${dir}/a.db` });
    for (let i = 0; i < 20; i++) await store.addUser(person(i));
    for (let i = 0; i < 10; i++) await store.createRoom(newRoom(`r${i}`, 2));
    for (let i = 0; i < 5; i++) await store.deleteRoom(`r${i}`);
    for (let i = 0; i < 5; i++) await store.revokeUser(person(i).signPub);
    const before = await first.whenExact();
    await using second = await followStore({ nats, db: `${dir}/b.db` });
    const after = await second.whenExact();
    assert.equal(after.digest, before.digest);
    assert.equal(after.entries, before.entries);
    assert.equal(after.digest, digestOf(`${dir}/a.db`));
    for (const table of ["rooms", "members", "room_keys", "users", "invites"]) {
      assert.deepEqual(rowsOf(`${dir}/a.db`, table), rowsOf(`${dir}/b.db`, table));
    }
    assert.equal(rowsOf(`${dir}/a.db`, "rooms").length, 5);
  }));

Deno.test("a follower goes on where it was", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    await using store = await openJetStream(nats);
    await store.addUser(person("ada"));
    {
      await using follower = await followStore({ nats, db: `${dir}/f.db` });
      await follower.whenExact();
    }
    await store.deleteUser(person("ada").signPub);
    await store.addUser(person("bob"));
    await using follower = await followStore({ nats, db: `${dir}/f.db` });
    await follower.whenExact();
    assert.deepEqual(namesIn(`${dir}/f.db`), ["user bob"]);
    assert.equal(follower.state().digest, digestOf(`${dir}/f.db`));
  }));

Deno.test("a follower's file is no primary, and a primary is no follower's file", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    await using _store = await openJetStream(nats);
    const [path, primary] = [`${dir}/f.db`, `${dir}/p.db`];
    await using follower = await followStore({ nats, db: path });
    await follower.whenExact();
    const where = /is a follower of bucket UNIBUS on nats:/;
    await failsWith("refused", () => openSqlite(path), where);
    await failsWith("refused", () => openSqlite(path, { readOnly: true }), where);
    await failsWith("refused", () => openSqlite(path, { allowMoved: true }), where);
    await openSqlite(primary).close();
    await failsWith("refused", () => followStore({ nats, db: primary }), /it is the primary/);
    await using _other = await openJetStream({ ...nats, bucket: "OTHER" });
    await follower.close();
    const other = { ...nats, bucket: "OTHER" };
    await failsWith(
      "refused",
      () => followStore({ nats: other, db: path }),
      /follows bucket UNIBUS/,
    );
    const nowhere = { ...nats, bucket: "NOWHERE" };
    await failsWith("not_found", () => followStore({ nats: nowhere, db: `${dir}/n.db` }));
  }));

Deno.test("whenExact() ends with its signal, and when the follower is closed", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    await using _store = await openJetStream(nats);
    await using follower = await followStore({ nats, db: `${dir}/f.db` });
    const signal = AbortSignal.timeout(50);
    await assert.rejects(follower.whenExact(1e9, { signal }), { name: "TimeoutError" });
    const waiting = follower.whenExact(1e9);
    await Promise.all([failsWith("closed", () => waiting), follower.close()]);
    await failsWith("closed", () => follower.whenExact(1));
  }));

Deno.test("a record that is not valid goes into quarantine, and comes back when it is mended", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    await using store = await openJetStream(nats);
    await using follower = await followStore({ nats, db: `${dir}/f.db` });
    await store.addUser(person("ada"));
    const { signPub } = person("ada");
    await using raw = await rawBucket(server.url);
    const { put } = raw;
    const good = await raw.get(`users.${signPub}`);
    await put(`users.${signPub}`, good.replace("user ada", "a\\u0000b"));
    await put("nonsense.key", "{}");
    await store.addUser(person("bob"));
    assert.equal((await follower.whenExact()).quarantined, 2);
    assert.deepEqual(namesIn(`${dir}/f.db`), ["user bob"]);
    const [bad] = rowsOf(`${dir}/f.db`, "follower_quarantine").slice(-1);
    assert.match(String(bad!.problem), /handle/);
    const incremental = follower.state().digest;
    await using second = await followStore({ nats, db: `${dir}/g.db` });
    const fresh = await second.whenExact();
    assert.deepEqual([fresh.quarantined, fresh.digest], [2, incremental]);
    await put(`users.${signPub}`, good);
    assert.equal((await follower.whenExact()).quarantined, 1);
    assert.deepEqual(namesIn(`${dir}/f.db`).sort(), ["user ada", "user bob"]);
  }));

Deno.test("a follower that was away for long loads anew: deletions may have left no marker", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    const db = `${dir}/f.db`;
    await using store = await openJetStream(nats);
    await using raw = await rawBucket(server.url);
    for (let i = 0; i < 5; i++) await store.addUser(person(i));
    const follow = async () => {
      await using follower = await followStore({ nats, db });
      return await follower.whenExact();
    };
    const setBack = (hours: number) => {
      const file = new DatabaseSync(db);
      file.prepare("UPDATE follower SET updated_at = ?").run(Date.now() - hours * 3_600_000);
      file.close();
    };
    await follow();
    // Deleted, and its marker has expired.
    await raw.api("PURGE", { filter: `$KV.UNIBUS.users.${person(3).signPub}` });
    setBack(11);
    await failsWith("corrupt", follow);
    const file = new DatabaseSync(db);
    file.exec("UPDATE follower SET alarm = NULL");
    file.close();
    setBack(13);
    const { entries, digest } = await follow();
    assert.deepEqual([entries, digest], [4, digestOf(db)]);
    assert.equal(namesIn(db).includes("user 3"), false);
  }));
