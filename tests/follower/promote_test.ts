import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { followStore, openJetStream, openSqlite, promoteFollower } from "../../mod.ts";
import { roleOf } from "../../src/sqlite/file/role.ts";
import { testServer } from "../helpers/nats.ts";
import { failsWith, filesOf, gather, hex, inDir, newRoom, person } from "../helpers/sqlite.ts";
import { encodeRoom } from "../../src/jetstream/records/values.ts";
import { rawBucket, rowsOf } from "./kit.ts";

const ADMIN = { ...person("ada"), role: "admin" } as const;

/** Follows a bucket with some records until the file is exact; `edit` changes the bucket before. */
async function followed(
  dir: string,
  edit?: (bucket: Awaited<ReturnType<typeof rawBucket>>) => Promise<unknown>,
) {
  const server = await testServer();
  const nats = { servers: server.url };
  await using store = await openJetStream(nats);
  await store.addUser(ADMIN);
  await store.createRoom(newRoom("r1", 3));
  await store.createInvite({ createdBy: ADMIN.signPub });
  const records = await gather(store.records());
  if (edit !== undefined) {
    await using raw = await rawBucket(server.url);
    await edit(raw);
  }
  const db = `${dir}/f.db`;
  await using follower = await followStore({ nats, db });
  const state = await follower.whenExact();
  return {
    server,
    nats,
    db,
    state,
    records,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

Deno.test("promoteFollower() makes a file the control plane with every record, and its generation grows", () =>
  inDir(async (dir) => {
    await using at = await followed(dir);
    await at.server.stop();
    const dry = await promoteFollower({ db: at.db, dryRun: true });
    assert.equal(roleOf(at.db).role, "follower");
    const report = await promoteFollower({ db: at.db });
    assert.deepEqual({ ...report, dryRun: true }, dry);
    assert.deepEqual([report.position, report.generation], [at.state.position, 1]);
    assert.deepEqual(roleOf(at.db), { role: "primary", place: null, generation: 1, journey: null });
    await using store = openSqlite(at.db, { create: false });
    assert.deepEqual(await gather(store.records()), at.records);
    assert.equal(await store.isAuthorized(ADMIN.signPub), true);
    // The checks of a primary hold again.
    using db = new DatabaseSync(at.db);
    const insert = `INSERT INTO users SELECT '${hex("x").toUpperCase()}', kex_pub, handle, role,
      status, created_at, revoked_at FROM users LIMIT 1`;
    assert.throws(() => db.exec(insert), /users/);
    assert.deepEqual(rowsOf(at.db, "follower_entries"), []);
  }));

Deno.test("promoteFollower() refuses while the bucket takes writes, and changes nothing", () =>
  inDir(async (dir) => {
    await using at = await followed(dir);
    const before = filesOf(dir);
    await failsWith("refused", () => promoteFollower({ db: at.db }), /still takes writes/);
    const force = { db: at.db, force: true };
    await failsWith("refused", () => promoteFollower(force), /still takes writes/);
    assert.deepEqual(filesOf(dir), before);
  }));

Deno.test("promoteFollower() refuses a file with which somebody follows, and one that is no follower's", () =>
  inDir(async (dir) => {
    await using at = await followed(dir);
    {
      await using _follower = await followStore({ nats: at.nats, db: at.db });
      await failsWith("refused", () => promoteFollower({ db: at.db }), /another process follows/);
    }
    await openSqlite(`${dir}/p.db`).close();
    const primary = { db: `${dir}/p.db` };
    await failsWith("refused", () => promoteFollower(primary), /not the file of a follower/);
    await failsWith("not_found", () => promoteFollower({ db: `${dir}/none.db` }));
  }));

Deno.test("promoteFollower() refuses a file that is not exact, that holds an invalid record, or an alarm", () =>
  inDir(async (dir) => {
    await using at = await followed(dir, (raw) => raw.put(`users.${hex("bad")}`, "{}"));
    await at.server.stop();
    await failsWith("refused", () => promoteFollower({ db: at.db }), /1 records of its bucket/);
    const run = (sql: string) => {
      using db = new DatabaseSync(at.db);
      db.exec(sql);
    };
    run("DELETE FROM follower_quarantine");
    run("UPDATE follower SET exact = 0");
    await failsWith("refused", () => promoteFollower({ db: at.db }), /not exact at position/);
    run(`UPDATE follower SET exact = 1, alarm = '{"field":"end","message":"The stream ends"}'`);
    await failsWith("refused", () => promoteFollower({ db: at.db }), /The stream ends/);
    assert.equal((await promoteFollower({ db: at.db, force: true })).counts.users, 1);
  }));

Deno.test("promoteFollower() undoes changes of rooms that were not complete", () =>
  inDir(async (dir) => {
    const room = { id: "half", subject: "s", encrypted: false, owner: hex("o"), epoch: 1 };
    const createdAt = "2026-01-01T00:00:00.000Z";
    const half = encodeRoom({ ...room, createdAt }, { op: "create" });
    await using at = await followed(dir, (raw) => raw.put("rooms.half", half));
    assert.equal(rowsOf(at.db, "rooms").length, 2);
    await at.server.stop();
    const { undone, counts } = await promoteFollower({ db: at.db });
    assert.deepEqual([undone, counts.rooms], [["half"], 1]);
    await using store = openSqlite(at.db);
    assert.deepEqual(await gather(store.records()), at.records);
  }));

Deno.test("a follower that waits for a file does not apply to it after it was promoted", () =>
  inDir(async (dir) => {
    await using at = await followed(dir);
    await at.server.stop();
    await promoteFollower({ db: at.db });
    await at.server.restart();
    const again = () => followStore({ nats: at.nats, db: at.db });
    await failsWith("refused", again, /primary of a control plane/);
    await using store = openSqlite(at.db);
    assert.deepEqual(await gather(store.records()), at.records);
  }));
