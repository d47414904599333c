/**
 * A file with invalid records is not moved: what would be unreadable on the other side is listed before
 * anything is written.
 */

import assert from "node:assert/strict";
import { migrateSqliteToKv, openJetStream, openSqlite, type StoreError } from "../../mod.ts";
import { plant, roomSql, UPPER, userSql } from "../helpers/bad_records.ts";
import { cli, documentOf } from "../cli/kit.ts";
import { kvSnapshot, placeTests, populated, sqliteSnapshot } from "./kit.ts";
import { failsWith, filesOf, hex } from "../helpers/sqlite.ts";

const test = placeTests();

const LONG = "x".repeat(65);

test("invalid records refuse a move: all are counted and listed, nothing is written", async ({ db, dir, nats }) => {
  await populated(db);
  plant(
    db,
    userSql({ signPub: `'${UPPER}'` }),
    userSql({ handle: `'${LONG}'` }),
    userSql({ handle: "CAST(x'61ff62' AS TEXT)" }),
    userSql({ handle: "'a' || char(0) || 'b'" }),
    ...roomSql("'a.'", hex("ada")),
    ...Array.from({ length: 12 }, (_, i) => userSql({ at: `'${i}'` })),
  );
  await openSqlite(db).close();
  const before = filesOf(dir);
  for (const dryRun of [true, false]) {
    const error = await migrateSqliteToKv({ db, nats, dryRun }).then(() => null, (it) => it) as
      | StoreError
      | null;
    assert.equal(error?.code, "refused", String(error));
    assert.match(
      error.message,
      /nothing was migrated: 18 records are invalid \(rooms: 1, members: 1, users: 16\), doctor --repair can fix 1 of them: "rooms a\.": id must not begin or end with a dot/,
    );
    assert.match(error.message, /; and 8 more$/);
    assert.equal(error.problems!.length, 18);
    const of = (field: string) => error.problems!.filter((it) => it.field === field);
    assert.deepEqual(of("signPub").map((it) => [it.kind, it.key, it.value, it.repairable]), [
      ["users", `"users ${UPPER}"`, `"${UPPER.slice(0, 60)}"… (64 characters)`, true],
    ]);
    assert.deepEqual(
      of("handle").map((it) => it.message.replace(/, found.*/, "")).sort(),
      [
        "handle holds a NUL character",
        "handle is not valid UTF-8",
        "handle must be 1 to 64 characters",
      ],
    );
  }
  assert.deepEqual(filesOf(dir), before, "no backup, no other file");
  await failsWith("not_found", () => openJetStream({ ...nats, create: false }));
  const result = await cli([
    "migrate-to-kv",
    "--db",
    db,
    "--nats-url",
    nats.servers,
    "--bucket",
    nats.bucket,
    "--json",
  ]);
  assert.equal(result.code, 1, result.stderr);
  const { error } = documentOf(result);
  assert.deepEqual([error.code, error.problems.length], ["refused", 18]);
});

test("what doctor --repair corrects can be moved then", async ({ db, nats }) => {
  await populated(db);
  plant(db, userSql({ signPub: `'${UPPER}'` }));
  await assert.rejects(migrateSqliteToKv({ db, nats }));
  const { code } = await cli(["doctor", "--db", db, "--repair"]);
  assert.equal(code, 0);
  await migrateSqliteToKv({ db, nats, backup: false });
  assert.equal(await kvSnapshot(nats), await sqliteSnapshot(db));
});
