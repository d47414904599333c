import assert from "node:assert/strict";
import { readdir, writeFile } from "node:fs/promises";
import { migrateKvToSqlite, migrateSqliteToKv, openJetStream, openSqlite } from "../../mod.ts";
import {
  addUserElsewhere,
  code,
  kvSnapshot,
  kvState,
  placeTests,
  populate,
  populated,
  sqliteSnapshot,
} from "./kit.ts";
import { person } from "../helpers/sqlite.ts";
import { writeDataset } from "../tools/dataset.ts";

const test = placeTests();

test("the way back: what was written in the bucket is in the file, byte for byte", async ({ db, nats }) => {
  {
    await using store = await openJetStream(nats);
    await populate(store);
  }
  const before = await kvState(nats);
  const report = await migrateKvToSqlite({ db, nats });
  assert.equal(await sqliteSnapshot(db), await kvSnapshot(nats));
  assert.deepEqual(await kvState(nats), before, "the bucket is only read");
  assert.equal(report.target, "absent");
  assert.equal(report.counts.users, 4);
});

test("there and back: the untouched file is replaced, and kept under another name", async ({ db, nats }) => {
  await populated(db);
  const before = await sqliteSnapshot(db);
  await migrateSqliteToKv({ db, nats, backup: false });
  {
    await using store = await openJetStream(nats);
    await store.addUser(person("late"));
  }
  const report = await migrateKvToSqlite({ db, nats });
  assert.equal(await sqliteSnapshot(db), await kvSnapshot(nats));
  assert.equal(await sqliteSnapshot(report.backup!), before);
  assert.equal((await migrateKvToSqlite({ db, nats })).target, "repeated");
});

test("a file that was changed since is refused and untouched; replace keeps it", async ({ db, nats }) => {
  await populated(db);
  await migrateSqliteToKv({ db, nats, backup: false });
  {
    await using store = openSqlite(db, { allowMoved: true });
    await store.addUser(person("only here"));
  }
  const changed = await sqliteSnapshot(db);
  await assert.rejects(migrateKvToSqlite({ db, nats }), code("refused"));
  assert.equal(await sqliteSnapshot(db), changed);
  const report = await migrateKvToSqlite({ db, nats, replace: true });
  assert.equal(await sqliteSnapshot(report.backup!), changed);
  assert.equal(await sqliteSnapshot(db), await kvSnapshot(nats));
});

test("another control plane's file is refused and untouched", async ({ db, dir, nats }) => {
  const moved = `${dir}/moved.db`;
  await populated(moved);
  await migrateSqliteToKv({ db: moved, nats, backup: false });
  writeDataset(db, { records: 500 });
  const before = await sqliteSnapshot(db);
  await assert.rejects(migrateKvToSqlite({ db, nats }), code("refused"));
  assert.equal(await sqliteSnapshot(db), before);
});

test("a bucket that somebody listens to is refused", async ({ db, nats }) => {
  await using store = await openJetStream(nats);
  await populate(store);
  assert.equal(await store.isAuthorized(person("ada").signPub), true);
  await assert.rejects(migrateKvToSqlite({ db, nats }), code("refused"));
});

test("a bucket that is written while the file is filled is a conflict, and leaves no file", async ({ db, dir, nats }) => {
  {
    await using store = await openJetStream(nats);
    await populate(store);
  }
  await assert.rejects(
    migrateKvToSqlite({
      db,
      nats,
      onProgress: ({ phase, done }) => {
        if (phase === "verify" && done === 0) addUserElsewhere(nats, "late");
      },
    }),
    code("conflict"),
  );
  assert.deepEqual(await readdir(dir), []);
});

test("half a move into the bucket does not come back", async ({ db, dir, nats }) => {
  writeDataset(db, { records: 20_000 });
  const controller = new AbortController();
  await assert.rejects(
    migrateSqliteToKv({
      db,
      nats,
      backup: false,
      signal: controller.signal,
      onProgress: (it) => it.phase === "copy" && it.done > 0 && controller.abort(),
    }),
    code("aborted"),
  );
  await assert.rejects(migrateKvToSqlite({ db: `${dir}/back.db`, nats }), code("in_progress"));
  assert.deepEqual((await readdir(dir)).filter((it) => it.startsWith("back")), []);
});

test("what a killed run left is removed; a dry run and an abort leave nothing in place", async ({ db, dir, nats }) => {
  {
    await using store = await openJetStream(nats);
    await populate(store);
  }
  assert.equal((await migrateKvToSqlite({ db, nats, dryRun: true })).counts.users, 4);
  await assert.rejects(
    migrateKvToSqlite({ db, nats, signal: AbortSignal.abort() }),
    code("aborted"),
  );
  assert.deepEqual(await readdir(dir), []);
  await writeFile(`${db}.partial`, "what a killed run left");
  await migrateKvToSqlite({ db, nats });
  assert.deepEqual((await readdir(dir)).filter((it) => it.includes("partial")), []);
});

test("a missing bucket is not_found, and nothing is made", async ({ db, dir, nats }) => {
  await assert.rejects(migrateKvToSqlite({ db, nats }), code("not_found"));
  assert.deepEqual(await readdir(dir), []);
});
