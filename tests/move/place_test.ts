/** The way back puts its file in place: killed at any step, the path names a whole file. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { link, readdir, rename, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { migrateKvToSqlite, migrateSqliteToKv, openJetStream, openSqlite } from "../../mod.ts";
import { createTarget } from "../../src/sqlite/file/target.ts";
import { cliProcess } from "../cli/kit.ts";
import {
  childArgs,
  code,
  kvSnapshot,
  type Place,
  placeTests,
  populated,
  sqliteSnapshot,
} from "./kit.ts";
import { person } from "../helpers/sqlite.ts";
import { whyNoStrace } from "../power/trace.ts";

const test = placeTests();

/** A file that was moved, and a bucket that was written since. */
async function moved({ db, nats }: Place): Promise<{ old: string; now: string }> {
  await populated(db);
  await migrateSqliteToKv({ db, nats, backup: false });
  {
    await using store = await openJetStream(nats);
    await store.addUser(person("late"));
  }
  return { old: await sqliteSnapshot(db), now: await kvSnapshot(nats) };
}

/** Without what SQLite leaves beside a file that is only read. */
async function filesIn(dir: string): Promise<string[]> {
  return (await readdir(dir)).filter((it) => !/-(wal|shm)$/.test(it)).sort();
}

/** Moves back while the system answers as told to calls that give the files of the move names. */
async function backWith({ db, nats }: Place, ...inject: string[]): Promise<boolean> {
  const paths = ["", ".partial", ".previous"].flatMap((it) => ["-P", db + it]);
  const injected = inject.flatMap((it) => ["-e", `inject=${it}`]);
  const traced = ["-f", "-qq", "-o", "/dev/null", ...paths, "-e", `trace=${LINK},${RENAME}`];
  const { success } = await new Deno.Command("strace", {
    args: [...traced, ...injected, Deno.execPath(), ...childArgs(db, nats, { back: true })],
    stdout: "null",
    stderr: "null",
  }).output();
  return success;
}

/** Moves back and is killed at the `nth` of these calls. */
async function killedAt(place: Place, calls: string, nth: number): Promise<void> {
  const success = await backWith(place, `${calls}:error=EIO:signal=SIGKILL:when=${nth}`);
  assert.equal(success, false, `${calls} was not called ${nth} times`);
}

const LINK = "link,linkat";
const RENAME = "rename,renameat,renameat2";

test("killed before the old file has its second name, between the two, and behind: the path names a whole file", async (place) => {
  const why = await whyNoStrace();
  if (why !== null) return console.warn(`skipped: no strace: ${why}`);
  const { db, dir, nats } = place;
  const { old, now } = await moved(place);
  for (
    const [calls, nth, wanted] of [[LINK, 1, old], [RENAME, 1, old], [RENAME, 2, now]] as const
  ) {
    await killedAt(place, calls, nth);
    assert.equal(await sqliteSnapshot(db), wanted, `${calls} ${nth}`);
    assert.notEqual((await readdir(dir)).find((it) => /partial$|previous$/.test(it)), undefined);
  }
  const { target } = await migrateKvToSqlite({ db, nats });
  assert.equal(target, "repeated");
  assert.equal(await sqliteSnapshot(db), now);
  const left = (await filesIn(dir)).filter((it) => it !== basename(db));
  assert.ok(left.every((it) => it.includes(".backup-")), left.join());
  const backups = await Promise.all(left.map((it) => sqliteSnapshot(`${dir}/${it}`)));
  assert.deepEqual(backups.sort(), [old, now].sort());
});

test("a second name of the file itself, which a killed run left, is no backup of it", async (place) => {
  const { db, dir, nats } = place;
  const { old } = await moved(place);
  await link(db, `${db}.previous`);
  const { backup } = await migrateKvToSqlite({ db, nats });
  assert.equal(await sqliteSnapshot(backup!), old);
  assert.deepEqual(await filesIn(dir), [basename(db), basename(backup!)].sort());
});

test("a start beside what a killed move left makes no empty control plane, and says what to do", async (place) => {
  const { db, dir, nats } = place;
  const { old, now } = await moved(place);
  // As version 0.1 left it, killed between its two renames.
  const backup = `${db}.backup-20261120T081500123Z`;
  await rename(db, backup);
  createTarget(`${db}.partial`).close();
  await writeFile(`${backup}.tmp`, "");
  const before = await readdir(dir);
  const says = new RegExp(
    `no such file, but found .*partial of .*\\nhint: run migrate-to-sqlite again, or copy ${backup}`,
  );
  for (
    const args of [
      ["serve", "--db", db, "--http-port", "0", "--nats-port", "0"],
      ["user", "list", "--db", db],
      ["migrate-to-kv", "--db", db, "--nats-url", nats.servers],
    ]
  ) {
    const { code, stderr } = await cliProcess(args, { cwd: dir }).ended;
    assert.equal(code, 1, stderr);
    assert.match(stderr, says);
  }
  assert.throws(() => openSqlite(db), code("refused"));
  assert.throws(() => openSqlite(db, { create: false }), code("not_found"));
  assert.throws(() => openSqlite(db, { readOnly: true }), code("not_found"));
  assert.deepEqual((await readdir(dir)).filter((it) => !before.includes(it) && /db/.test(it)), []);
  assert.equal(await sqliteSnapshot(backup), old);
  assert.equal((await migrateKvToSqlite({ db, nats })).target, "absent");
  assert.equal(await sqliteSnapshot(db), now);
  assert.equal(existsSync(`${db}.partial`), false);
});

test("beside an old file alone, under its second name, a start makes nothing either", async (place) => {
  const { db, nats } = place;
  const { old } = await moved(place);
  await rename(db, `${db}.previous`);
  assert.throws(() => openSqlite(db), code("refused"));
  await migrateKvToSqlite({ db, nats });
  const backup = (await readdir(place.dir)).find((it) => it.includes(".backup-"));
  assert.equal(await sqliteSnapshot(`${place.dir}/${backup}`), old);
});

test("a file system without links: the old file is copied before it is replaced", async (place) => {
  const why = await whyNoStrace();
  if (why !== null) return console.warn(`skipped: no strace: ${why}`);
  const { db, dir } = place;
  const { old, now } = await moved(place);
  assert.equal(await backWith(place, `${LINK}:error=EPERM`), true);
  assert.equal(await sqliteSnapshot(db), now);
  const left = (await filesIn(dir)).filter((it) => it !== basename(db));
  assert.equal(left.length, 1, left.join());
  assert.match(left[0]!, /\.backup-/);
  assert.equal(await sqliteSnapshot(`${dir}/${left[0]}`), old);
});
