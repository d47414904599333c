/** A hundred single changes to a history and its file: each is found by a verification, and named. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { isStoreError, openSqlite, verifyHistory } from "../../mod.ts";
import { FIRST_HEAD, headAfter } from "../../src/core/history/chain.ts";
import type { HistoryEntry } from "../../src/core/history/entry.ts";
import { signHead } from "../../src/history/heads.ts";
import { openHistory } from "../../src/sqlite/open_history.ts";
import { createNkey } from "../../src/keys/nkey.ts";
import { Random } from "../tools/random.ts";
import { inDir } from "../helpers/sqlite.ts";
import { type Kept, keptFile, raw } from "./kit.ts";

/** One change, and the first revision that it makes wrong; null for any. */
interface Attack {
  what: string;
  at: string | null;
  /** Whether only a kept head shows it. */
  needsKept?: true;
  make(path: string): void;
}

/** The row of a revision in SQL. */
const row = (revision: string) => {
  const [generation, number] = revision.split(".");
  return `generation = ${generation} AND number = ${number}`;
};

const number = (revision: string) => Number(revision.split(".")[1]);

/** The value that is put into each column. */
const OTHER: Record<string, string> = {
  generation: "generation + 7",
  number: "number + 100000",
  at: "'2020-01-01T00:00:00.000Z'",
  by: "'eve'",
  action: "iif(action = 'user.added', 'user.deleted', 'user.added')",
  user: `iif(user IS NULL, '${"e".repeat(64)}', NULL)`,
  room: "iif(room IS NULL, 'r1', room || 'x')",
  invite: `iif(invite IS NULL, '${"e".repeat(64)}', NULL)`,
  before: `iif(before IS NULL, '{"role":"admin"}', NULL)`,
  after: `iif(after IS NULL, '{"role":"admin"}', replace(after, '}', ',"x":1}'))`,
  head: "randomblob(32)",
};

function attacks({ revisions, kept }: Kept, random: Random): Attack[] {
  const pick = () => revisions[random.integer(1, revisions.length - 3)]!;
  const after = (revision: string) => revisions[revisions.indexOf(revision) + 1]!;
  const sql = (what: string, at: string | null, text: string): Attack => ({
    what,
    at,
    make: (path) => raw(path, (db) => db.exec(text)),
  });
  const found: Attack[] = [];
  for (const [column, value] of Object.entries(OTHER)) {
    for (let i = 0; i < 4; i++) {
      const at = pick();
      // Its place is empty then.
      const isMoved = column === "generation" || column === "number";
      found.push(sql(
        `${column} of ${at}`,
        isMoved ? after(at) : at,
        `UPDATE history SET ${column} = ${value} WHERE ${row(at)}`,
      ));
    }
  }
  for (let i = 0; i < 8; i++) {
    const at = pick();
    found.push(sql(`${at} deleted`, after(at), `DELETE FROM history WHERE ${row(at)}`));
  }
  const copyTo = (revision: string, generation: string, number: string) =>
    `INSERT INTO history SELECT ${generation}, ${number}, at, 'eve', action, user, room, invite, before, ` +
    `after, head FROM history WHERE ${row(revision)}`;
  for (let i = 0; i < 4; i++) {
    const at = pick();
    const [, number] = at.split(".");
    found.push(
      sql(
        `inserted at ${at}`,
        at,
        `UPDATE history SET number = -number - 1 WHERE generation = 0 AND number >= ${number};
         UPDATE history SET number = -number WHERE number < 0;
         ${copyTo(`0.${Number(number) + 1}`, "0", number!)}`,
      ),
    );
    const other = pick();
    if (other === at) continue;
    const place = `CASE WHEN ${row(at)} THEN ${other.split(".")[1]} ELSE ${number} END`;
    found.push(sql(
      `${at} and ${other} swapped`,
      [at, other].sort((a, b) => revisions.indexOf(a) - revisions.indexOf(b))[0]!,
      `CREATE TEMP TABLE two AS SELECT * FROM history WHERE (${row(at)}) OR (${row(other)});
       UPDATE two SET number = ${place};
       DELETE FROM history WHERE (${row(at)}) OR (${row(other)});
       INSERT INTO history SELECT * FROM two`,
    ));
  }
  found.push(
    sql("a row before all", "0.0", copyTo(revisions[3]!, "0", "0")),
    sql("a row with a negative number", null, copyTo(revisions[3]!, "0", "-5")),
    sql("a row of a negative generation", null, copyTo(revisions[3]!, "-1", "5")),
    sql("a row behind all", null, copyTo(revisions.at(-1)!, "0", "900")),
    sql("a row of a later generation", "4.1", copyTo(revisions.at(-1)!, "4", "1")),
    sql("a number that is too great", null, copyTo(revisions.at(-1)!, "0", "9007199254740993")),
    sql(
      "JSON that is none",
      revisions[5]!,
      `UPDATE history SET after = '{' WHERE ${row(revisions[5]!)}`,
    ),
    sql("all rows deleted", null, "DELETE FROM history"),
    sql("the cut deleted", null, "DELETE FROM history_cut"),
    sql("the cut moved", null, "UPDATE history_cut SET number = number - 1"),
    sql("the head of the cut", null, "UPDATE history_cut SET head = zeroblob(32)"),
    {
      what: "a row hidden from an index",
      at: null,
      make: (path) =>
        raw(path, (db) => {
          const name = "history_by_user";
          const { sql } = db.prepare("SELECT sql FROM sqlite_schema WHERE name = ?").get(name)!;
          db.exec(`DROP INDEX ${name}; ${sql} AND number > ${number(revisions[5]!)}`);
          // Not every version of the types has it.
          (db as unknown as { enableDefensive(on: boolean): void }).enableDefensive(false);
          db.exec("PRAGMA writable_schema = ON");
          db.prepare("UPDATE sqlite_schema SET sql = ? WHERE name = ?").run(sql!, name);
        }),
    },
    // The oldest rows removed as a pruning would, but no entry says so.
    {
      what: "the oldest rows cut off",
      at: revisions[6]!,
      make: (path) =>
        raw(path, (db) => {
          db.exec(`INSERT OR REPLACE INTO history_cut
            SELECT 1, generation, number, head FROM history WHERE ${row(revisions[6]!)}`);
          const [, number] = revisions[6]!.split(".");
          db.exec(`DELETE FROM history WHERE number <= ${number}`);
        }),
    },
  );
  for (const count of [1, 2, 5, 15]) {
    const end = revisions.at(-1 - count)!;
    const cut = `DELETE FROM history WHERE number > ${end.split(".")[1]}`;
    found.push(sql(`the last ${count} rows cut off`, end, cut));
    found.push({
      ...sql(`the same with the signed heads`, end, `${cut}; DELETE FROM history_heads`),
      needsKept: true,
    });
  }
  const heads = {
    node: "node || 'x'",
    revision: "'0.9'",
    head: `'${"e".repeat(64)}'`,
    at: "'2020-01-01T00:00:00.000Z'",
    key: `'${"e".repeat(64)}'`,
    signature: "substr(signature, 3) || substr(signature, 1, 2)",
  };
  for (const [column, value] of Object.entries(heads)) {
    const change = `UPDATE history_heads SET ${column} = ${value}`;
    found.push(sql(`${column} of a signed head`, null, change));
  }
  for (let i = 0; i < 6; i++) {
    const at = pick();
    found.push({
      what: `${at} changed and the chain made again`,
      at: null,
      make: (path) => raw(path, (db) => rewrite(db, at)),
    });
  }
  found.push({
    what: "the chain made again, and its head signed by another key",
    at: kept.revision,
    make: (path) =>
      raw(path, (db) => {
        const head = rewrite(db, pick());
        const at = new Date().toISOString();
        const own = createNkey("user");
        const signed = signHead({ revision: kept.revision, head }, { node: "n1", at, key: own });
        db.exec("DELETE FROM history_heads WHERE node = 'n2'");
        db.prepare("UPDATE history_heads SET head = ?, at = ?, key = ?, signature = ?")
          .run(signed.head, signed.at, signed.key, signed.signature);
      }),
  });
  return found;
}

/** Changes who did something, and makes all heads behind it again; returns the last one. */
function rewrite(db: DatabaseSync, revision: string): string {
  db.exec(`UPDATE history SET by = 'eve' WHERE ${row(revision)}`);
  const cut = db.prepare("SELECT lower(hex(head)) AS head FROM history_cut").get();
  let head = String(cut?.head ?? FIRST_HEAD);
  for (const it of db.prepare("SELECT * FROM history ORDER BY generation, number").all()) {
    const { generation, number, before, after, head: _, ...rest } = it;
    const parsed = (value: unknown) => value === null ? null : JSON.parse(String(value));
    head = headAfter(
      head,
      {
        ...rest,
        revision: `${generation}.${number}`,
        before: parsed(before),
        after: parsed(after),
      } as unknown as HistoryEntry,
    );
    db.prepare("UPDATE history SET head = ? WHERE generation = ? AND number = ?")
      .run(Buffer.from(head, "hex"), generation!, number!);
  }
  return head;
}

/** What a verification finds; an error about damage counts. */
async function problemsOf(path: string, { kept, signer }: Kept, withKept: boolean) {
  try {
    await using store = openSqlite(path, { readOnly: true });
    const { problems } = await verifyHistory(store, {
      keys: [signer],
      ...withKept ? { kept: [kept] } : {},
    });
    return problems;
  } catch (error) {
    if (isStoreError(error, "corrupt")) return [{ revision: null, message: error.message }];
    throw error;
  }
}

Deno.test("each of a hundred changes of rows is found, and the first wrong revision named", () =>
  inDir(async (dir) => {
    const whole = await keptFile(`${dir}/a.db`);
    const path = `${dir}/changed.db`;
    const all = attacks(whole, new Random("rows"));
    assert.ok(all.length >= 85, `${all.length}`);
    for (const { what, at, needsKept, make } of all) {
      copyFileSync(whole.path, path);
      make(path);
      const problems = await problemsOf(path, whole, needsKept === true);
      assert.ok(problems.length > 0, `not found: ${what}`);
      if (at !== null) assert.equal(problems[0]!.revision, at, `${what}: ${problems[0]!.message}`);
      if (needsKept) assert.deepEqual(await problemsOf(path, whole, false), [], what);
    }
  }));

Deno.test("each of many flipped bits in the rows of the file is found", () =>
  inDir(async (dir) => {
    const whole = await keptFile(`${dir}/a.db`);
    const bytes = readFileSync(whole.path);
    const rows = raw(whole.path, (db) => db.prepare("SELECT head FROM history").all());
    // Rows that were moved to another page may have left a copy.
    const heads = rows.map((it) => Buffer.from(it.head as Uint8Array))
      .filter((it) => bytes.indexOf(it) === bytes.lastIndexOf(it));
    assert.ok(heads.length > 20, `${heads.length}`);
    const random = new Random("bits");
    const path = `${dir}/flipped.db`;
    for (let i = 0; i < 60; i++) {
      const head = random.pick(heads);
      // A row ends with its head; before it is the rest of the row.
      const at = bytes.indexOf(head) + 31 - random.integer(0, 89);
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1 << random.integer(0, 7);
      writeFileSync(path, changed);
      const problems = await problemsOf(path, whole, false);
      assert.ok(problems.length > 0, `not found: byte ${at}, ${bytes[at]} -> ${changed[at]}`);
    }
  }));

Deno.test("a second copy shows the first changed, dropped and inserted entry, whatever the heads say", () =>
  inDir(async (dir) => {
    const { path, revisions } = await keptFile(`${dir}/a.db`);
    copyFileSync(path, `${dir}/copy.db`);
    const [fifth, last] = [revisions[5]!, revisions.at(-1)!];
    const remade = (sql: string) => (db: DatabaseSync) => {
      db.exec(`${sql}; DELETE FROM history_heads`);
      rewrite(db, last);
    };
    const cases: [string, string | null, (db: DatabaseSync) => unknown][] = [
      ["nothing", null, () => {}],
      ["a changed entry", fifth, remade(`UPDATE history SET by = 'eve' WHERE ${row(fifth)}`)],
      ["a dropped entry", fifth, remade(`DELETE FROM history WHERE ${row(fifth)}`)],
      ["the newest dropped", last, (db) =>
        db.exec(`DELETE FROM history WHERE ${row(last)};
        DELETE FROM history_heads`)],
    ];
    // The other way round: the copy lacks an entry, and ends earlier or begins later.
    const copies: [string, string | null, string][] = [
      ["inserted", fifth, `DELETE FROM history WHERE ${row(fifth)}`],
      ["behind", null, `DELETE FROM history WHERE number > ${number(fifth)}`],
      ["later", null, `DELETE FROM history WHERE number < ${number(fifth)}`],
    ];
    for (const [what, at, sql] of copies) {
      copyFileSync(path, `${dir}/c.db`);
      raw(`${dir}/c.db`, (db) => db.exec(sql));
      await using store = openSqlite(path, { readOnly: true });
      using copy = openHistory(`${dir}/c.db`);
      const { problems } = await verifyHistory(store, { copy });
      assert.equal(problems[0]?.revision ?? null, at, what);
    }
    for (const [what, at, make] of cases) {
      copyFileSync(path, `${dir}/b.db`);
      raw(`${dir}/b.db`, make);
      await using store = openSqlite(`${dir}/b.db`, { readOnly: true });
      using copy = openHistory(`${dir}/copy.db`);
      const { problems } = await verifyHistory(store, { copy });
      assert.equal(problems[0]?.revision ?? null, at, what);
    }
  }));
