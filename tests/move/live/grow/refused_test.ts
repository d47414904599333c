/**
 * What a live move refuses, calls off, and what open handles see of it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import {
  callOffGrow,
  growStore,
  migrateSqliteToKv,
  openJetStream,
  openSqlite,
  settleGrow,
} from "../../../../mod.ts";
import { switchOf } from "../../../../src/core/store/switching.ts";
import { openBucket } from "../../../../src/jetstream/mod.ts";
import { readMarker, writeMarker } from "../../../../src/jetstream/log/marker.ts";
import { JourneyFile, journeyOf } from "../../../../src/sqlite/file/journey/file.ts";
import { openSource } from "../../../../src/sqlite/file/source.ts";
import { failsWith, hex, person } from "../../../helpers/sqlite.ts";
import { type Place, placeTests, populate, snapshot } from "../../kit.ts";
import { openTarget, servingSide, sidesOf } from "./kit.ts";

const test = placeTests();
const ADA = person("ada").signPub;

/** Moves a file until it could switch, and interrupts that. */
async function interrupted({ db, nats }: Place): Promise<void> {
  await using store = openSqlite(db);
  await using target = await openTarget(nats);
  const stop = new AbortController();
  const ready = () => {
    stop.abort();
    return Promise.resolve();
  };
  await failsWith("aborted", () => growStore(store, { target, ready, signal: stop.signal }));
  assert.equal(store.backend, "sqlite");
  await store.addUser(person("meanwhile"));
}

/** Lets a look of an open handle be due. */
const aMoment = () => new Promise((resolve) => setTimeout(resolve, 20));

async function fill({ db }: Place): Promise<void> {
  await using store = openSqlite(db);
  await populate(store);
}

test("An interrupted move leaves no one in the bucket, and continues with what changed since", async (place) => {
  const { db, nats } = place;
  await fill(place);
  await interrupted(place);
  await failsWith(
    "in_progress",
    () => openJetStream(nats),
    /A move of a control plane that serves/,
  );
  const journey = journeyOf(db)!;
  await using store = openSqlite(db);
  await store.deleteUser(person("bob").signPub);
  await using target = await openTarget(nats);
  const report = await growStore(store, { target });
  assert.equal(report.journey, journey.id);
  const { bucket } = await sidesOf(db, nats);
  assert.ok(bucket.users.has(person("meanwhile").signPub));
  assert.ok(!bucket.users.has(person("bob").signPub));
  assert.equal(journeyOf(db), null);
});

test("A move that was called off leaves a file as before, and can be begun again", async (place) => {
  const { db, nats } = place;
  await fill(place);
  assert.equal(
    await callOffGrow({ db, nats: { ...nats, create: true } }).catch(() => false),
    false,
  );
  await interrupted(place);
  assert.equal(await callOffGrow({ db, nats }), true);
  assert.equal(await callOffGrow({ db, nats }), false);
  const file = new DatabaseSync(db, { readOnly: true });
  const left = file.prepare(
    "SELECT count(*) AS n FROM sqlite_schema WHERE name GLOB 'journey_*_*_*'",
  )
    .get()!;
  assert.equal(left.n, 0, "triggers stayed");
  file.close();
  await failsWith("in_progress", () => openJetStream(nats));
  await using store = openSqlite(db);
  await store.addUser(person("between"));
  await using target = await openTarget(nats);
  await growStore(store, { target });
  assert.equal((await sidesOf(db, nats)).bucket.users.size, 6);
  await failsWith("refused", () => callOffGrow({ db, nats }), /has moved/);
});

test("A copy of the file, made during the move, continues nothing and disturbs nothing", async (place) => {
  const { db, dir, nats } = place;
  await fill(place);
  await interrupted(place);
  const copied = `${dir}/copy.db`;
  new DatabaseSync(db).prepare("PRAGMA wal_checkpoint(TRUNCATE)").get();
  copyFileSync(db, copied);
  {
    await using store = openSqlite(copied);
    await using target = await openTarget(nats);
    await failsWith("refused", () => growStore(store, { target }), /is a copy of a file/);
  }
  await using store = openSqlite(db);
  await using target = await openTarget(nats);
  await growStore(store, { target });
  // The copy has the same identity, and is from before the move.
  await using old = openSqlite(copied);
  await using again = await openTarget(nats);
  await failsWith("refused", () => growStore(old, { target: again }), /was completed at/);
});

test("A backup made during the move takes no part in it", async (place) => {
  const { db, dir, nats } = place;
  await fill(place);
  await interrupted(place);
  const backup = `${dir}/backup.db`;
  {
    using source = openSource(db);
    await source.backupTo(backup);
  }
  assert.equal(journeyOf(backup), null);
  await using store = openSqlite(backup);
  await store.addUser(person("in the backup"));
  await using target = await openTarget(nats);
  await failsWith("refused", () => growStore(store, { target }), /records of another move/);
  assert.notEqual(journeyOf(db), null);
});

test("Handles that are open while the file is frozen and when it has moved", async (place) => {
  const { db, nats } = place;
  await fill(place);
  await using writer = openSqlite(db);
  await using reader = openSqlite(db, { readOnly: true });
  await interrupted(place);
  {
    using file = new JourneyFile(db);
    await file.freeze(file.journey!, 1000);
    await failsWith(
      "unavailable",
      () => writer.addUser(person("no")),
      /is being switched to bucket/,
    );
    await failsWith("unavailable", () => writer.restore([], { replace: true }), /being switched/);
    await failsWith("in_progress", () => openSqlite(db), /being switched to a bucket since/);
    await aMoment();
    for (const store of [writer, reader]) {
      assert.equal(await store.isAuthorized(ADA), true);
      assert.equal(await store.hasAdmin(), true);
      assert.equal((await store.getUser(ADA)).handle, "user ada");
    }
    assert.equal((await writer.health()).ok, false);
  }
  // Nobody knows any more whether others serve.
  const raw = new DatabaseSync(db);
  raw.prepare("UPDATE file_role SET frozen_at = frozen_at - 5000").run();
  await aMoment();
  for (const store of [writer, reader]) {
    assert.equal(await store.isAuthorized(ADA), false);
    assert.equal(await store.hasAdmin(), false);
    assert.equal((await store.getUser(ADA)).handle, "user ada");
  }
  for (
    const sql of [
      "INSERT OR IGNORE INTO users SELECT * FROM users LIMIT 1",
      "INSERT OR REPLACE INTO users SELECT * FROM users LIMIT 1",
      "UPDATE OR IGNORE rooms SET epoch = 9",
      "DELETE FROM members",
      "DELETE FROM room_keys",
      "UPDATE invites SET note = ''",
    ]
  ) assert.throws(() => raw.exec(sql), /is being switched to bucket MOVE/, sql);
  assert.equal(await settleGrow({ db, nats }), "primary");
  await aMoment();
  await writer.addUser(person("again"));
  assert.equal(await writer.isAuthorized(ADA), true);
  assert.equal((await writer.health()).ok, true);
  {
    await using store = openSqlite(db);
    await using target = await openTarget(nats);
    await growStore(store, { target });
  }
  await aMoment();
  for (const store of [writer, reader]) {
    assert.equal(await store.isAuthorized(ADA), false);
    assert.equal(await store.hasAdmin(), false);
    await failsWith("refused", () => store.getUser(ADA), /its control plane moved to bucket/);
    await failsWith("refused", () => store.listMembers("general"), /moved to bucket/);
    await failsWith("refused", () => store.search!.users(), /moved to bucket/);
    await failsWith("refused", () => Array.fromAsync(store.records()), /moved to bucket/);
  }
  await failsWith("refused", () => writer.addUser(person("late")), /moved to bucket/);
  assert.throws(() => raw.exec("DELETE FROM users"), /is being switched to bucket MOVE/);
  raw.close();
  assert.equal(servingSide(await sidesOf(db, nats)), "bucket");
  // Who opens it now knows what it is.
  await using past = openSqlite(db, { readOnly: true });
  assert.equal(await past.isAuthorized(ADA), true);
  await using writable = openSqlite(db, { allowMoved: true });
  await writable.addUser(person("into the past"));
});

test("A frozen file whose bucket is complete has moved, also if its row could not be written", async (place) => {
  const { db, nats } = place;
  await fill(place);
  await interrupted(place);
  {
    using file = new JourneyFile(db);
    await file.freeze(file.journey!, 1000);
  }
  await failsWith("in_progress", () => migrateSqliteToKv({ db, nats }), /being switched/);
  const { bucket, end } = await openBucket(nats);
  const { marker, revision } = await readMarker(bucket, Date.now() + 60_000);
  const completedAt = new Date().toISOString();
  const complete = { ...marker!, state: "complete" as const, completedAt };
  await writeMarker(bucket, complete, revision, Date.now() + 60_000);
  assert.equal(servingSide(await sidesOf(db, nats)), "bucket");
  assert.equal(await settleGrow({ db, nats }), "moved");
  assert.equal(await settleGrow({ db, nats }), "moved");
  using file = new JourneyFile(db);
  const { role, generation, journey } = file.role;
  assert.deepEqual([role, generation, journey], ["moved", 1, marker!.journey]);
  await end();
});

test("A switch is settled by its own write whose answer was lost, not by one of a later run", async (place) => {
  const { db, nats } = place;
  await fill(place);
  await interrupted(place);
  const { bucket, end } = await openBucket(nats);
  const mark = async (attempt: number) => {
    const { marker, revision } = await readMarker(bucket, Date.now() + 60_000);
    await writeMarker(bucket, { ...marker!, attempt }, revision, Date.now() + 60_000);
  };
  using file = new JourneyFile(db);
  const { attempt } = file.journey!;
  await file.freeze(file.journey!, 1000);
  await mark(attempt + 2);
  await failsWith("conflict", () => settleGrow({ db, nats }), /another run has taken over/);
  assert.notEqual(file.role.frozenAt, null);
  assert.equal(await settleGrow({ db, nats }), "primary");
  assert.equal(file.role.frozenAt, null);
  await end();
});

test("Two moves of one file at once: one of them is made, and the other changes nothing", async (place) => {
  const { db, nats } = place;
  await fill(place);
  await using one = openSqlite(db);
  await using two = openSqlite(db);
  await using first = await openTarget(nats);
  await using second = await openTarget(nats);
  const both = [growStore(one, { target: first }), growStore(two, { target: second })];
  await failsWith("conflict", () => growStore(one, { target: first }), /already running/);
  const ended = await Promise.allSettled(both);
  assert.equal(ended.filter((it) => it.status === "fulfilled").length, 1, JSON.stringify(ended));
  const sides = await sidesOf(db, nats);
  assert.equal(servingSide(sides), "bucket");
  assert.deepEqual(sides.file.users, sides.bucket.users);
});

test("What is refused before anything is written", async (place) => {
  const { db, dir, nats } = place;
  await fill(place);
  await using target = await openTarget(nats);
  await using store = openSqlite(db);
  await failsWith("invalid", () => growStore(store, { target: store }), /target must be/);
  await failsWith("invalid", () => growStore(store, { target, pace: 0 }), /pace must be/);
  await using memory = openSqlite(":memory:");
  await failsWith("invalid", () => growStore(memory, { target }), /must be in a SQLite file/);
  await using reader = openSqlite(db, { readOnly: true });
  await failsWith("invalid", () => growStore(reader, { target }), /must be in a SQLite file/);
  await using alone = openSqlite(`${dir}/alone.db`, { exclusive: true });
  await failsWith("invalid", () => growStore(alone, { target }), /must be in a SQLite file/);
  const dry = await growStore(store, { target, dryRun: true });
  assert.deepEqual([dry.dryRun, dry.counts.users, dry.journey], [true, 4, null]);
  assert.equal(journeyOf(db), null);
  const raw = new DatabaseSync(db);
  raw.exec(`DROP TRIGGER users_valid_insert;
    INSERT INTO users SELECT '${hex("x").toUpperCase()}', kex_pub, handle, role, status, created_at,
      revoked_at, NULL FROM users LIMIT 1`);
  await failsWith("refused", () => growStore(store, { target }), /nothing was migrated/);
  assert.equal(journeyOf(db), null);
  raw.exec(`DELETE FROM users WHERE sign_pub = '${hex("x").toUpperCase()}'`);
  raw.close();
  await switchOf(target).current.addUser({
    ...person("stranger"),
    role: "user",
    status: "active",
    createdAt: "2026-01-02T03:04:05.006Z",
    revokedAt: null,
  }, { by: "test", at: "2026-01-02T03:04:05.006Z", wrote: () => {} });
  await failsWith("refused", () => growStore(store, { target }), /did not come from this file/);
  assert.equal(journeyOf(db), null);
});

test("A file of version 0.1 is moved, with the same records", async ({ db, nats }) => {
  const packed = new URL("../../../fixtures/formats/schema-v3/unibus.db.gz", import.meta.url);
  const bytes = (await Deno.open(packed)).readable.pipeThrough(new DecompressionStream("gzip"));
  await Deno.writeFile(db, bytes);
  await using store = openSqlite(db);
  const before = await snapshot(store);
  await using target = await openTarget(nats);
  await growStore(store, { target });
  assert.equal(await snapshot(store), before);
});

test("Changes by raw SQL are copied: a changed key, a cascade, what ON CONFLICT does", async ({ db, nats }) => {
  await using store = openSqlite(db);
  await populate(store);
  await using target = await openTarget(nats);
  const raw = new DatabaseSync(db);
  const key = hex("renamed");
  const hold = () => {
    raw.exec(`UPDATE users SET sign_pub = '${key}' WHERE handle = 'user bob';
      INSERT OR IGNORE INTO users SELECT '${hex("new")}', kex_pub, 'new', role, status, created_at,
        revoked_at, NULL FROM users WHERE handle = 'user ada';
      INSERT OR REPLACE INTO users SELECT sign_pub, kex_pub, 'replaced', 'user', status, created_at,
        revoked_at, NULL FROM users WHERE handle = 'user ada';
      DELETE FROM rooms WHERE id = 'general'`);
    return Promise.resolve();
  };
  await growStore(store, { target, hold });
  raw.close();
  await using before = openSqlite(db, { readOnly: true });
  assert.equal(await snapshot(store), await snapshot(before));
  assert.equal((await store.getUser(key)).handle, "user bob");
  await failsWith("not_found", () => store.getRoom("general"));
  assert.equal(await store.hasAdmin(), true);
});

test("A switch that is not ready in time is called off, says why, and is tried again", async ({ db, nats }) => {
  await using store = openSqlite(db);
  await populate(store);
  await using target = await openTarget(nats);
  const raw = new DatabaseSync(db);
  let readied = 0;
  const reasons = new Set<string | null>();
  const report = await growStore(store, {
    target,
    ready() {
      // Another process that writes for long.
      if (++readied === 1) {
        raw.exec("BEGIN IMMEDIATE");
        setTimeout(() => raw.exec("ROLLBACK"), 800);
      }
      return Promise.resolve();
    },
    onProgress: ({ reason }) => reasons.add(reason),
  });
  assert.ok(report.attempts > 1);
  assert.match([...reasons].at(-1) ?? "", /locked by another process/);
  raw.close();
});
