import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as wait } from "node:timers/promises";
import {
  followStore,
  isStoreError,
  openJetStream,
  openSqlite,
  promoteFollower,
} from "../../mod.ts";
import { backupFollower } from "../../src/follower/backup.ts";
import { openStill, requireComplete } from "../../src/follower/flip.ts";
import { repairStream } from "../../src/follower/repair/repair.ts";
import { roleOf } from "../../src/sqlite/file/role.ts";
import { testServer } from "../helpers/nats.ts";
import { failsWith, filesOf, gather, hex, inDir, newRoom, person } from "../helpers/sqlite.ts";
import { roomKey } from "../../src/jetstream/records/keys.ts";
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
    assert.deepEqual(roleOf(at.db), {
      role: "primary",
      place: null,
      generation: 1,
      journey: null,
      frozenAt: null,
    });
    // It took no time in proportion to the records.
    assert.equal(rowsOf(at.db, "follower_entries").length, at.state.entries);
    await using store = openSqlite(at.db, { create: false });
    assert.deepEqual(await gather(store.records()), at.records);
    assert.equal(await store.isAuthorized(ADMIN.signPub), true);
    // The checks of a primary hold again.
    using db = new DatabaseSync(at.db);
    const insert = `INSERT INTO users SELECT '${hex("x").toUpperCase()}', kex_pub, handle, role,
      status, created_at, revoked_at, NULL FROM users LIMIT 1`;
    assert.throws(() => db.exec(insert), /users/);
    // What only a follower needs is removed beside other work.
    while (rowsOf(at.db, "follower_entries").length > 0) await wait(20);
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
    await mkdir(`${dir}/bad`);
    await using bad = await followed(
      `${dir}/bad`,
      (raw) => raw.put(`users.${hex("bad")}`, "{}"),
    );
    await bad.server.stop();
    await failsWith(
      "refused",
      () => promoteFollower({ db: bad.db }),
      /1 record of its bucket is invalid/,
    );
    await using at = await followed(dir);
    await at.server.stop();
    const run = (sql: string) => {
      using db = new DatabaseSync(at.db);
      db.exec(sql);
    };
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

for (
  const [what, sql] of [
    ["a revoked user made active", "UPDATE users SET status = 'active', revoked_at = NULL"],
    [
      "a user under another key",
      `UPDATE users SET sign_pub = '${hex("other")}'
      WHERE status = 'revoked'`,
    ],
    [
      "a record too many",
      `INSERT INTO invites SELECT '${hex("i")}', created_by, role, note,
      created_at, expires_at, NULL, NULL, NULL, NULL FROM invites`,
    ],
    ["a record too few", "DELETE FROM invites"],
    ["a key too few", "DELETE FROM follower_entries WHERE key LIKE 'rooms_by_member.%'"],
    ["another hash", "UPDATE follower_entries SET hash = zeroblob(16)"],
    ["another revision", "UPDATE follower_entries SET revision = revision + 1"],
    ["another digest", `UPDATE follower SET digest = '${"0".repeat(32)}'`],
    [
      "another value of a key",
      "UPDATE follower_entries SET value = x'7b7d' WHERE key LIKE 'users.%'",
    ],
  ] as const
) {
  Deno.test(`a file with ${what} is not promoted, backed up or written back`, () =>
    inDir(async (dir) => {
      await using at = await followed(dir);
      {
        await using store = await openJetStream({ ...at.nats, follower: at.db });
        await store.addUser({ ...person("bob"), role: "user" });
        await store.revokeUser(person("bob").signPub);
      }
      {
        using db = new DatabaseSync(at.db);
        db.exec(sql);
      }
      const repair = () => repairStream({ db: at.db, nats: at.nats, dryRun: true });
      await failsWith("corrupt", repair);
      await failsWith("corrupt", () => backupFollower(at.db, `${dir}/backup.db`));
      assert.equal(existsSync(`${dir}/backup.db`), false);
      await at.server.stop();
      await failsWith("corrupt", () => promoteFollower({ db: at.db, force: true }));
      assert.equal(roleOf(at.db).role, "follower");
    }));
}

Deno.test("a file with a row that SQLite cannot read is corrupt", () =>
  inDir(async (dir) => {
    await using at = await followed(dir);
    const whole = await readFile(at.db);
    const db = `${dir}/g.db`;
    let unreadable = 0;
    // Sizes of values, among others, of the rows in one page.
    for (let i = 6 * 4096 - 220; i < 6 * 4096; i++) {
      await writeFile(db, Buffer.from(whole).fill(0xff, i, i + 1));
      try {
        using file = openStill(db);
        requireComplete(file);
      } catch (error) {
        assert.ok(isStoreError(error, "corrupt"), String(error));
        if (/malformed/.test(String(error.cause))) unreadable++;
      }
    }
    assert.ok(unreadable > 0);
  }));

Deno.test("a follower of an older program that is brought up to date has what that program did not know", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    const db = `${dir}/f.db`;
    await using store = await openJetStream(nats);
    await store.addUser(ADMIN);
    await store.createRoom(newRoom("r1", 3));
    const { token } = await store.createInvite({ createdBy: "cli", room: "r1" });
    const bob = await store.consumeInvite(token, person("bob"));
    await store.createInvite({ createdBy: "cli" });
    // One has an id that is no plain token of a key.
    for (const id of ["r2", "a.b"]) {
      const room = newRoom(id, 2);
      await store.createRoom(room);
      const [from, to] = (await store.listMembers(room.id)).items
        .sort((one) => one.role === "owner" ? -1 : 1).map((it) => it.endpoint);
      const handover = { from: from!, to: to!, epoch: 1, signature: "A".repeat(86) };
      await store.handOverRoom(room.id, handover);
    }
    await using raw = await rawBucket(server.url);
    const kept: [string, string][] = [];
    for (const key of ["rooms.r2", roomKey("a.b")]) kept.push([key, await raw.get(key)]);
    for (
      const { record } of (await gather(store.records())).filter((it) => it.kind === "invites")
    ) {
      const key = `invites.${(record as { id: string }).id}`;
      kept.push([key, await raw.get(key)]);
    }
    kept.push([`users.${bob.signPub}`, await raw.get(`users.${bob.signPub}`)]);
    const records = await gather(store.records());
    {
      await using follower = await followStore({ nats, db });
      await follower.whenExact();
    }
    const older = new DatabaseSync(db);
    // It kept a value that says more than its tables.
    const keep = older.prepare("UPDATE follower_entries SET value = ? WHERE key = ?");
    for (const [key, value] of kept) {
      if (/"room"|"invitedTo"|"handovers"/.test(value)) keep.run(Buffer.from(value), key);
    }
    older.exec(`DROP INDEX users_invited; ALTER TABLE users DROP COLUMN invited_to;
      ALTER TABLE invites DROP COLUMN room; ALTER TABLE rooms DROP COLUMN handovers;
      DELETE FROM schema_migrations WHERE version >= 11; PRAGMA user_version = 10`);
    older.close();
    await store.close();
    await server.stop();
    await promoteFollower({ db });
    await using promoted = openSqlite(db, { create: false });
    assert.deepEqual(await gather(promoted.records()), [...records]);
    assert.deepEqual((await promoted.listWaiting("r1")).items, [bob]);
  }));
