/**
 * Invalid records in a bucket, and keys that this program does not write: named by every way out of it,
 * mended where that is safe, never left out silently.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { existsSync } from "node:fs";
import { migrateKvToSqlite, openJetStream, openSqlite, type StoreError } from "../../mod.ts";
import { diagnose } from "../../src/jetstream/repair/doctor.ts";
import { AT, plant, rawBucket, UPPER, userValue } from "../helpers/bad_records.ts";
import { kvSnapshot, kvState, placeTests, populate } from "../move/kit.ts";
import { failsWith, hex, inDir, newRoom, person } from "../helpers/sqlite.ts";

const test = placeTests();

const EVE = hex("eve");
const token = (id: string) => "=" + Buffer.from(id).toString("base64url");
const room = (values: object = {}) =>
  JSON.stringify({
    v: 1,
    subject: "chat",
    encrypted: true,
    owner: person("ada").signPub,
    epoch: 1,
    createdAt: AT,
    ...values,
  });
const key = (sealedKey: unknown) => JSON.stringify({ v: 1, sealedKey, createdAt: AT });

/** A key and value that another program left in the bucket, and the field at fault. */
const BAD: [what: string, field: string, key: string, value: string | Uint8Array][] = [
  ["a user under upper-case hex", "signPub", `users.${UPPER}`, userValue()],
  ["a user under a key with a dot", "key", "users.a.b", userValue()],
  [
    "a sealed key of an epoch of 11 digits",
    "key",
    `room_keys.general.12345678901.${EVE}`,
    key("AA"),
  ],
  [
    "a sealed key of an epoch with a zero in front",
    "key",
    `room_keys.general.01.${EVE}`,
    key("AA"),
  ],
  ["a sealed key ahead of its room", "epoch", `room_keys.general.9.${EVE}`, key("AA")],
  ["a sealed key that is not base64url", "sealedKey", `room_keys.general.1.${EVE}`, key("A!A")],
  ["a sealed key that is a number", "sealedKey", `room_keys.general.1.${EVE}`, key(7)],
  ["a sealed key too long", "sealedKey", `room_keys.general.1.${EVE}`, key("A".repeat(5464))],
  ["a room under another spelling of its id", "key", `rooms.${token("general")}`, room()],
  ["a room of a dotted id that was not encoded", "key", "rooms.a.b", room()],
  ["a room id that is not UTF-8", "key", "rooms.=_w", room()],
  ["a value that is not JSON", "value", `users.${EVE}`, "hello"],
  [
    "a value that is not UTF-8",
    "value",
    `users.${EVE}`,
    Buffer.from(userValue().replace("eve", "e\xffe"), "latin1"),
  ],
  ["a value without version", "v", `users.${EVE}`, "{}"],
  ["a value that is null", "v", `users.${EVE}`, "null"],
  ["a handle too long", "handle", `users.${EVE}`, userValue({ handle: "x".repeat(65) })],
  ["a status that is none", "status", `users.${EVE}`, userValue({ status: "ACTIVE" })],
  ["a missing field", "kexPub", `users.${EVE}`, userValue({ kexPub: undefined })],
  ["a room whose value is not JSON", "value", "rooms.other", "{"],
  ["a key of no kind", "key", "members", "{}"],
  ["a key of an unknown kind", "key", "junk.x", "{}"],
];

for (const [what, field, badKey, value] of BAD) {
  test(`${what}: doctor names it, export and the way back refuse it`, async ({ db, nats }) => {
    {
      await using store = await openJetStream(nats);
      await populate(store);
    }
    {
      await using bucket = await rawBucket(nats);
      await bucket.put(badKey, value);
    }
    const before = await kvState(nats);
    const named = (await diagnose(nats)).flatMap((it) => it.record ?? []);
    assert.deepEqual(named.map((it) => it.field), [field], JSON.stringify(named));
    assert.ok(
      named[0]!.key.includes(EVE) || named[0]!.key.includes(badKey.split(".")[1] ?? badKey),
    );
    await failsWith("corrupt", () => kvSnapshot(nats));
    for (const dryRun of [true, false]) {
      const error = await migrateKvToSqlite({ db, nats, dryRun }).then(() => null, (it) => it) as
        | StoreError
        | null;
      assert.equal(error?.code, "refused", String(error));
      assert.equal(error.problems?.[0]?.field, field);
      assert.match(error.message, /1 record is invalid \(\w+: 1\), doctor --repair can fix/);
    }
    assert.ok(!existsSync(db) && !existsSync(`${db}.partial`), "no file is left");
    assert.deepEqual(await kvState(nats), before, "the bucket is only read");
  });
}

test("lists name a key that they cannot read, until it is gone", async ({ nats }) => {
  await using store = await openJetStream(nats);
  await populate(store);
  assert.equal((await store.listUsers()).items.length, 4);
  await using bucket = await rawBucket(nats);
  await bucket.put("users.a.b", userValue());
  await bucket.put(`rooms.${token("general")}`, room());
  await bucket.put(`room_keys.general.12345678901.${EVE}`, key("AA"));
  await bucket.put(`members.general.${EVE}.more`, key("AA"));
  await failsWith("corrupt", () => store.listUsers(), /"users\.a\.b"/);
  await failsWith("corrupt", () => store.listRooms(), /rooms\.=/);
  await failsWith("corrupt", () => store.listSealedKeys("general"), /12345678901/);
  await failsWith("corrupt", () => store.listMembers("general"), /more/);
  assert.equal((await store.listInvites()).items.length, 3);
  await bucket.put("users.a.b", "");
  assert.equal((await store.listUsers()).items.length, 4);
});

test("doctor --repair writes records where readers look for them, and keeps what collides", async ({ nats }) => {
  const owner = person("owner").signPub;
  const member = JSON.stringify({ v: 1, role: "owner", kexPub: UPPER, joinedAt: AT });
  const bob = person("bob").signPub;
  {
    await using store = await openJetStream(nats);
    await populate(store);
  }
  {
    await using bucket = await rawBucket(nats);
    await bucket.put(`users.${UPPER}`, userValue());
    await bucket.put(`users.${bob.toUpperCase()}`, userValue({ handle: "other" }));
    await bucket.put(`rooms.${token("r")}`, room({ owner: owner.toUpperCase() }));
    await bucket.put(`members.r.${owner.toUpperCase()}`, member);
    await bucket.put(`rooms_by_member.${owner.toUpperCase()}.r`, '{"v":1}');
    await bucket.put("users.a.b", userValue());
  }
  const repairable = (await diagnose(nats)).flatMap((it) => it.record ?? [])
    .filter((it) => it.repairable).map((it) => it.kind);
  assert.deepEqual(repairable.sort(), ["members", "rooms", "users"]);
  const repaired = await diagnose({ ...nats, repair: true });
  const mended = repaired.find((it) => it.check === "records")!;
  assert.match(mended.message, /^3 records had a key that/);
  assert.equal(mended.repaired, true);
  const left = (await diagnose(nats)).flatMap((it) => it.record ?? []).map((it) => it.field);
  assert.deepEqual(left.sort(), ["key", "signPub"]);
  await using bucket = await rawBucket(nats);
  await bucket.put("users.a.b", "");
  await bucket.put(`users.${bob.toUpperCase()}`, "");
  await using store = await openJetStream(nats);
  assert.equal((await store.getUser(UPPER)).handle, "eve");
  assert.equal((await store.getUser(bob)).handle, "user bob");
  assert.equal((await store.getMember("r", owner)).kexPub, UPPER.toLowerCase());
  assert.deepEqual((await store.listRoomsForEndpoint(owner)).items.map((it) => it.owner), [owner]);
  assert.deepEqual((await diagnose(nats)).filter((it) => it.level === "problem"), []);
});

test("doctor --repair keeps what belongs to a room whose key cannot be read, until that key is gone", async ({ nats }) => {
  {
    await using store = await openJetStream(nats);
    await store.createRoom(newRoom("a.b"));
  }
  const before = await kvState(nats);
  await using bucket = await rawBucket(nats);
  const at = `rooms.${token("a.b")} `;
  const value = before.find((it) => it.startsWith(at))!.split(" ").slice(2).join(" ");
  await bucket.put("rooms.a.b", value);
  await bucket.put(at.trim(), "");
  const found = await diagnose({ ...nats, repair: true });
  assert.match(
    found.find((it) => it.check === "rooms" && it.level === "problem")!.message,
    /^4 records belong to no room \(.*; kept, because/,
  );
  const kept = async () =>
    (await kvState(nats)).filter((it) => /^(members|room_keys)\..*[^ ] \d+ ./.test(it)).length;
  assert.equal(await kept(), 4);
  await bucket.put("rooms.a.b", "");
  await diagnose({ ...nats, repair: true });
  assert.equal(await kept(), 0);
});

test("a sealed key ahead of its room is not there for readers, on either backend", async ({ nats }) => {
  await inDir(async (dir) => {
    const made = newRoom("r");
    const { endpoint } = made.owner;
    await using kv = await openJetStream(nats);
    await using sqlite = openSqlite(`${dir}/it.db`);
    for (const store of [kv, sqlite]) await store.createRoom(made);
    await using bucket = await rawBucket(nats);
    await bucket.put(`room_keys.r.2.${endpoint}`, key("AA"));
    plant(`${dir}/it.db`, `INSERT INTO room_keys VALUES ('r', 2, '${endpoint}', x'00', '${AT}')`);
    for (const store of [kv, sqlite]) {
      assert.equal((await store.getSealedKey("r", endpoint)).epoch, 1, store.backend);
      await failsWith("not_found", () => store.getSealedKey("r", endpoint, 2));
      assert.deepEqual(
        (await store.listSealedKeys("r")).items.map((it) => it.epoch),
        [1, 1],
        store.backend,
      );
      assert.deepEqual((await store.listSealedKeys("r", { epoch: 2 })).items, [], store.backend);
    }
  });
});
