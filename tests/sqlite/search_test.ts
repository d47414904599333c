/** Searches by the index of names find what a look at every name finds. */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { openJetStream, openSqlite, type Store, type StoreRecord } from "../../mod.ts";
import { MIGRATIONS } from "../../migrations/mod.ts";
import { until } from "../cli/serve/kit.ts";
import { openBucket } from "../../src/jetstream/mod.ts";
import { testServer } from "../helpers/nats.ts";
import { hex, inDir, person } from "../helpers/sqlite.ts";
import { fill } from "../tools/many.ts";

const AT = "2026-01-02T03:04:05.006Z";
const ODD = [
  "Zoë",
  "zoe\u0308 two",
  "ﬁona",
  "100% sure",
  "under_score",
  'quo"te',
  "ΑΣΑΣ",
  "Жорж",
  "監視 two",
  "İstanbul",
  "🙂🙂",
  "a",
  "ab",
];
const MANY = 5000;

type Named = [signPub: string, handle: string];

const names = (many: number): Named[] =>
  Array.from({ length: many }, (_, n) => [hex(n), ODD[n] ?? `User ${n}`]);

function recordsOf(named: Named[]): StoreRecord[] {
  return named.map(([signPub, handle]): StoreRecord => ({
    kind: "users",
    record: {
      signPub,
      kexPub: signPub,
      handle,
      role: "user",
      status: "active",
      createdAt: AT,
      revokedAt: null,
    },
  })).sort((a, b) =>
    (a.record as { signPub: string }).signPub < (b.record as { signPub: string }).signPub ? -1 : 1
  );
}

function sql(path: string, text: string): Record<string, unknown>[] {
  const db = new DatabaseSync(path);
  try {
    db.exec("PRAGMA busy_timeout = 60000");
    return db.prepare(text).all();
  } finally {
    db.close();
  }
}

const upto = (path: string) => sql(path, "SELECT upto FROM user_names_state")[0]!.upto;
const changes = (path: string) =>
  Number(sql(path, "SELECT count(*) AS n FROM user_names_changed")[0]!.n);

/** Searches until the index is whole. */
const indexed = (store: Store, path: string) =>
  until(async () => {
    await store.search!.users({ limit: 1 });
    return upto(path) === "g";
  }, "an index of names");

const fold = (text: string) => text.normalize("NFKC").toLowerCase();

/** Asserts that searches find whom they should, in each order and on pages of any size. */
async function assertFinds(store: Store, named: Named[], ...texts: string[]) {
  for (const text of texts) {
    const wanted = named
      .filter(([key, handle]) => fold(handle).includes(fold(text)) || key.startsWith(fold(text)))
      .map(([key]) => key).sort();
    for (const sort of ["key", "handle", "created"] as const) {
      const found: string[] = [];
      for (let after: string | null = null;;) {
        const page = await store.search!.users({
          search: text,
          sort,
          after,
          limit: 40,
          total: true,
        });
        assert.equal(page.total, wanted.length, text);
        found.push(...page.items.map((it) => it.signPub));
        after = page.next;
        if (after === null || found.length > 200) break;
      }
      const of = found.length > 200 ? 200 : wanted.length;
      if (sort !== "key") assert.equal(new Set(found).size, found.length, text);
      if (found.length > 200 && sort !== "key") continue;
      assert.deepEqual(found.sort().slice(0, of), wanted.slice(0, of), `${text} by ${sort}`);
    }
  }
}

const TEXTS = [
  ...["user 4", "USER 49", "user 4999", "ser 49", "nobody", "4999", "99", "9", "qq", "q", "ж"],
  ...["жор", "zoë", "ZOË", "ë", "fiona", "ﬁ", "0% s", "r_s", 'o"t', "ασας", "視", "監視 t", "wo"],
  ...["i̇stan", "🙂🙂", "🙂", "\n", "\n\n", "ab", "r 1 ", "a*b", "AND", "(", "b\n\n"],
  ...[hex(7), hex(7).slice(0, 4), hex(7).slice(0, 2), "abcd"],
];

Deno.test("search by the index of names finds whom a look at every name finds", () =>
  inDir(async (dir) => {
    const path = `${dir}/a.db`;
    const named = names(MANY);
    await using store = openSqlite(path);
    await store.restore(recordsOf(named));
    await indexed(store, path);
    await assertFinds(store, named, ...TEXTS);
    // It is the index that answers.
    sql(path, `DELETE FROM user_names WHERE rowid = ${parseInt(hex(4321).slice(0, 8), 16)}`);
    for (const search of ["user 4321", hex(4321).slice(0, 9)]) {
      const { items } = await store.search!.users({ search });
      assert.equal(items.length, search.startsWith("user") ? 0 : 1);
    }
  }));

Deno.test("users who are added, renamed or deleted after the index was filled are found as they are", () =>
  inDir(async (dir) => {
    const path = `${dir}/a.db`;
    const named = new Map(names(MANY));
    await using store = openSqlite(path);
    await store.restore(recordsOf([...named]));
    await indexed(store, path);
    const add = async (signPub: string, handle: string) => {
      await store.addUser({ signPub, kexPub: signPub, handle });
      named.set(signPub, handle);
    };
    await add(hex("new"), "somebody new");
    // Of the same row of the index.
    await add(hex(4000).slice(0, 63) + (hex(4000).endsWith("0") ? "1" : "0"), "beside user 4000");
    await store.deleteUser(hex(4999));
    named.delete(hex(4999));
    sql(path, `UPDATE users SET handle = 'renamed' WHERE sign_pub = '${hex(4998)}'`);
    named.set(hex(4998), "renamed");
    const texts = ["body n", "user 4000", "beside", "user 499", "renamed", "4999", "w\n", "dy"];
    await assertFinds(store, [...named], ...texts);
    assert.equal(changes(path), 4);
    // So many that the index is brought up to date.
    for (let n = 0; n < 600; n++) await add(hex(`more ${n}`), `more ${n}`);
    for (let n = 3000; n < 3100; n++) {
      await store.deleteUser(hex(n));
      named.delete(hex(n));
    }
    await until(async () => {
      await store.search!.users({ limit: 1 });
      return changes(path) === 0;
    }, "an index without changes");
    await assertFinds(store, [...named], ...texts, "more 59", "user 30", "user 3050", "re 599");
    assert.deepEqual(sql(path, "PRAGMA integrity_check").map((it) => it.integrity_check), ["ok"]);
  }));

Deno.test("the index of names begins again after a restore, and is not filled for few users", () =>
  inDir(async (dir) => {
    const path = `${dir}/a.db`;
    await using store = openSqlite(path);
    await store.restore(recordsOf(names(MANY)));
    await indexed(store, path);
    const others = names(MANY + 2000).slice(3000);
    await store.restore(recordsOf(others), { replace: true });
    assert.equal(upto(path), "");
    assert.equal(sql(path, "SELECT count(*) AS n FROM user_names")[0]!.n, 0);
    await assertFinds(store, others, "user 29", "user 699");
    await indexed(store, path);
    await assertFinds(store, others, "user 29", "user 699", "user 6999");
    const few = names(50);
    await store.restore(recordsOf(few), { replace: true });
    await assertFinds(store, few, "user", "user 49", "監視");
    assert.equal(upto(path), "");
  }));

Deno.test("an older file opens without filling the index, and is searched meanwhile; a reader fills none", () =>
  inDir(async (dir) => {
    const path = `${dir}/a.db`;
    const named = names(MANY);
    {
      await using store = openSqlite(path);
      await store.restore(recordsOf(named));
    }
    const db = new DatabaseSync(path);
    for (const name of ["users_named_insert", "users_named_update", "users_named_delete"]) {
      db.exec(`DROP TRIGGER ${name}`);
    }
    db.exec(`DROP TABLE user_names; DROP TABLE user_names_state; DROP TABLE user_names_changed;
      ALTER TABLE file_role DROP COLUMN frozen_at; DROP TABLE journey; DROP TABLE journey_changes;
      DROP TABLE history; DROP TABLE history_cut; DROP TABLE history_heads;
      DROP TABLE follower_tail; DROP INDEX follower_others_by_expiry;
      DROP INDEX users_invited; ALTER TABLE users DROP COLUMN invited_to;
      ALTER TABLE invites DROP COLUMN room; ALTER TABLE rooms DROP COLUMN handovers;
      DELETE FROM schema_migrations WHERE version >= 8; PRAGMA user_version = 7`);
    db.close();
    assert.equal(MIGRATIONS[7]!.name, "names");
    {
      // As it is.
      await using store = openSqlite(path, { readOnly: true });
      await assertFinds(store, named, "user 4999", "nobody", "qq");
    }
    await openSqlite(path).close();
    assert.equal(upto(path), "");
    {
      await using store = openSqlite(path, { readOnly: true });
      await assertFinds(store, named, "user 4999", "nobody");
    }
    assert.equal(upto(path), "");
    await using store = openSqlite(path);
    await assertFinds(store, named, "user 4999", "nobody");
    await indexed(store, path);
    await assertFinds(store, named, "user 4999", "nobody");
  }));

Deno.test("a follower's index of names follows what comes, and begins again when all is loaded", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    const nats = { servers: server.url, bucket: "NAMES" };
    const { bucket, end } = await openBucket(nats);
    const named = names(MANY);
    await fill(bucket, recordsOf(named));
    await end();
    const path = `${dir}/f.db`;
    const options = { ...nats, follower: path };
    {
      await using store = await openJetStream(options);
      await until(
        async () => (await store.search!.users({ limit: 1 }).catch(() => null)) !== null,
        "",
      );
      await indexed(store, path);
      await assertFinds(store, named, "user 4999", "nobody", "ser 49");
      const someone = person("someone");
      await store.addUser(someone);
      await store.revokeUser(hex(4999));
      await store.deleteUser(hex(4998));
      const now = named.filter(([key]) => key !== hex(4998));
      await assertFinds(store, [...now, [someone.signPub, someone.handle]], "user 499", "someone");
      assert.equal(
        (await store.search!.users({ search: "user 4999" })).items[0]!.status,
        "revoked",
      );
      assert.equal(changes(path), 3);
    }
    await using store = await openJetStream({ ...options, accept: true });
    await until(() => upto(path) === "", "a load");
    const [[key]] = named as [Named];
    await store.getUser(key);
    await indexed(store, path);
    assert.equal((await store.search!.users({ search: "user 4998" })).items.length, 0);
    assert.equal((await store.search!.users({ search: "user 4997" })).items.length, 1);
  }));
