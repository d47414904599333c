/** No room left, on the server and here: an error in seconds that says where and what to do. */

import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import {
  exportSnapshot,
  importSnapshot,
  migrateKvToSqlite,
  migrateSqliteToKv,
  openJetStream,
  openSqlite,
  StoreError,
} from "../../mod.ts";
import { cliProcess } from "../cli/kit.ts";
import { childArgs, kvSnapshot, sqliteSnapshot, withPlace } from "./kit.ts";
import { smallDisk } from "../helpers/disk.ts";
import { type TestServer, testServer } from "../helpers/nats.ts";
import { writeDataset } from "../tools/dataset.ts";

/** "Within seconds": a machine that is busy with other tests may take its time. */
const SECONDS = 30;

/** For `assert.rejects`: `unavailable` and a message like this, soon. */
function soon(message: RegExp): (error: unknown) => boolean {
  const begun = performance.now();
  return (error) => {
    const seconds = (performance.now() - begun) / 1000;
    assert.ok(error instanceof StoreError, String(error));
    assert.equal(error.code, "unavailable");
    assert.match(error.message, message);
    assert.ok(seconds < SECONDS, `${seconds} s`);
    return true;
  };
}

const STORAGE = /storage of nats-server is full: .*make room on its disk.* restart nats-server/;

async function restart(server: TestServer): Promise<void> {
  await server.stop();
  await server.restart();
}

Deno.test("a server at its own limit: the move says so at once, and completes when it was raised", async () => {
  await using server = await testServer({ jetstream: { maxFileStore: 4_000_000 } });
  await withPlace(server.url, async ({ db, nats }) => {
    writeDataset(db, { records: 30_000 });
    await assert.rejects(migrateSqliteToKv({ db, nats, backup: false }), soon(STORAGE));
    await using roomy = await testServer({ jetstream: { maxFileStore: 100_000_000 } });
    await migrateSqliteToKv({ db, nats: { ...nats, servers: roomy.url }, backup: false });
  });
});

Deno.test("the server's disk full in mid-copy, then with room again: nothing is stored until it is restarted, which the error says", async () => {
  await withPlace("", async ({ dir, db, nats }) => {
    const store = join(dir, "store");
    await using disk = await smallDisk(store, 12);
    if (disk === null) return;
    await using server = await testServer({
      jetstream: { storeDir: store, maxFileStore: 1_000_000_000 },
    });
    const place = { ...nats, servers: server.url };
    writeDataset(db, { records: 50_000 });
    await assert.rejects(migrateSqliteToKv({ db, nats: place, backup: false }), soon(STORAGE));
    await disk.grow();
    // As an operator hears it, and before anything but the mark is written.
    const args = ["migrate-to-kv", "--db", db, "--no-backup", "--bucket", nats.bucket];
    const { code, stderr } = await cliProcess([...args, "--nats-url", server.url]).ended;
    assert.equal(code, 1);
    assert.match(stderr, STORAGE);
    assert.match(stderr, /then run the same command again/);
    await restart(server);
    const report = await migrateSqliteToKv({ db, nats: place, backup: false });
    assert.equal(report.target, "resumed");
    assert.equal(await kvSnapshot(place), await sqliteSnapshot(db));
  });
});

Deno.test("an import into a server at its limit says the same", async () => {
  await using server = await testServer({ jetstream: { maxFileStore: 4_000_000 } });
  await withPlace(server.url, async ({ db, nats }) => {
    writeDataset(db, { records: 30_000 });
    await using file = openSqlite(db);
    await using store = await openJetStream(nats);
    await assert.rejects(importSnapshot(store, exportSnapshot(file)), soon(STORAGE));
  });
});

Deno.test("a full disk on the way back is named, nothing of it stays, and the old file is as it was", async () => {
  await using server = await testServer();
  await withPlace(server.url, async ({ dir, db, nats }) => {
    writeDataset(db, { records: 30_000 });
    await migrateSqliteToKv({ db, nats, backup: false });
    const small = join(dir, "small");
    await using disk = await smallDisk(small, 6);
    if (disk === null) return;
    const path = join(small, "unibus.db");
    const back = () => migrateKvToSqlite({ db: path, nats });
    await assert.rejects(back(), soon(/^Writing .*unibus\.db\.partial: the disk is full/));
    assert.deepEqual(await readdir(small), []);
    await disk.grow();
    await back();
    assert.equal(await sqliteSnapshot(path), await kvSnapshot(nats));
  });
});

Deno.test("no room to sort in is named as such", async () => {
  await using server = await testServer();
  await withPlace(server.url, async ({ dir, db, nats }) => {
    writeDataset(db, { records: 80_000 });
    await migrateSqliteToKv({ db, nats, backup: false });
    const small = join(dir, "small");
    await using disk = await smallDisk(small, 1);
    if (disk === null) return;
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: childArgs(join(dir, "back.db"), nats, { back: true }),
      env: { SQLITE_TMPDIR: small },
      stderr: "null",
    }).output();
    const said = new TextDecoder().decode(stdout);
    assert.match(said, /^failed unavailable: Sorting records in a temporary file: .*is full/m);
    assert.match(said, /SQLITE_TMPDIR/);
  });
});

Deno.test("no room to save what is to be replaced: it stays, its mark is as it was, and none of the file is left", async () => {
  await using server = await testServer();
  await withPlace(server.url, async ({ dir, db, nats }) => {
    writeDataset(db, { records: 30_000 });
    await migrateSqliteToKv({ db, nats, backup: false });
    const before = await kvSnapshot(nats);
    const small = join(dir, "small");
    await using disk = await smallDisk(small, 4);
    if (disk === null) return;
    const other = join(small, "other.db");
    writeDataset(other, { records: 1000, seed: "other" });
    const replace = () => migrateSqliteToKv({ db: other, nats, backup: false, replace: true });
    await assert.rejects(replace(), soon(/^Saving bucket .*: the disk is full/));
    assert.equal(await kvSnapshot(nats), before);
    assert.deepEqual((await readdir(small)).filter((it) => it.includes("replaced")), []);
    assert.equal((await migrateSqliteToKv({ db, nats, dryRun: true })).target, "repeated");
    await disk.grow();
    await replace();
    assert.equal(await kvSnapshot(nats), await sqliteSnapshot(other));
  });
});
