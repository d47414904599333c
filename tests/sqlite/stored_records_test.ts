/**
 * Invalid records in a SQLite file: kept out where SQL can tell, named where it cannot, mended where that
 * is safe, and never changed or left out silently.
 */

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { gunzipSync } from "node:zlib";
import { exportSnapshot, isStoreError, openSqlite, type StoreError } from "../../mod.ts";
import { diagnoseFile } from "../../src/sqlite/repair/doctor.ts";
import { openSource } from "../../src/sqlite/file/source.ts";
import { AT, plant, roomSql, UPPER, userSql } from "../helpers/bad_records.ts";
import { cli, documentOf } from "../cli/kit.ts";
import { failsWith, gather, hex, inDir, newRoom, person } from "../helpers/sqlite.ts";

const signal = new AbortController().signal;
const LONG = "x".repeat(65);

/** What a program can write into a file of version 0.1, and the field that is at fault. */
const BAD: [what: string, field: string, sql: string[]][] = [
  ["upper-case hex", "signPub", [userSql({ signPub: `'${UPPER}'` })]],
  ["a key that is no hex", "kexPub", [userSql({ kexPub: `'${"z".repeat(64)}'` })]],
  ["a small-order key", "kexPub", [userSql({ kexPub: `'${"0".repeat(64)}'` })]],
  ["a handle too long", "handle", [userSql({ handle: `'${LONG}'` })]],
  ["a handle that is not UTF-8", "handle", [userSql({ handle: "CAST(x'61ff62' AS TEXT)" })]],
  ["a cut-off character", "handle", [userSql({ handle: "CAST(x'61f0908062' AS TEXT)" })]],
  ["text behind NUL", "handle", [userSql({ handle: "CAST(x'6100ff62' AS TEXT)" })]],
  ["a key with text behind NUL", "signPub", [
    userSql({ signPub: `'${hex("nul")}' || char(0) || 'more'` }),
  ]],
  ["a time that is none", "createdAt", [userSql({ at: "'yesterday'" })]],
  ["a room id that ends with a dot", "id", roomSql("'a.'", hex("ada"))],
  ["a room id with text behind NUL", "id", roomSql("'a' || char(0) || 'b'", hex("ada"))],
  ["an epoch of 11 digits", "epoch", roomSql("'a'", hex("ada"), 12345678901)],
  ["an epoch beyond 2^53", "epoch", roomSql("'a'", hex("ada"), Number(2n ** 60n))],
];

function sqlOf(it: string[]): string[] {
  return it.map((sql) => sql.replace("1152921504606847000", "1152921504606846976"));
}

for (const [what, field, sql] of BAD) {
  Deno.test(`doctor names ${what}, and an export refuses it`, async () => {
    await inDir(async (dir) => {
      const path = `${dir}/it.db`;
      await openSqlite(path).close();
      plant(path, ...sqlOf(sql));
      const bad = (await diagnoseFile(path, { signal })).filter((it) => it.record !== undefined);
      assert.deepEqual(bad.map((it) => it.record!.field)[0], field, JSON.stringify(bad));
      await using store = openSqlite(path);
      const error = await new Response(exportSnapshot(store)).text().then(
        () => null,
        (error: StoreError) => error,
      );
      assert.ok(isStoreError(error, "corrupt"), String(error));
      assert.equal(error.problems?.[0]?.field, field);
      assert.match(error.message, /doctor/);
    });
  });
}

Deno.test("the file itself refuses what SQL can tell, from any program", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    {
      await using store = openSqlite(path);
      await store.createRoom(newRoom("r"));
    }
    const db = new DatabaseSync(path);
    const refused = (sql: string, message = /is not valid/) =>
      assert.throws(() => db.exec(sql), message, sql);
    try {
      for (const [what, , sql] of BAD) {
        if (/UTF-8|cut-off|small-order/.test(what)) continue;
        refused(sqlOf(sql)[0]!);
      }
      const { endpoint } = newRoom("r").owner;
      refused(
        `INSERT INTO room_keys VALUES ('r', 2, '${endpoint}', x'00', '${AT}')`,
        /ahead of the room/,
      );
      db.exec(`INSERT INTO room_keys VALUES ('r', 1, '${hex("former")}', x'00', '${AT}')`);
      db.exec(userSql({ signPub: `'${hex("fine")}'` }));
      for (
        const set of [
          `kex_pub = '${UPPER}'`,
          `handle = '${LONG}'`,
          "handle = ''",
          "created_at = 'x'",
          "status = 'revoked', revoked_at = 'x'",
        ]
      ) refused(`UPDATE users SET ${set} WHERE sign_pub = '${hex("fine")}'`);
      refused("UPDATE rooms SET epoch = 2147483648");
      refused("UPDATE rooms SET subject = 'a b'");
      refused("UPDATE rooms SET subject = '.a'");
      refused("UPDATE rooms SET subject = 'a..b'");
      refused(`UPDATE rooms SET subject = '${"x".repeat(257)}'`);
      db.exec("UPDATE rooms SET subject = 'a.b'");
    } finally {
      db.close();
    }
  });
});

Deno.test("an invalid record stays open to other changes: a user with a bad handle can be revoked", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await using store = openSqlite(path);
    plant(path, userSql({ signPub: `'${hex("eve")}'`, handle: `'${LONG}'` }));
    await store.revokeUser(hex("eve"));
    assert.equal(await store.isAuthorized(hex("eve")), false);
  });
});

Deno.test("checks are back after a restore, which does without them", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await using store = openSqlite(path);
    await store.addUser(person("ada"));
    const records = await gather(store.records());
    await store.restore(records, { replace: true });
    const db = new DatabaseSync(path);
    try {
      assert.throws(() => db.exec(userSql({ handle: `'${LONG}'` })), /is not valid/);
    } finally {
      db.close();
    }
  });
});

Deno.test("doctor --repair writes keys in lower case, and says so; what collides it names and keeps", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    const owner = hex("owner").toUpperCase();
    {
      await using store = openSqlite(path);
      await store.addUser({ ...person("two"), role: "admin" });
    }
    plant(
      path,
      userSql({ signPub: `'${UPPER}'`, kexPub: `'${UPPER}'` }),
      userSql({ signPub: `'${person("two").signPub.toUpperCase()}'` }),
      userSql({ handle: `'${LONG}'` }),
      ...roomSql("'r'", owner),
    );
    const before = await cli(["doctor", "--db", path, "--json"]);
    assert.equal(before.code, 1);
    const { findings } = documentOf(before) as {
      findings: { message: string; record?: { repairable: boolean; key: string } }[];
    };
    assert.match(
      findings.find((it) => it.message.includes("are invalid"))!.message,
      /^5 records are invalid \(rooms: 1, members: 1, users: 3\), doctor --repair can fix 3 of them$/,
    );
    {
      using source = openSource(path);
      assert.equal([...source.records()].length, 6, "nothing was changed");
    }
    const { code, stdout } = await cli(["doctor", "--db", path, "--repair"]);
    assert.equal(code, 1);
    assert.match(stdout, /repaired +records +4 keys were changed from upper-case/);
    assert.match(stdout, /is also stored/);
    await using store = openSqlite(path);
    assert.equal((await store.getUser(UPPER)).kexPub, UPPER.toLowerCase());
    assert.equal((await store.getRoom("r")).owner, owner.toLowerCase());
    assert.equal((await store.getMember("r", owner)).role, "owner");
    const left = (await diagnoseFile(path, { signal })).flatMap((it) => it.record ?? []);
    assert.deepEqual(left.map((it) => it.field).sort(), ["handle", "signPub"]);
    assert.ok(left.every((it) => !it.repairable));
    assert.equal((await gather(store.records())).length, 6, "nothing was removed");
  });
});

Deno.test("a whole page of broken keys is named, none twice and none left out", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await openSqlite(path).close();
    // Read as one and the same text, each of them.
    plant(
      path,
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1203)
       INSERT INTO rooms (id, subject, encrypted, owner, epoch, created_at)
       SELECT CAST(x'61ff00' AS TEXT) || i, 'chat', 0, '${hex("ada")}', 1, '${AT}' FROM n`,
    );
    const db = new DatabaseSync(path);
    db.exec("DELETE FROM members");
    db.close();
    const [summary] = (await diagnoseFile(path, { signal })).filter((it) => it.check === "records");
    assert.match(summary!.message, /^1203 records are invalid/);
  });
});

Deno.test("a list that cannot be continued fails instead of leaving users out", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/it.db`;
    await using store = openSqlite(path);
    for (let i = 0; i < 5; i++) await store.addUser(person(i));
    plant(path, userSql({ signPub: `'${"A".repeat(64)}'` }));
    // As large as it takes to end a page with it: digits come before upper-case letters.
    const { items } = await store.listUsers();
    const limit = 1 + items.findIndex((it) => it.signPub.startsWith("A"));
    assert.ok(limit > 0 && limit < 6, "somebody comes behind it");
    await failsWith("corrupt", () => store.listUsers({ limit }), /AAAA/);
  });
});

Deno.test("a file of version 0.1 with invalid records opens; they stay as they are, and doctor names them", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/unibus.db`;
    const packed = new URL("../fixtures/formats/schema-v3/unibus.db.gz", import.meta.url);
    await writeFile(path, gunzipSync(await readFile(packed)));
    const db = new DatabaseSync(path);
    db.exec(userSql({ signPub: `'${UPPER}'` }));
    db.exec(userSql({ signPub: `'${hex("long")}'`, handle: `'${LONG}'` }));
    db.close();
    {
      await using store = openSqlite(path);
      assert.equal((await store.getUser(hex("long"))).handle, LONG);
    }
    const bad = (await diagnoseFile(path, { signal })).flatMap((it) => it.record ?? []);
    assert.deepEqual(bad.map((it) => [it.field, it.repairable]).sort(), [
      ["handle", false],
      ["signPub", true],
    ]);
  });
});
