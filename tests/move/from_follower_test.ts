import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import {
  followStore,
  migrateKvToSqlite,
  migrateSqliteToKv,
  openJetStream,
  openSqlite,
} from "../../mod.ts";
import { flip, openStill } from "../../src/follower/flip.ts";
import { roleOf } from "../../src/sqlite/file/role.ts";
import { setMeta } from "../../src/sqlite/file/schema.ts";
import { testServer } from "../helpers/nats.ts";
import { failsWith, filesOf, gather, inDir, newRoom, person } from "../helpers/sqlite.ts";

/** A bucket with some records and a follower of it that is behind by the last of them. */
async function followed(dir: string) {
  const server = await testServer();
  const nats = { servers: server.url };
  const follower = `${dir}/f.db`;
  await using store = await openJetStream(nats);
  await store.addUser({ ...person("ada"), role: "admin" });
  await store.createRoom(newRoom("r1", 3));
  {
    await using following = await followStore({ nats, db: follower });
    await following.whenExact();
  }
  await store.addUser(person("bob"));
  await store.removeMember("r1", person("r1 1").signPub);
  const records = await gather(store.records());
  return {
    server,
    nats,
    follower,
    records,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

Deno.test("a follower that catches up becomes the file that a copy would be", () =>
  inDir(async (dir) => {
    await using at = await followed(dir);
    const copied = await migrateKvToSqlite({ nats: at.nats, db: `${dir}/copy.db` });
    const report = await migrateKvToSqlite({
      nats: at.nats,
      db: `${dir}/back.db`,
      follower: at.follower,
    });
    assert.deepEqual([report.counts, report.digests], [copied.counts, copied.digests]);
    assert.deepEqual(roleOf(`${dir}/back.db`), roleOf(`${dir}/copy.db`));
    assert.equal(roleOf(`${dir}/back.db`).generation, 1);
    await using store = openSqlite(`${dir}/back.db`, { create: false });
    assert.deepEqual(await gather(store.records()), at.records);
    assert.equal(existsSync(at.follower), false);
  }));

Deno.test("a follower that a killed run made a primary is taken if the bucket is as it was", () =>
  inDir(async (dir) => {
    await using at = await followed(dir);
    {
      await using following = await followStore({ nats: at.nats, db: at.follower });
      await following.whenExact();
    }
    {
      using file = openStill(at.follower);
      setMeta(file.db, "moved_back_digest", "x");
      flip(file, { generation: 1, by: "test" });
    }
    const options = { nats: at.nats, db: `${dir}/back.db`, follower: at.follower };
    const report = await migrateKvToSqlite(options);
    assert.equal(report.counts.users, 2);
    await using store = openSqlite(`${dir}/back.db`);
    assert.deepEqual(await gather(store.records()), at.records);
  }));

Deno.test("a primary is not taken for a follower, and nothing is changed", () =>
  inDir(async (dir) => {
    await using at = await followed(dir);
    await openSqlite(`${dir}/p.db`).close();
    const before = filesOf(dir);
    const options = { nats: at.nats, db: `${dir}/back.db`, follower: `${dir}/p.db` };
    await failsWith("refused", () => migrateKvToSqlite(options), /not a follower/);
    const { "p.db-shm": _, ...after } = filesOf(dir);
    assert.deepEqual(after, before);
  }));

Deno.test("the generation grows with each move, and is the same on both sides of one", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url };
    const db = `${dir}/a.db`;
    await openSqlite(db).close();
    const generations = [];
    for (let i = 0; i < 2; i++) {
      await migrateSqliteToKv({ db, nats, backup: false });
      generations.push(roleOf(db).generation);
      await migrateSqliteToKv({ db, nats, backup: false });
      generations.push(roleOf(db).generation);
      await migrateKvToSqlite({ db, nats });
      generations.push(roleOf(db).generation);
    }
    assert.deepEqual(generations, [1, 1, 2, 3, 3, 4]);
  }));
