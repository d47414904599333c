import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as wait } from "node:timers/promises";
import type { Store, StoreError } from "../../../mod.ts";
import { openFollowed } from "../../../src/follower/open.ts";
import { SelfCheck } from "../../../src/follower/watch/self_check.ts";
import { testServer } from "../../helpers/nats.ts";
import { failsWith, hex, inDir, newRoom, person } from "../../helpers/sqlite.ts";
import { rawBucket, rowsOf } from "../kit.ts";
import { setAsideSoon } from "./kit.ts";

/** A store with a follower, and what it tells of its state, to be taken one by one. */
async function opened(dir: string) {
  const server = await testServer();
  const path = `${dir}/f.db`;
  const told: (StoreError | null | "alarm" | "renewed")[] = [];
  let wake = () => {};
  const tell = (it: (typeof told)[number]) => {
    told.push(it);
    wake();
  };
  const { store, follower } = await openFollowed({
    servers: server.url,
    follower: path,
    onAlarm: () => tell("alarm"),
    onDegraded: tell,
    onRenewed: () => tell("renewed"),
  });
  await store.addUser({ ...person("ada"), role: "admin" });
  await store.addUser(person("bob"));
  await store.createRoom(newRoom("r1", 3));
  await store.createInvite({ createdBy: person("ada").signPub });
  await store.revokeUser(person("bob").signPub);
  return {
    server,
    path,
    store,
    follower,
    told,
    next: async () => {
      while (told.length === 0) await new Promise<void>((resolve) => wake = resolve);
      return told.shift()!;
    },
    [Symbol.asyncDispose]: async () => {
      await store.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Changes a file behind the back of its follower. */
function edit(path: string, sql: string): void {
  using db = new DatabaseSync(path, { timeout: 60_000, enableForeignKeyConstraints: false });
  db.exec(sql);
}

const goesOn = async (
  store: Store,
) => [
  await store.isAuthorized(person("ada").signPub),
  await store.isAuthorized(person("bob").signPub),
];

Deno.test("a record that is not valid is told once by its key and the reason, and the store goes on", () =>
  inDir(async (dir) => {
    await using it = await opened(dir);
    await using raw = await rawBucket(it.server.url);
    const bad = `users.${hex("bad")}`;
    await raw.put(bad, `{"v":1}`);
    const found = await it.next() as StoreError;
    assert.deepEqual([found.code, found.field], ["corrupt", "invalid"]);
    assert.match(found.message, new RegExp(`a record is not valid: ${bad}: status must be`));
    assert.match(found.hint!, /doctor/);
    await raw.put(`users.${hex("worse")}`, "{}");
    assert.deepEqual(await goesOn(it.store), [true, false]);
    assert.equal((await it.store.search!.users()).items.length, 2);
    await raw.put(bad, "");
    await raw.put(`users.${hex("worse")}`, "");
    // Two records, told once, and that it is over.
    assert.equal(await it.next(), null);
    assert.deepEqual(it.told, []);
  }));

Deno.test("a row that changed in the follower's file is not shown by searches, and shuts nobody out", () =>
  inDir(async (dir) => {
    await using it = await opened(dir);
    await it.follower.whenExact();
    edit(it.path, "UPDATE users SET status = 'active', revoked_at = NULL");
    const found = await it.next() as StoreError;
    assert.equal(found.field, "file");
    assert.match(found.message, /users\.\w+ is not what the bucket held/);
    assert.match(found.hint!, /repair --accept/);
    await failsWith("corrupt", () => it.store.search!.users());
    assert.deepEqual(await goesOn(it.store), [true, false]);
    await it.store.addUser(person("eve"));
    // A file that is gone is made again, without a restart.
    await setAsideSoon(it.path);
    assert.equal(await it.next(), "renewed");
    await it.follower.whenExact();
    const all = await it.store.search!.users();
    assert.equal(all.items.length, 3);
    assert.equal(
      all.items.find(({ handle }) => handle === person("bob").handle)!.status,
      "revoked",
    );
    assert.deepEqual(await goesOn(it.store), [true, false]);
    assert.deepEqual(it.told, []);
  }));

for (
  const [what, sql] of [
    [
      "a user under another key",
      `UPDATE users SET sign_pub = '${hex("other")}'
      WHERE status = 'revoked'`,
    ],
    [
      "a record too many",
      `INSERT INTO invites SELECT '${hex("i")}', created_by, role, note,
      created_at, expires_at, NULL, NULL, NULL, NULL FROM invites`,
    ],
    ["a record too few", "DELETE FROM invites"],
    ["a key too few", "DELETE FROM follower_entries WHERE key LIKE 'rooms_by_member.%'"],
    ["another hash", "UPDATE follower_entries SET hash = zeroblob(16) WHERE key LIKE 'rooms.%'"],
    ["another revision", "UPDATE follower_entries SET revision = 1 WHERE key LIKE 'members.%'"],
    [
      "another value of a key",
      "UPDATE follower_entries SET value = x'7b7d' WHERE key LIKE 'users.%'",
    ],
    ["a change of a room that is not", "INSERT INTO follower_pending VALUES ('r1', 'rekey')"],
    ["a page that cannot be read", null],
  ] as const
) {
  Deno.test(`the check of a file finds ${what}`, () =>
    inDir(async (dir) => {
      {
        await using it = await opened(dir);
        await it.store.search!.users();
      }
      const path = `${dir}/f.db`;
      // A thread that checks does not keep the process.
      const timer = setInterval(() => {}, 1000);
      const { promise, resolve } = Promise.withResolvers<StoreError>();
      const sound = new SelfCheck(path, resolve, 1);
      await new Promise((resolve) => setTimeout(resolve, 200));
      await sound.stop();
      if (sql !== null) edit(path, sql);
      else {
        const [{ rootpage }] = rowsOf(path, "sqlite_schema WHERE name = 'users'") as [
          { rootpage: number },
        ];
        const file = await Deno.open(path, { write: true });
        await file.seek((rootpage - 1) * 4096, Deno.SeekMode.Start);
        await file.write(new Uint8Array(4096).fill(0xa5));
        file.close();
      }
      const check = new SelfCheck(path, resolve, 1);
      assert.equal((await promise).code, "corrupt");
      await check.stop();
      clearInterval(timer);
    }));
}

Deno.test("the check of a file that is written meanwhile finds nothing", () =>
  inDir(async (dir) => {
    await using it = await opened(dir);
    const found: StoreError[] = [];
    const check = new SelfCheck(it.path, (error) => found.push(error), 1);
    for (let i = 0; i < 300; i++) {
      await it.store.addUser(person(i));
      if (i % 3 === 0) await it.store.deleteUser(person(i).signPub);
      if (i % 50 === 0) {
        await it.store.rekeyRoom("r1", {
          epoch: 2 + i / 50,
          sealedKeys: newRoom("r1", 3).sealedKeys,
        });
      }
    }
    await check.stop();
    assert.deepEqual(found, []);
  }));

Deno.test("a follower that cannot write tells how far it is behind, and catches up", () =>
  inDir(async (dir) => {
    await using it = await opened(dir);
    const lagIs = async (so: (lag: number) => boolean) => {
      while (!so(it.follower.state().lag ?? -1)) await wait(10);
    };
    await it.follower.whenExact();
    await lagIs((lag) => lag === 0);
    using other = new DatabaseSync(it.path, { timeout: 60_000 });
    other.exec("BEGIN IMMEDIATE");
    for (let i = 0; i < 10; i++) await it.store.addUser(person(i));
    await lagIs((lag) => lag >= 10);
    other.exec("COMMIT");
    await lagIs((lag) => lag === 0);
    assert.equal(it.follower.state().alarm, null);
  }));
