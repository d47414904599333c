import assert from "node:assert/strict";
import { copyFileSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { openSqlite } from "../../src/sqlite/mod.ts";
import { APPLICATION_ID, SCHEMA_VERSION } from "../../src/sqlite/file/schema.ts";
import { Child, failsWith, filesOf, inDir, newRoom, person } from "../helpers/sqlite.ts";

const mode = (path: string) => statSync(path).mode & 0o777;

function sql(path: string, statements: string): void {
  const db = new DatabaseSync(path);
  db.exec(statements);
  db.close();
}

function read(path: string, statement: string): unknown {
  const db = new DatabaseSync(path, { readOnly: true });
  const row = db.prepare(statement).get();
  db.close();
  return row && Object.values(row)[0];
}

async function makeStore(path: string): Promise<void> {
  await using store = openSqlite(path);
  await store.addUser(person("first"));
}

/** Opening fails with this code, and the directory is as it was: names, bytes, times, modes. */
async function refusedUnaltered(
  dir: string,
  code: Parameters<typeof failsWith>[0],
  message: RegExp,
): Promise<void> {
  const before = filesOf(dir);
  await failsWith(code, () => openSqlite(`${dir}/it.db`), message);
  await failsWith(code, () => openSqlite(`${dir}/it.db`, { readOnly: true }), message);
  assert.deepEqual(filesOf(dir), before);
}

Deno.test("a store tells whether opening created it, and an empty file is none", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    writeFileSync(path, "", { mode: 0o600 });
    const before = filesOf(dir);
    await failsWith("refused", () => openSqlite(path, { create: false }), /it is empty/);
    assert.deepEqual(filesOf(dir), before);
    for (const created of [true, false]) {
      await using store = openSqlite(path);
      assert.equal(store.created, created);
    }
    await using memory = openSqlite(":memory:");
    assert.equal(memory.created, true);
  });
});

Deno.test("a new file is its owner's only, and ours", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await makeStore(path);
    assert.equal(mode(path), 0o600);
    assert.equal(read(path, "PRAGMA application_id"), APPLICATION_ID);
    assert.equal(read(path, "PRAGMA journal_mode"), "wal");
  });
});

Deno.test("the log of a new file is its owner's only too", async () => {
  await inDir(async (dir) => {
    await using store = openSqlite(`${dir}/it.db`);
    await store.addUser(person(1));
    assert.equal(mode(`${dir}/it.db-wal`), 0o600);
    assert.equal(mode(`${dir}/it.db-shm`), 0o600);
  });
});

Deno.test("a file keeps its identity when it is opened again", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    const id = () => read(path, "SELECT value FROM meta WHERE key = 'store_id'");
    await makeStore(path);
    const first = id();
    assert.match(String(first), /^[0-9a-f-]{36}$/);
    await (openSqlite(path)).close();
    assert.equal(id(), first);
  });
});

Deno.test("a path named like a URI is a file of that name", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/file:it.db?mode=memory`;
    await makeStore(path);
    assert.ok(statSync(path).size > 0);
  });
});

Deno.test("a missing file is not_found, and not made, when it is not to be", async () => {
  await inDir(async (dir) => {
    await failsWith("not_found", () => openSqlite(`${dir}/x/it.db`, { create: false }), /no such/);
    await failsWith("not_found", () => openSqlite(`${dir}/x/it.db`, { readOnly: true }));
    assert.deepEqual(filesOf(dir), {});
  });
});

Deno.test("a missing directory is not_found, named, and not created", async () => {
  await inDir(async (dir) => {
    const named = new RegExp(`Creating ${dir}/a/b/it.db: there is no directory ${dir}/a/b$`);
    await failsWith("not_found", () => openSqlite(`${dir}/a/b/it.db`), named);
    assert.deepEqual(filesOf(dir), {});
  });
});

Deno.test("what is no path, and no number of milliseconds, is invalid", async () => {
  await failsWith("invalid", () => openSqlite(""));
  await failsWith("invalid", () => openSqlite("a\0b"));
  await failsWith("invalid", () => openSqlite(5 as unknown as string));
  await failsWith("invalid", () => openSqlite(":memory:", { busyTimeout: -1 }));
  await failsWith("invalid", () => openSqlite(":memory:", { busyTimeout: NaN }));
  await failsWith("invalid", () => openSqlite(":memory:", { busyTimeout: 2 ** 31 }));
  for (const busyTimeout of [0, 2 ** 31 - 1]) await openSqlite(":memory:", { busyTimeout }).close();
});

Deno.test("a directory is refused", async () => {
  await inDir((dir) => failsWith("refused", () => openSqlite(dir), /not a file/));
});

Deno.test("a file in the place of the directory is unavailable", async () => {
  await inDir(async (dir) => {
    writeFileSync(`${dir}/file`, "");
    await failsWith("unavailable", () => openSqlite(`${dir}/file/it.db`));
  });
});

Deno.test("an empty file, and an SQLite file with nothing in it, become a store", async () => {
  await inDir(async (dir) => {
    writeFileSync(`${dir}/empty.db`, "");
    await makeStore(`${dir}/empty.db`);
    sql(`${dir}/bare.db`, "CREATE TABLE t (a); DROP TABLE t");
    assert.ok(statSync(`${dir}/bare.db`).size > 0);
    await makeStore(`${dir}/bare.db`);
  });
});

Deno.test("a file that is no SQLite file is corrupt, and not altered", async () => {
  await inDir(async (dir) => {
    writeFileSync(`${dir}/it.db`, "name,role\nada,admin\n".repeat(1000));
    await refusedUnaltered(dir, "corrupt", /not a SQLite file/);
    writeFileSync(`${dir}/it.db`, "x");
    await refusedUnaltered(dir, "corrupt", /not a SQLite file/);
  });
});

Deno.test("another program's SQLite file is refused, and not altered", async () => {
  await inDir(async (dir) => {
    sql(`${dir}/it.db`, "CREATE TABLE users (a); INSERT INTO users VALUES (1)");
    await refusedUnaltered(dir, "refused", /another program's/);
  });
  await inDir(async (dir) => {
    sql(`${dir}/it.db`, "PRAGMA application_id = 7; PRAGMA user_version = 2");
    await refusedUnaltered(dir, "refused", /application id 0x00000007/);
  });
});

Deno.test("another program's file in WAL mode is refused, and not altered", async () => {
  await inDir(async (dir) => {
    sql(`${dir}/it.db`, "PRAGMA journal_mode = wal; CREATE TABLE t (a)");
    const before = filesOf(dir);
    await failsWith("refused", () => openSqlite(`${dir}/it.db`), /another program's/);
    assert.deepEqual(filesOf(dir), before);
  });
});

Deno.test("another program's file that a killed process left is refused, and not altered", async () => {
  await inDir(async (dir) => {
    // The log as it is while the process lives is the log that a killed process leaves.
    const db = new DatabaseSync(`${dir}/live.db`);
    db.exec("PRAGMA journal_mode = wal; CREATE TABLE t (a)");
    for (const part of ["", "-wal"]) copyFileSync(`${dir}/live.db${part}`, `${dir}/it.db${part}`);
    db.close();
    const content = () => ["", "-wal"].map((part) => readFileSync(`${dir}/it.db${part}`, "hex"));
    const before = content();
    assert.ok(before[1]!.length > 0);
    await failsWith("refused", () => openSqlite(`${dir}/it.db`), /another program's/);
    assert.deepEqual(content(), before);
  });
});

Deno.test("another program's file with an interrupted transaction is not rolled back", async () => {
  await inDir(async (dir) => {
    sql(`${dir}/live.db`, "CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(100000))");
    const db = new DatabaseSync(`${dir}/live.db`);
    db.exec("PRAGMA cache_size = 1; BEGIN; UPDATE t SET a = randomblob(100000)");
    for (const part of ["", "-journal"]) {
      copyFileSync(`${dir}/live.db${part}`, `${dir}/it.db${part}`);
    }
    db.close();
    const content = () => ["", "-journal"].map((it) => readFileSync(`${dir}/it.db${it}`, "hex"));
    const before = content();
    assert.ok(before[1]!.length > 0);
    await assert.rejects(async () => await openSqlite(`${dir}/it.db`).close());
    assert.deepEqual(content(), before);
  });
});

Deno.test("a file whose creation was interrupted is made anew", async () => {
  await inDir(async (dir) => {
    const db = new DatabaseSync(`${dir}/live.db`);
    db.exec("PRAGMA cache_size = 1; BEGIN; CREATE TABLE t (a)");
    db.exec("INSERT INTO t VALUES (zeroblob(100000))");
    for (const part of ["", "-journal"]) {
      copyFileSync(`${dir}/live.db${part}`, `${dir}/it.db${part}`);
    }
    db.close();
    assert.ok(statSync(`${dir}/it.db`).size > 0);
    await makeStore(`${dir}/it.db`);
    await using store = openSqlite(`${dir}/it.db`, { create: false });
    assert.equal((await store.listUsers()).items.length, 1);
  });
});

Deno.test("a file of a newer version is unsupported, and not altered", async () => {
  await inDir(async (dir) => {
    await makeStore(`${dir}/it.db`);
    sql(`${dir}/it.db`, `PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
    const message = new RegExp(`version is ${SCHEMA_VERSION + 1}, this program supports`);
    const before = filesOf(dir);
    await failsWith("unsupported", () => openSqlite(`${dir}/it.db`), message);
    assert.deepEqual(filesOf(dir), before);
  });
});

Deno.test("a newer version that only the log of a killed process shows is seen", async () => {
  await inDir(async (dir) => {
    await makeStore(`${dir}/live.db`);
    const db = new DatabaseSync(`${dir}/live.db`);
    db.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
    for (const part of ["", "-wal"]) copyFileSync(`${dir}/live.db${part}`, `${dir}/it.db${part}`);
    db.close();
    const content = () => ["", "-wal"].map((part) => readFileSync(`${dir}/it.db${part}`, "hex"));
    const before = content();
    await failsWith("unsupported", () => openSqlite(`${dir}/it.db`), /supports versions up to/);
    assert.deepEqual(content(), before);
  });
});

Deno.test("a schema step that is not the one we know is refused, and not altered", async () => {
  await inDir(async (dir) => {
    await makeStore(`${dir}/it.db`);
    sql(`${dir}/it.db`, "UPDATE schema_migrations SET checksum = 'other' WHERE version = 2");
    const before = filesOf(dir);
    await failsWith("refused", () => openSqlite(`${dir}/it.db`), /its migration 2/);
    assert.deepEqual(filesOf(dir), before);
  });
});

Deno.test("a truncated file is corrupt, and stays as it is", async () => {
  await inDir(async (dir) => {
    await makeStore(`${dir}/it.db`);
    truncateSync(`${dir}/it.db`, 3000);
    const before = filesOf(dir);
    await failsWith("corrupt", () => openSqlite(`${dir}/it.db`));
    assert.deepEqual(filesOf(dir), before);
  });
});

Deno.test("a damaged page is corrupt where it is met; the rest is still read", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await makeStore(path);
    const page = Number(read(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'users'"));
    const bytes = readFileSync(path);
    bytes.fill(0xa5, (page - 1) * 4096, page * 4096);
    writeFileSync(path, bytes);
    await using store = openSqlite(path);
    await failsWith("corrupt", () => store.listUsers());
    assert.equal(await store.isAuthorized(person("first").signPub), false);
    assert.deepEqual(await store.listRooms(), { items: [], next: null });
  });
});

Deno.test("readOnly reads, refuses to write, and leaves the file as it is", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await makeStore(path);
    const bytes = readFileSync(path, "hex");
    await using store = openSqlite(path, { readOnly: true });
    assert.equal((await store.getUser(person("first").signPub)).handle, "user first");
    assert.equal(await store.isAuthorized(person("first").signPub), true);
    await failsWith("refused", () => store.addUser(person("second")), /read-only/);
    await failsWith("refused", () => store.createRoom(newRoom("r")), /read-only/);
    await failsWith("refused", () => store.restore([], { replace: true }), /read-only/);
    assert.equal(readFileSync(path, "hex"), bytes);
  });
});

Deno.test("a file that may only be read is refused for writing and open for reading", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await makeStore(path);
    Deno.chmodSync(path, 0o444);
    // Root may write anything, so here it gives that power up; it could not run Deno as somebody
    // else, who may not look into root's home, where npx keeps it.
    const wrap = Deno.uid() === 0
      ? ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
      : [];
    const before = readFileSync(path, "hex");
    for (
      const [task, expected] of [
        [["use", path], "refused"],
        [["trySource", path], "refused"],
        [["use", path, "readOnly"], "done refused done"],
      ] as const
    ) {
      await using child = new Child([...task], { wrap });
      assert.equal(await child.line(), "ready");
      await child.go();
      assert.equal(await child.line(), expected, task.join(" "));
    }
    assert.equal(readFileSync(path, "hex"), before);
  });
});
