import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../src/core/errors.ts";
import { compareRecords, recordKey } from "../../src/core/order.ts";
import { checkBackup } from "../../src/sqlite/file/backup.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import { SCHEMA_VERSION } from "../../src/sqlite/file/schema.ts";
import { openSource } from "../../src/sqlite/file/source.ts";
import { createTarget } from "../../src/sqlite/file/target.ts";
import { writeDataset } from "../tools/dataset.ts";
import {
  Child,
  failsWith,
  filesOf,
  gather,
  hex,
  inDir,
  newRoom,
  person,
} from "../helpers/sqlite.ts";

/** Runs `work` with a file of about 3,000 records. */
function withFile(work: (path: string, dir: string) => unknown): Promise<void> {
  return inDir(async (dir) => {
    writeDataset(`${dir}/it.db`, { records: 3000 });
    await work(`${dir}/it.db`, dir);
  });
}

async function answer(...task: string[]): Promise<string> {
  await using child = new Child(task);
  assert.equal(await child.line(), "ready");
  await child.go();
  return await child.line();
}

Deno.test("a file that another process has open and idle is refused as in use", async () => {
  await withFile(async (path) => {
    await using child = new Child(["hold", path]);
    assert.equal(await child.line(), "ready");
    await failsWith("refused", () => openSource(path, { busyTimeout: 50 }), /in use/);
    await child.go();
    assert.equal(await child.line(), "closed");
    openSource(path).close();
  });
});

Deno.test("a file that this process has open is refused as in use", async () => {
  await withFile(async (path) => {
    const store = openSqlite(path);
    await failsWith("refused", () => openSource(path, { busyTimeout: 50 }), /in use/);
    assert.ok((await store.listUsers()).items.length > 0);
    await store.close();
    openSource(path).close();
  });
});

Deno.test("a file that is a source is locked for everybody else until it is closed", async () => {
  await withFile(async (path) => {
    const source = openSource(path);
    assert.equal(await answer("use", path), "unavailable");
    assert.equal(await answer("use", path, "readOnly"), "unavailable");
    assert.equal(await answer("trySource", path), "refused");
    await failsWith("unavailable", () => openSqlite(path, { busyTimeout: 50 }), /locked/);
    await failsWith("refused", () => openSource(path, { busyTimeout: 50 }), /in use/);
    source.close();
    assert.equal(await answer("use", path), "done done done");
  });
});

Deno.test("a backup, which is not in WAL mode, is locked as a source too", async () => {
  await withFile(async (path, dir) => {
    {
      using source = openSource(path);
      await source.backupTo(`${dir}/backup.db`);
    }
    using source = openSource(`${dir}/backup.db`);
    assert.ok(source.counts().users > 0);
    assert.equal(await answer("use", `${dir}/backup.db`, "readOnly"), "unavailable");
    assert.equal(await answer("use", `${dir}/backup.db`), "unavailable");
  });
});

Deno.test("a process killed while it had the source leaves it free", async () => {
  await withFile(async (path) => {
    await using child = new Child(["source", path]);
    assert.equal(await child.line(), "ready");
    await failsWith("refused", () => openSource(path, { busyTimeout: 50 }));
    await child.kill();
    openSource(path).close();
    assert.equal(await answer("use", path), "done done done");
  });
});

Deno.test("what a killed server had stored is in the source", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await using child = new Child(["add", path, "user", "20"]);
    assert.equal(await child.line(), "ready");
    await using holder = new Child(["hold", path]);
    assert.equal(await holder.line(), "ready");
    await child.go();
    assert.equal(await child.line(), "added");
    await holder.kill();
    await child[Symbol.asyncDispose]();
    using source = openSource(path);
    assert.equal(source.counts().users, 20);
  });
});

Deno.test("reading a source does not alter the file", async () => {
  await withFile(async (path, dir) => {
    await (openSqlite(path)).close();
    const before = filesOf(dir);
    const source = openSource(path);
    await gather(source.records());
    source.counts();
    source.close();
    assert.deepEqual(filesOf(dir), before);
  });
});

Deno.test("a source gives what the store gives: records in order, each by its key, counts", async () => {
  await withFile(async (path) => {
    const store = openSqlite(path);
    const expected = await gather(store.records());
    await store.close();
    using source = openSource(path);
    const records = [...source.records()];
    assert.deepEqual(records, expected);
    assert.deepEqual(records, [...records].sort(compareRecords));
    for (const it of records) assert.deepEqual(source.get(it.kind, recordKey(it)), it);
    assert.equal(source.get("users", [hex("nobody"), 0, ""]), null);
    assert.equal(source.get("members", ["nowhere", 0, hex("nobody")]), null);
    assert.equal(source.get("room_keys", ["nowhere", 1, hex("nobody")]), null);
    const counts = source.counts();
    for (const [kind, count] of Object.entries(counts)) {
      assert.equal(count, records.filter((it) => it.kind === kind).length);
      assert.ok(count > 0);
    }
    assert.equal(source.schemaVersion, SCHEMA_VERSION);
  });
});

Deno.test("a source that is missing, foreign, newer or empty says so and stays as it is", async () => {
  await inDir(async (dir) => {
    const sql = (name: string, statements: string) => {
      const db = new DatabaseSync(`${dir}/${name}`);
      db.exec(statements);
      db.close();
    };
    sql("foreign.db", "CREATE TABLE t (a)");
    writeFileSync(`${dir}/text.db`, "not a database ".repeat(100));
    writeFileSync(`${dir}/byte.db`, "x");
    writeFileSync(`${dir}/empty.db`, "");
    await (openSqlite(`${dir}/newer.db`)).close();
    sql("newer.db", `PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
    const before = filesOf(dir);
    await failsWith("not_found", () => openSource(`${dir}/none.db`));
    await failsWith("not_found", () => openSource(":memory:"));
    await failsWith("refused", () => openSource(`${dir}/foreign.db`), /another program's/);
    await failsWith("refused", () => openSource(`${dir}/empty.db`), /empty/);
    await failsWith("corrupt", () => openSource(`${dir}/text.db`));
    await failsWith("corrupt", () => openSource(`${dir}/byte.db`));
    await failsWith("unsupported", () => openSource(`${dir}/newer.db`), /supports versions up to/);
    assert.deepEqual(filesOf(dir), before);
  });
});

Deno.test("a source with a damaged page is corrupt, wherever the page is", async () => {
  await withFile(async (path) => {
    const total = ((source) => {
      using it = source;
      return [...it.records()].length;
    })(openSource(path));
    const whole = readFileSync(path);
    const pages = whole.length / 4096;
    let unread = 0;
    for (const page of [2, Math.floor(pages / 3), Math.floor(pages / 2), pages - 1]) {
      const damaged = new Uint8Array(whole);
      damaged.fill(0x5a, page * 4096, page * 4096 + 1200);
      writeFileSync(path, damaged);
      await failsWith("corrupt", () => openSource(path));
      // Indexes are not needed for reading; a table's page is, and what it held is not left out.
      try {
        using unchecked = openSource(path, { check: false });
        assert.equal([...unchecked.records()].length, total);
      } catch (error) {
        assert.ok(error instanceof StoreError && error.code === "corrupt", String(error));
        if (/^Reading/.test(error.message)) unread++;
      }
    }
    assert.ok(unread > 0);
    writeFileSync(path, whole.subarray(0, whole.length - 4096));
    await failsWith("corrupt", () => openSource(path));
    writeFileSync(path, whole);
    openSource(path).close();
  });
});

Deno.test("a source with a member of no room is corrupt", async () => {
  await withFile(async (path) => {
    const db = new DatabaseSync(path, { enableForeignKeyConstraints: false });
    db.exec("DELETE FROM rooms WHERE id = (SELECT min(id) FROM rooms)");
    db.close();
    await failsWith("corrupt", () => openSource(path), /refers to a missing row of rooms/);
  });
});

Deno.test("a backup opens again with identical data and the same identity", async () => {
  await withFile(async (path, dir) => {
    const to = `${dir}/backup.db`;
    using source = openSource(path);
    await failsWith("not_found", () => source.backupTo(`${dir}/no/backup.db`), /no directory/);
    await source.backupTo(to);
    checkBackup(to, { storeId: source.storeId, counts: source.counts() });
    assert.equal(statSync(to).mode & 0o777, 0o600);
    using copy = openSource(to);
    assert.equal(copy.storeId, source.storeId);
    assert.deepEqual([...copy.records()], [...source.records()]);
    copy.close();
    await using store = openSqlite(to);
    await store.addUser(person("after the backup"));
  });
});

Deno.test("a backup never overwrites a file", async () => {
  await withFile(async (path, dir) => {
    using source = openSource(path);
    for (const content of ["", "precious"]) {
      writeFileSync(`${dir}/there`, content);
      await failsWith("refused", () => source.backupTo(`${dir}/there`), /already/);
      assert.equal(readFileSync(`${dir}/there`, "utf8"), content);
    }
    await failsWith("refused", () => source.backupTo(path), /already/);
  });
});

Deno.test("a backup that the disk has no room for is unavailable and leaves no file", async () => {
  await withFile(async (path, dir) => {
    const blocks = Math.floor(statSync(path).size / 512 / 2);
    const wrap = ["sh", "-c", `trap '' XFSZ; ulimit -f ${blocks}; exec "$0" "$@"`];
    await using child = new Child(["backup", path, `${dir}/backup.db`], { wrap });
    assert.equal(await child.line(), "ready");
    await child.go();
    assert.equal(await child.line(), "unavailable");
    assert.deepEqual(Object.keys(filesOf(dir)).filter((it) => it.startsWith("backup")), []);
  });
});

Deno.test("checkBackup() finds what is missing, of another plane, or damaged", async () => {
  await withFile(async (path, dir) => {
    const to = `${dir}/backup.db`;
    using source = openSource(path);
    await source.backupTo(to);
    const { storeId } = source;
    const counts = source.counts();
    await failsWith("not_found", () => checkBackup(`${to}x`, { storeId, counts }));
    await failsWith("mismatch", () => checkBackup(to, { storeId: "other", counts }));
    await failsWith(
      "mismatch",
      () => checkBackup(to, { storeId, counts: { ...counts, users: counts.users + 1 } }),
      /users/,
    );
    const before = filesOf(dir);
    checkBackup(to, { storeId, counts });
    assert.deepEqual(filesOf(dir), before);
    const bytes = readFileSync(to);
    bytes.fill(0x5a, bytes.length - 4096, bytes.length - 2000);
    writeFileSync(to, bytes);
    await failsWith("corrupt", () => checkBackup(to, { storeId, counts }));
  });
});

Deno.test("a target takes all records of a source, and its identity", async () => {
  await withFile(async (path, dir) => {
    using source = openSource(path);
    const target = createTarget(`${dir}/to.db`, { storeId: source.storeId });
    target.setMeta("note", "one");
    target.setMeta("note", "two");
    assert.equal(target.getMeta("note"), "two");
    const slowly = async function* () {
      yield* source.records();
    };
    assert.deepEqual(await target.insertAll(slowly()), source.counts());
    assert.equal(await answer("use", `${dir}/to.db`), "unavailable");
    target.close();
    assert.deepEqual(Object.keys(filesOf(dir)).filter((it) => it.startsWith("to")), ["to.db"]);
    assert.equal(statSync(`${dir}/to.db`).mode & 0o777, 0o600);
    using copy = openSource(`${dir}/to.db`);
    assert.equal(copy.storeId, source.storeId);
    assert.equal(copy.getMeta("note"), "two");
    assert.equal(copy.getMeta("none"), null);
    assert.deepEqual([...copy.records()], [...source.records()]);
  });
});

Deno.test("a target that fails half-way holds nothing, and can be tried again", async () => {
  await withFile(async (path, dir) => {
    using source = openSource(path);
    using target = createTarget(`${dir}/to.db`);
    const broken = function* () {
      let count = 0;
      for (const it of source.records()) {
        if (++count > 1000) throw new Error("the source broke");
        yield it;
      }
    };
    await assert.rejects(target.insertAll(broken()), /^Error: the source broke$/);
    assert.throws(() => target.insertAllSync(broken()), /^Error: the source broke$/);
    const orphan = [...source.records()].filter((it) => it.kind === "members");
    await failsWith("invalid", () => target.insertAllSync(orphan), /constraint/);
    assert.equal(Object.values(target.counts()).reduce((a, b) => a + b), 0);
    assert.deepEqual(target.insertAllSync(source.records()), source.counts());
  });
});

Deno.test("a target never overwrites a file", async () => {
  await withFile(async (path) => {
    const before = readFileSync(path, "hex");
    await failsWith("refused", () => createTarget(path), /already/);
    await failsWith("refused", () => createTarget(":memory:"));
    assert.equal(readFileSync(path, "hex"), before);
  });
});

Deno.test("a data set of one seed is the same again, of another is not", async () => {
  await inDir((dir) => {
    const records = (name: string, seed: string) => {
      writeDataset(`${dir}/${name}.db`, { rooms: 60, users: 80, invites: 70, seed });
      using source = openSource(`${dir}/${name}.db`);
      return [...source.records()];
    };
    const first = records("a", "one");
    assert.deepEqual(records("b", "one"), first);
    assert.notDeepEqual(records("c", "two"), first);
    const count = (kind: string) => first.filter((it) => it.kind === kind).length;
    assert.deepEqual([count("rooms"), count("users"), count("invites")], [60, 80, 70]);
  });
});

Deno.test("a data set passes every check that records from outside must pass", async () => {
  await withFile(async (path) => {
    const records = () => [...source.records()];
    using source = openSource(path);
    await using store = openSqlite(":memory:");
    await store.restore(records());
    assert.deepEqual(await gather(store.records()), records());
    assert.equal(await store.hasAdmin(), true);
    const total = records().length;
    assert.ok(Math.abs(total - 3000) < 300, `${total} records`);
    await store.createRoom(newRoom("in-use"));
  });
});
