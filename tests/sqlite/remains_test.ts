import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { openSqlite } from "../../mod.ts";
import { inDir, person } from "../helpers/sqlite.ts";
import { rowsOf } from "../follower/kit.ts";

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const leftIn = (db: string) =>
  rowsOf(db, "follower_entries").length + rowsOf(db, "follower_others").length;

/** Makes a primary that holds so many keys of the time when it was a follower. */
async function promoted(dir: string, entries: number): Promise<string> {
  const path = `${dir}/a.db`;
  await using store = openSqlite(path);
  await store.addUser(person("ada"));
  using db = new DatabaseSync(path);
  db.exec("BEGIN");
  const entry = db.prepare("INSERT INTO follower_entries VALUES (?, ?, x'00', NULL)");
  for (let i = 0; i < entries; i++) entry.run(`users.${i}`, i);
  db.exec("INSERT INTO follower_others VALUES ('users.x', 1, 2), ('meta.y', 3, NULL); COMMIT");
  return path;
}

Deno.test("a primary removes what it held as a follower, by pieces beside other work, and continues when it is opened again", () =>
  inDir(async (dir) => {
    const path = await promoted(dir, 3000);
    let left = leftIn(path);
    {
      await using store = openSqlite(path);
      for (let i = 0; leftIn(path) === left; i++) {
        await store.addUser(person(`user ${i}`));
        await pause(5);
      }
      left = leftIn(path);
      assert.ok(left > 0, "all was removed at once");
    }
    assert.equal(leftIn(path), left);
    await using store = openSqlite(path);
    while (leftIn(path) > 0) await pause(20);
    assert.equal(await store.isAuthorized(person("user 0").signPub), true);
  }));

Deno.test("a primary waits for another writer before it removes what it held, and does not block meanwhile", () =>
  inDir(async (dir) => {
    const path = await promoted(dir, 10);
    await using store = openSqlite(path, { busyTimeout: 60_000 });
    using other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    let longest = 0;
    for (const end = Date.now() + 2500; Date.now() < end;) {
      const begun = performance.now();
      await pause(10);
      longest = Math.max(longest, performance.now() - begun);
    }
    assert.ok(longest < 30_000, `it blocked for ${longest} ms`);
    assert.equal(leftIn(path), 12);
    other.exec("COMMIT");
    while (leftIn(path) > 0) await pause(20);
    await store.addUser(person("bob"));
  }));

for (const options of [{ readOnly: true }, { exclusive: true }, { allowMoved: true }]) {
  Deno.test(`a file opened with ${JSON.stringify(options)} keeps what it held as a follower`, () =>
    inDir(async (dir) => {
      const path = await promoted(dir, 10);
      if (options.allowMoved) {
        using db = new DatabaseSync(path);
        db.exec("UPDATE file_role SET role = 'moved', place = '{}'");
      }
      {
        await using _store = openSqlite(path, options);
        await pause(1300);
      }
      assert.equal(leftIn(path), 12);
    }));
}
