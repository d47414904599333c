import assert from "node:assert/strict";
import { copyFileSync, rmSync } from "node:fs";
import { migrateKvToSqlite, migrateSqliteToKv, openSqlite } from "../../mod.ts";
import { movedOf } from "../../src/sqlite/file/role.ts";
import { cli, documentOf } from "../cli/kit.ts";
import { testServer } from "../helpers/nats.ts";
import { launch } from "../cli/serve/kit.ts";
import { failsWith, filesOf, inDir, person } from "../helpers/sqlite.ts";
import { writeDataset } from "../tools/dataset.ts";

/** A file that was moved to a server's bucket. */
async function moved(dir: string, url: string, bucket = "UNIBUS") {
  const db = `${dir}/a.db`;
  writeDataset(db, { records: 300 });
  const nats = { servers: url, bucket };
  return { db, nats, report: await migrateSqliteToKv({ db, nats }) };
}

Deno.test("a moved file says where its control plane went, and is opened for reading only", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const other = "nats://127.0.0.1:1";
    const { db } = await moved(dir, `${server.url},${other}`, "MINE");
    const { bucket, servers, at } = movedOf(db)!;
    assert.deepEqual([bucket, servers], ["MINE", [server.url, other]]);
    assert.ok(Math.abs(Date.now() - Date.parse(at)) < 60_000);

    const before = filesOf(dir)["a.db"];
    const where = `moved to bucket MINE on ${server.url}, ${other} at ${at}`;
    const message = await failsWith("refused", () => openSqlite(db), /for writing/);
    assert.ok(message.includes(where), message);
    await failsWith("refused", () => openSqlite(db, { exclusive: true }), /moved to bucket/);
    await using store = openSqlite(db, { readOnly: true });
    assert.equal((await store.listUsers({ limit: 1 })).items.length, 1);
    await store.close();
    assert.equal(filesOf(dir)["a.db"], before);
  }));

Deno.test("allowMoved opens a moved file for writing, and the note stays", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const { db } = await moved(dir, server.url);
    {
      await using store = openSqlite(db, { allowMoved: true });
      await store.addUser(person("late"));
    }
    assert.notEqual(movedOf(db), null);
    await failsWith("refused", () => openSqlite(db));
  }));

Deno.test("a repeated move leaves the note alone, and one to another place renews it", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const { db, nats, report } = await moved(dir, server.url);
    const note = movedOf(db);
    const again = await migrateSqliteToKv({ db, nats, backup: false });
    assert.deepEqual([again.target, again.digests], ["repeated", report.digests]);
    assert.deepEqual(movedOf(db), note);
    await migrateSqliteToKv({ db, nats, backup: false, dryRun: true });
    assert.deepEqual(movedOf(db), note);
    await migrateSqliteToKv({ db, nats: { ...nats, bucket: "OTHER" }, backup: false });
    assert.equal(movedOf(db)!.bucket, "OTHER");
  }));

Deno.test("a move that completed before it could note it does so when it is repeated", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const { db, nats, report } = await moved(dir, server.url);
    // As the file is when the process is killed between the mark and the note.
    copyFileSync(report.backup!, db);
    for (const end of ["-wal", "-shm"]) rmSync(db + end, { force: true });
    assert.equal(movedOf(db), null);
    assert.equal((await migrateSqliteToKv({ db, nats, backup: false })).target, "repeated");
    assert.equal(movedOf(db)!.bucket, "UNIBUS");
  }));

Deno.test("a move that does not complete leaves no note, nor does its backup have one", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const { report } = await moved(dir, server.url);
    assert.equal(movedOf(report.backup!), null);
    const db = `${dir}/b.db`;
    writeDataset(db, { records: 300, seed: "other" });
    await failsWith("refused", () => migrateSqliteToKv({ db, nats: { servers: server.url } }));
    assert.equal(movedOf(db), null);
  }));

Deno.test("the note names a server without user and password", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const { db } = await moved(dir, server.url.replace("//", "//ada:secret@"));
    assert.deepEqual(movedOf(db)!.servers, [server.url]);
  }));

Deno.test("the way back makes a file that is opened as ever", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const { db, nats, report } = await moved(dir, server.url);
    const back = await migrateKvToSqlite({ db, nats });
    assert.deepEqual(back.digests, report.digests);
    assert.notEqual(movedOf(back.backup!), null);
    await using store = openSqlite(db);
    await store.addUser(person("new"));
  }));

Deno.test("commands that write refuse a moved file with a hint; those that read warn", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const { db } = await moved(dir, server.url);
    const { signPub, kexPub, handle } = person("late");
    const before = filesOf(dir)["a.db"];
    const add = `user add --sign-pub ${signPub} --kex-pub ${kexPub} --handle x`;
    for (const text of [add, "invite create", `user revoke ${signPub}`]) {
      const { code, stderr } = await cli([...text.split(" "), "--db", db]);
      assert.equal(code, 1, text);
      assert.match(
        stderr,
        /moved to bucket UNIBUS on nats:.*\nhint: .*--nats-url.*migrate-to-sqli/,
      );
    }
    const list = await cli(["user", "list", "--db", db, "--json"]);
    assert.equal(list.code, 0);
    assert.match(
      list.stderr,
      /^warning: .*a\.db is stale: its control plane moved to bucket UNIBUS/,
    );
    assert.ok(documentOf(list).users.length > 0);
    const { healthy, findings } = documentOf(await cli(["doctor", "--db", db, "--json"]));
    assert.equal(healthy, true);
    const warned = findings.filter((it: { level: string }) => it.level === "warning");
    assert.ok(warned.some((it: { check: string }) => it.check === "moved"));
    assert.equal(filesOf(dir)["a.db"], before, handle);
  }));

Deno.test("the server does not start on a moved file", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    await moved(dir, server.url);
    const { code, stderr } = await (await launch(dir)).ended;
    assert.equal(code, 1);
    assert.match(stderr, /moved to bucket UNIBUS.*\nhint: .*--store jetstream/);
  }));
