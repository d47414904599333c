import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { copyFile, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  migrateSqliteToKv,
  type MoveProgress,
  openJetStream,
  openSqlite,
  StoreError,
  verifySnapshot,
} from "../../mod.ts";
import { BulkWriter } from "../../src/jetstream/log/bulk.ts";
import { MARKER_KEY } from "../../src/jetstream/records/keys.ts";
import { writeMarker } from "../../src/jetstream/log/marker.ts";
import { openBucket } from "../../src/jetstream/mod.ts";
import {
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

test("parity: after the move the bucket's snapshot equals the file's", async ({ db, nats }) => {
  await populated(db);
  const before = await sqliteSnapshot(db);
  const report = await migrateSqliteToKv({ db, nats });
  assert.equal(await kvSnapshot(nats), before);
  assert.equal(await sqliteSnapshot(db), before);
  assert.deepEqual(report.counts, { rooms: 2, members: 3, room_keys: 4, users: 4, invites: 3 });
  const summary = await verifySnapshot(before);
  assert.deepEqual(report.digests, { ...summary.digests, all: summary.digest });
  assert.equal(report.target, "empty");
  await using store = await openJetStream(nats);
  assert.equal(await store.isAuthorized(person("ada").signPub), true);
  assert.equal(await store.isAuthorized(person("cy").signPub), false);
  assert.equal((await store.getRoom("general")).epoch, 2);
});

test("idempotence: moving twice changes no record's revision and makes no backup", async ({ db, dir, nats }) => {
  await populated(db);
  await migrateSqliteToKv({ db, nats });
  const once = await kvState(nats);
  const files = readdirSync(dir).sort();
  const report = await migrateSqliteToKv({ db, nats });
  assert.deepEqual(await kvState(nats), once);
  assert.equal(report.target, "repeated");
  assert.equal(report.written + report.removed, 0);
  assert.notEqual(report.digests, null);
  // Nothing is moved, so there is nothing to go back from; one that is asked for is made.
  assert.equal(report.backup, null);
  assert.deepEqual(readdirSync(dir).sort(), files);
  const backup = join(dir, "again.db");
  assert.equal((await migrateSqliteToKv({ db, nats, backup })).backup, backup);
});

test("the backup reopens with identical data, and the file keeps its records", async ({ db, nats }) => {
  await populated(db);
  const before = await sqliteSnapshot(db);
  const { backup } = await migrateSqliteToKv({ db, nats });
  assert.equal(await sqliteSnapshot(backup!), before);
  assert.equal(await sqliteSnapshot(db), before);
});

test("a backup goes where it is told to, and nowhere when it is not wanted", async ({ db, dir, nats }) => {
  await populated(db);
  const path = join(dir, "kept.db");
  assert.equal((await migrateSqliteToKv({ db, nats, backup: path })).backup, path);
  await assert.rejects(migrateSqliteToKv({ db, nats, backup: path }), code("refused"));
  assert.equal((await migrateSqliteToKv({ db, nats, backup: false })).backup, null);
  assert.deepEqual((await readdir(dir)).filter((it) => it.includes("backup")), []);
});

test("a source that changed between runs: the bucket converges to it", async ({ db, nats }) => {
  await populated(db);
  await migrateSqliteToKv({ db, nats, backup: false });
  {
    await using store = openSqlite(db, { allowMoved: true });
    await store.deleteRoom("general");
    await store.deleteUser(person("bob").signPub);
    await store.addUser(person("eve"));
    await store.restoreUser(person("cy").signPub);
    const { endpoint, kexPub } = { endpoint: person("eve").signPub, kexPub: person("eve").kexPub };
    await store.addMember("città/öffentlich.1", { endpoint, kexPub });
  }
  const report = await migrateSqliteToKv({ db, nats, backup: false });
  assert.equal(await kvSnapshot(nats), await sqliteSnapshot(db));
  assert.ok(report.removed > 0 && report.written > 0);
  await using store = await openJetStream(nats);
  assert.deepEqual((await store.listRoomsForEndpoint(person("ada").signPub)).items, []);
  assert.equal((await store.listRoomsForEndpoint(person("eve").signPub)).items.length, 1);
});

test("a dry run tells the plan and writes nothing", async ({ db, dir, nats }) => {
  await populated(db);
  const report = await migrateSqliteToKv({ db, nats, dryRun: true });
  assert.equal(report.target, "absent");
  assert.equal(report.digests, null);
  assert.equal(report.counts.users, 4);
  await assert.rejects(openJetStream({ ...nats, create: false }), code("not_found"));
  assert.deepEqual((await readdir(dir)).filter((it) => it.includes("backup")), []);
});

test("somebody else's data is refused and untouched", async ({ db, nats }) => {
  await populated(db);
  {
    await using store = await openJetStream(nats);
    await store.addUser(person("stranger"));
  }
  const before = await kvState(nats);
  await assert.rejects(migrateSqliteToKv({ db, nats }), code("refused"));
  assert.deepEqual(await kvState(nats), before);
});

test("a move from another file is refused and untouched", async ({ db, dir, nats }) => {
  const other = join(dir, "other.db");
  await populated(other);
  await migrateSqliteToKv({ db: other, nats, backup: false });
  const before = await kvState(nats);
  await populated(db);
  const refused = { code: "refused", message: /has the records of another migration, started at / };
  await assert.rejects(migrateSqliteToKv({ db, nats }), refused);
  assert.deepEqual(await kvState(nats), before);
});

test("what was written since the move completed is refused, untouched, and saved by replace", async ({ db, nats }) => {
  await populated(db);
  await migrateSqliteToKv({ db, nats, backup: false });
  {
    await using store = await openJetStream(nats);
    await store.addUser(person("late"));
  }
  const since = await kvSnapshot(nats);
  await assert.rejects(migrateSqliteToKv({ db, nats }), code("refused"));
  assert.equal(await kvSnapshot(nats), since);
  const report = await migrateSqliteToKv({ db, nats, replace: true });
  assert.equal(await readFile(report.saved!, "utf8"), since);
  assert.equal(await kvSnapshot(nats), await sqliteSnapshot(db));
});

test("a deletion since the move completed is refused as well", async ({ db, nats }) => {
  await populated(db);
  await migrateSqliteToKv({ db, nats, backup: false });
  {
    await using store = await openJetStream(nats);
    await store.deleteUser(person("bob").signPub);
  }
  await assert.rejects(migrateSqliteToKv({ db, nats }), code("refused"));
});

test("progress has every phase, never goes back, and ends with done", async ({ db, nats }) => {
  writeDataset(db, { records: 20_000 });
  const seen: MoveProgress[] = [];
  const { counts } = await migrateSqliteToKv({ db, nats, onProgress: (it) => seen.push(it) });
  assert.deepEqual([...new Set(seen.map((it) => it.phase))], [
    "preflight",
    "backup",
    "copy",
    "verify",
    "done",
  ]);
  for (const [i, it] of seen.entries()) {
    assert.ok(it.done <= it.total, JSON.stringify(it));
    const before = seen[i - 1];
    if (before?.phase === it.phase) assert.ok(it.done >= before.done);
  }
  const total = Object.values(counts).reduce((a, b) => a + b);
  assert.deepEqual(seen.at(-1), { phase: "done", done: total, total });
});

test("aborted by its signal, it leaves a mark; the store refuses to open; the next run completes", async ({ db, nats }) => {
  writeDataset(db, { records: 30_000 });
  const controller = new AbortController();
  const run = migrateSqliteToKv({
    db,
    nats,
    backup: false,
    signal: controller.signal,
    onProgress: (it) => {
      if (it.phase === "copy" && it.done > 0) controller.abort();
    },
  });
  await assert.rejects(run, code("aborted"));
  await assert.rejects(openJetStream(nats), code("in_progress"));
  const other = `${db}.other`;
  await populated(other);
  const refused = {
    code: "refused",
    message: /has an incomplete migration of another source, started at /,
  };
  await assert.rejects(migrateSqliteToKv({ db: other, nats }), refused);
  const report = await migrateSqliteToKv({ db, nats, backup: false });
  assert.equal(report.target, "resumed");
  assert.ok(report.written < 40_000);
  assert.equal(await kvSnapshot(nats), await sqliteSnapshot(db));
});

test("a source in use is refused, in this process and in another", async ({ db, nats }) => {
  await populated(db);
  const store = openSqlite(db);
  await store.hasAdmin();
  await assert.rejects(migrateSqliteToKv({ db, nats }), code("refused"));
  await store.close();
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      `import { openSqlite } from ${JSON.stringify(new URL("../../mod.ts", import.meta.url).href)};
       const store = openSqlite(${JSON.stringify(db)});
       await store.hasAdmin();
       console.log("open");
       await new Response(Deno.stdin.readable).text();
       await store.close();`,
    ],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  await assert.rejects(migrateSqliteToKv({ db, nats }), code("refused"));
  await child.stdin.close();
  await child.status;
  await reader.cancel();
  await migrateSqliteToKv({ db, nats, backup: false });
});

test("a missing, foreign, future or corrupt source is refused before anything is written", async ({ db, dir, nats }) => {
  await assert.rejects(migrateSqliteToKv({ db, nats }), code("not_found"));
  await writeFile(db, "not a database at all, only some text that is long enough");
  await assert.rejects(migrateSqliteToKv({ db, nats }), code("corrupt"));
  const broken = join(dir, "broken.db");
  writeDataset(broken, { records: 3000 });
  const bytes = await readFile(broken);
  bytes.fill(0xa5, 4096 * 3, 4096 * 20);
  await writeFile(broken, bytes);
  await assert.rejects(migrateSqliteToKv({ db: broken, nats }), code("corrupt"));
  await assert.rejects(openJetStream({ ...nats, create: false }), code("not_found"));
});

test("more replicas than servers are refused, naming the field", async ({ db, nats }) => {
  await populated(db);
  await assert.rejects(
    migrateSqliteToKv({ db, nats, replicas: 3 }),
    (error) =>
      error instanceof StoreError && error.code === "invalid" && error.field === "replicas",
  );
});

test("disk full for the backup: a clear error, no partial backup, nothing in the bucket", async ({ db, dir, nats }) => {
  writeDataset(db, { records: 20_000 });
  // A file-size limit of the process stands for the full disk: the write itself fails.
  const script = `
    import { migrateSqliteToKv } from ${
    JSON.stringify(new URL("../../mod.ts", import.meta.url).href)
  };
    const [db, nats] = JSON.parse(Deno.args[0]);
    process.on("SIGXFSZ", () => {});
    await migrateSqliteToKv({ db, nats }).then(
      () => console.log("done"), (error) => console.log(error.code, error.message));
  `;
  const file = join(dir, "full.ts");
  await writeFile(file, script.replace("process.on", "globalThis.process?.on"));
  const { stdout, stderr } = await new Deno.Command("sh", {
    args: [
      "-c",
      'trap "" XFSZ; ulimit -f 1024; exec "$@"',
      "sh",
      Deno.execPath(),
      "run",
      "-A",
      "--no-lock",
      "--config",
      new URL("../../deno.json", import.meta.url).pathname,
      file,
      JSON.stringify([db, nats]),
    ],
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert.match(text, /^(unavailable|refused) /, text + new TextDecoder().decode(stderr));
  assert.deepEqual((await readdir(dir)).filter((it) => it.includes(".backup-")), []);
  await using store = await openJetStream(nats);
  assert.deepEqual((await store.listUsers()).items, []);
});

test("an empty control plane moves too", async ({ db, nats }) => {
  await openSqlite(db).close();
  const report = await migrateSqliteToKv({ db, nats });
  assert.equal(Object.values(report.counts).reduce((a, b) => a + b), 0);
  assert.equal((await migrateSqliteToKv({ db, nats, backup: false })).target, "repeated");
});

test("a restored backup counts as the same control plane", async ({ db, dir, nats }) => {
  await populated(db);
  const { backup } = await migrateSqliteToKv({ db, nats });
  const restored = join(dir, "restored.db");
  await copyFile(backup!, restored);
  assert.equal((await migrateSqliteToKv({ db: restored, nats, backup: false })).target, "repeated");
});

test("a bucket filled in any order is compared and mended", async ({ db, nats }) => {
  // Written through the store, in an order of its own, then replaced by what the file has.
  {
    await using store = await openJetStream(nats);
    await populate(store);
  }
  writeDataset(db, { records: 5000 });
  await migrateSqliteToKv({ db, nats, replace: true, backup: false });
  assert.equal(await kvSnapshot(nats), await sqliteSnapshot(db));
});

test("a replacement that ended in its copy is resumed, and still names the file it saved", async ({ db, nats }) => {
  {
    await using store = await openJetStream(nats);
    await populate(store);
  }
  const before = await kvSnapshot(nats);
  writeDataset(db, { records: 5000 });
  const controller = new AbortController();
  const aborted = migrateSqliteToKv({
    ...{ db, nats, replace: true, backup: false, signal: controller.signal },
    onProgress: (it) => it.phase === "copy" && controller.abort(),
  });
  await assert.rejects(aborted, code("aborted"));
  const report = await migrateSqliteToKv({ db, nats, backup: false });
  assert.equal(report.target, "resumed");
  assert.equal(await readFile(report.saved!, "utf8"), before);
  assert.equal(await kvSnapshot(nats), await sqliteSnapshot(db));
});

test("a bulk write ends with conflict when another run has taken the mark over", async ({ nats }) => {
  const { bucket, end } = await openBucket(nats);
  try {
    const soon = () => Date.now() + 60_000;
    const marker = { state: "in_progress", by: "migration", source: "a", startedAt: "" } as const;
    const revision = await writeMarker(bucket, marker, 0, soon());
    const writer = new BulkWriter(bucket, { guard: { key: MARKER_KEY, revision } });
    await writer.write("users.a", "{}");
    await writer.flush();
    await writeMarker(bucket, { ...marker, source: "b" }, revision, soon());
    await writer.write("users.b", "{}");
    await assert.rejects(writer.flush(), code("conflict"));
    assert.equal(await bucket.get("users.b", soon()), null);
  } finally {
    await end();
  }
});
