/**
 * Reads of one record in a cluster: confirmed by a fence, which those who read at once share and which
 * counts as no change.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  migrateKvToSqlite,
  migrateSqliteToKv,
  openJetStream,
  StoreError,
  type StoreErrorCode,
} from "../../mod.ts";
import { reader } from "../../src/move/steps.ts";
import { Fence, isWrittenSince, Reads } from "../../src/jetstream/log/fence.ts";
import { FENCE_KEY, userKey } from "../../src/jetstream/records/keys.ts";
import { openBucket } from "../../src/jetstream/mod.ts";
import { streamInfo } from "../../src/jetstream/log/stream.ts";
import {
  code,
  kvSnapshot,
  kvState,
  type Place,
  populated,
  sqliteSnapshot,
  withPlace,
} from "../move/kit.ts";
import { type TestCluster, testCluster, testServer } from "../helpers/nats.ts";
import { until } from "../cli/serve/kit.ts";
import { person } from "../helpers/sqlite.ts";

let cluster: TestCluster;
Deno.test.beforeAll(async () => void (cluster = await testCluster(3)));
Deno.test.afterAll(async () => await cluster[Symbol.asyncDispose]());

function test(name: string, work: (place: Place) => Promise<void>): void {
  Deno.test(name, () => withPlace(cluster.urls[0]!, work));
}

async function lastSequence(nats: Place["nats"]): Promise<number> {
  const { bucket, end } = await openBucket(nats);
  const info = await streamInfo(bucket, Date.now() + 20_000);
  await end();
  return info!.state.last_seq;
}

const ada = person("ada").signPub;

test("who reads at the same time shares one fence, and each is told what is its own", async ({ nats }) => {
  await using store = await openJetStream(nats);
  const names = Array.from({ length: 300 }, (_, i) => `user ${i}`);
  await Promise.all(names.map((it) => store.addUser(person(it))));
  const before = await lastSequence(nats);
  const found = await Promise.all(names.map((it) => store.getUser(person(it).signPub)));
  assert.deepEqual(found.map((it) => it.signPub), names.map((it) => person(it).signPub));
  await assert.rejects(store.getUser(person("nobody").signPub), code("not_found"));
  const fences = await lastSequence(nats) - before;
  assert.ok(fences > 0 && fences < 20, `${fences} fences for 301 reads`);
});

test("an answer that changes nothing, because it is so already, is confirmed by a fence", async ({ nats }) => {
  await using store = await openJetStream(nats);
  const { kexPub } = await store.addUser(person("ada"));
  const room = { id: "a", subject: "a", encrypted: false };
  await store.createRoom({ ...room, owner: { endpoint: ada, kexPub } });
  const { invite } = await store.createInvite({ createdBy: "cli" });
  await store.cancelInvite(invite.id);
  const calls: Record<string, () => Promise<unknown>> = {
    joinRoom: () => store.joinRoom("a", ada),
    changeRoomOwner: () => store.changeRoomOwner("a", ada),
    restoreUser: () => store.restoreUser(ada),
    setUserRole: () => store.setUserRole(ada, "user"),
    cancelInvite: () => store.cancelInvite(invite.id),
  };
  const { bucket, end } = await openBucket(nats);
  try {
    for (const [name, call] of Object.entries(calls)) {
      const before = await lastSequence(nats);
      await call();
      const next = await bucket.next(">", before + 1, Date.now() + 20_000);
      assert.equal(next?.key, FENCE_KEY, name);
    }
  } finally {
    await end();
  }
});

test("a refusal, and a change that finds nothing to do, is confirmed by a fence", async ({ nats }) => {
  await using store = await openJetStream(nats);
  const { kexPub } = await store.addUser({ ...person("ada"), role: "admin" });
  const owner = { endpoint: ada, kexPub };
  const sealedKey = new Uint8Array(80);
  const sealedKeys = [{ endpoint: ada, sealedKey }];
  await store.createRoom({ id: "a", subject: "a", owner, sealedKeys });
  const spent = await store.createInvite({ createdBy: "cli" });
  await store.cancelInvite(spent.invite.id);
  // Builds the index of admins, which is a write.
  await assert.rejects(store.revokeUser(ada), code("last_admin"));
  const { signPub: nobody } = person("nobody");
  const stranger = { endpoint: nobody, kexPub };
  const { bucket, end } = await openBucket(nats);
  const backend = reader(bucket);
  const author = { by: "library", at: new Date().toISOString(), wrote() {} };
  const calls: Record<string, [outcome: StoreErrorCode | 0, () => Promise<unknown>]> = {
    getRoom: ["not_found", () => store.getRoom("none")],
    createRoom: [
      "room_exists",
      () => store.createRoom({ id: "a", subject: "a", owner, sealedKeys }),
    ],
    deleteRoom: ["not_found", () => store.deleteRoom("none")],
    changeRoomOwner: ["not_found", () => store.changeRoomOwner("a", nobody)],
    addMember: ["member_exists", () => store.addMember("a", owner)],
    getMember: ["not_found", () => store.getMember("a", nobody)],
    listMembers: ["not_found", () => store.listMembers("none")],
    removeMember: ["room_owner", () => store.removeMember("a", ada)],
    "removeMember: none": ["not_found", () => store.removeMember("a", nobody)],
    joinRoom: ["not_found", () => store.joinRoom("a", nobody)],
    rekeyRoom: ["conflict", () => store.rekeyRoom("a", { epoch: 7, sealedKeys })],
    "rekeyRoom: a key": ["missing_key", () => store.rekeyRoom("a", { epoch: 2, sealedKeys: [] })],
    putSealedKey: [
      "not_found",
      () => store.putSealedKey({ roomId: "a", epoch: 1, endpoint: nobody, sealedKey }),
    ],
    getSealedKey: ["not_found", () => store.getSealedKey("a", nobody)],
    "getSealedKey: epoch": ["not_found", () => store.getSealedKey("a", ada, 2)],
    listSealedKeys: ["not_found", () => store.listSealedKeys("none")],
    pruneSealedKeys: [0, () => store.pruneSealedKeys("a", 5)],
    "pruneSealedKeys: none": ["not_found", () => store.pruneSealedKeys("none", 5)],
    addUser: ["user_exists", () => store.addUser(person("ada"))],
    getUser: ["not_found", () => store.getUser(nobody)],
    revokeUser: ["not_found", () => store.revokeUser(nobody)],
    "revokeUser: last": ["last_admin", () => store.revokeUser(ada)],
    setUserRole: ["last_admin", () => store.setUserRole(ada, "user")],
    deleteUser: ["last_admin", () => store.deleteUser(ada)],
    createInvite: ["conflict", () => backend.createInvite(spent.invite, author)],
    getInvite: ["not_found", () => store.getInvite("ab".repeat(32))],
    consumeInvite: ["invite_canceled", () => store.consumeInvite(spent.token, person("eve"))],
    "consumeInvite: none": ["not_found", () => store.consumeInvite("ab".repeat(32), person("eve"))],
    cancelInvite: ["not_found", () => store.cancelInvite("ab".repeat(32))],
    pruneInvites: [0, () => store.pruneInvites("2026-01-01T00:00:00.000Z")],
    restore: ["refused", () => store.restore([])],
    "addMember: room": ["not_found", () => store.addMember("none", stranger)],
  };
  try {
    for (const [name, [wanted, call]] of Object.entries(calls)) {
      const before = await lastSequence(nats);
      const found = await call().catch((error) => {
        assert.ok(error instanceof StoreError, `${name}: ${error}`);
        return error.code;
      });
      assert.equal(found, wanted, name);
      const written = await bucket.next(">", before + 1, Date.now() + 20_000);
      assert.equal(written?.key, FENCE_KEY, name);
      assert.equal(await isWrittenSince(bucket, { sequence: before }, Date.now() + 20_000), false);
    }
  } finally {
    await end();
  }
});

test("a sealed key is written alone: the revision of its room stays", async ({ nats }) => {
  await using store = await openJetStream(nats);
  const { endpoint, kexPub } = { endpoint: ada, kexPub: person("ada").kexPub };
  const sealedKey = new Uint8Array(80);
  const sealedKeys = [{ endpoint, sealedKey }];
  await store.createRoom({ id: "a", subject: "a", owner: { endpoint, kexPub }, sealedKeys });
  const ofRoom = async () => (await kvState(nats)).find((it) => it.startsWith("rooms.a "));
  const before = await ofRoom();
  await store.putSealedKey({ roomId: "a", epoch: 1, endpoint, sealedKey });
  assert.equal(await ofRoom(), before);
});

test("more reads at once than one read of the server takes are answered, each", async ({ nats }) => {
  await using store = await openJetStream(nats);
  const { invite } = await store.createInvite({ createdBy: "cli" });
  await store.addUser(person("ada"));
  const nobody = Array.from({ length: 2500 }, (_, i) => person(`nobody ${i}`).signPub);
  const endings = await Promise.all([
    ...nobody.map((it) => store.getUser(it).then(() => "there", (error) => error.code)),
    store.getUser(ada).then((it) => it.handle),
    store.getInvite(invite.id).then((it) => it.id),
  ]);
  assert.deepEqual(endings.splice(2500), [person("ada").handle, invite.id]);
  assert.deepEqual([...new Set(endings)], ["not_found"]);
});

test("a read sees every write that was acknowledged before, by whichever store", async ({ nats }) => {
  await using one = await openJetStream({ ...nats, replicas: 3 });
  await using other = await openJetStream({ ...nats, servers: cluster.urls[1]! });
  await one.addUser(person("ada"));
  for (let i = 0; i < 50; i++) {
    const wanted = i % 2 === 0 ? "revoked" : "active";
    await (i % 2 === 0 ? one.revokeUser(ada) : one.restoreUser(ada));
    assert.equal((await other.getUser(ada)).status, wanted);
  }
  await one.createRoom({
    ...{ id: "a", subject: "a", encrypted: false },
    owner: { endpoint: ada, kexPub: person("ada").kexPub },
  });
  assert.equal((await other.getMember("a", ada)).role, "owner");
  await one.deleteRoom("a");
  await assert.rejects(other.getRoom("a"), code("not_found"));
  await assert.rejects(other.getMember("a", ada), code("not_found"));
});

test("a refusal that rests on the operation's own write, which it was told had lost, is none", async ({ nats }) => {
  const { bucket, end } = await openBucket(nats);
  try {
    const deadline = Date.now() + 20_000;
    const key = userKey(ada);
    const fence = new Fence(bucket, 20_000);
    for (const value of ["{}", null]) {
      const revision = await bucket.commit([{ key, value }], deadline);
      const { txn } = (await bucket.get(key, deadline))!;
      const refuse = async (lost: string[]) => {
        const reads = new Reads(bucket, new Set(lost));
        assert.equal((await reads.get(key, deadline))?.revision, revision);
        await fence.confirm(reads, deadline);
      };
      await refuse(["another"]);
      await assert.rejects(refuse([txn!]), code("unavailable"));
    }
  } finally {
    await end();
  }
});

Deno.test("a server that is alone pays no write for a read", async () => {
  await using server = await testServer();
  await withPlace(server.url, async ({ nats }) => {
    await using store = await openJetStream(nats);
    await store.addUser(person("ada"));
    const before = await lastSequence(nats);
    await store.getUser(ada);
    await assert.rejects(store.getRoom("none"), code("not_found"));
    assert.equal(await lastSequence(nats), before);
  });
});

test("reading is not writing: a move that completed may be made again, and back", async ({ db, nats }) => {
  await populated(db);
  await migrateSqliteToKv({ db, nats, backup: false });
  const moved = await lastSequence(nats);
  {
    await using store = await openJetStream(nats);
    await store.getUser(ada);
    await store.getRoom("general");
  }
  assert.ok(await lastSequence(nats) > moved);
  assert.equal((await migrateSqliteToKv({ db, nats, backup: false })).target, "repeated");
  {
    await using store = await openJetStream(nats);
    await store.getUser(ada);
    await store.addUser(person("eve"));
    await store.getUser(ada);
  }
  await assert.rejects(migrateSqliteToKv({ db, nats, backup: false }), code("refused"));
  {
    await using store = await openJetStream(nats);
    await store.deleteUser(person("eve").signPub);
  }
  await assert.rejects(migrateSqliteToKv({ db, nats, backup: false }), code("refused"));
});

test("a move, and one back, while somebody reads all the time, succeed", async ({ db, dir, nats }) => {
  await populated(db);
  await migrateSqliteToKv({ db, nats, backup: false });
  await using store = await openJetStream(nats);
  let reads = 0;
  let done = false;
  const reading = Array.from({ length: 8 }, async () => {
    for (; !done; reads++) await store.getUser(ada);
  });
  try {
    const again = await migrateSqliteToKv({ db, nats, backup: false });
    assert.equal(again.target, "repeated");
    const back = `${dir}/back.db`;
    await migrateKvToSqlite({ db: back, nats });
    assert.equal(await sqliteSnapshot(back), await kvSnapshot(nats));
    assert.ok(reads > 10, `${reads} reads`);
  } finally {
    done = true;
    await Promise.all(reading);
  }
});

Deno.test("storage that is full shuts nobody out, though no fence can be written", async () => {
  // A limit of the account: servers whose own storage is full have no JetStream at all any more.
  const account = "{ users: [{ user: a, password: a }], jetstream: { max_file: 1000000 } }";
  const extra = `accounts: { A: ${account} }\nno_auth_user: a\n`;
  await using full = await testCluster(3, { extra });
  await withPlace(full.urls[0]!, async ({ nats }) => {
    await using store = await openJetStream({ ...nats, replicas: 3, maxStaleness: 3000 });
    await store.addUser(person("ada"));
    assert.equal(await store.isAuthorized(ada), true);
    const note = "n".repeat(200);
    const fill = () => store.createInvite({ createdBy: "cli", note });
    await until(
      async () => {
        const ends = await Promise.allSettled(Array.from({ length: 100 }, fill));
        return ends.some((it) =>
          it.status === "rejected" && /limits exceeded|full/.test(it.reason.message)
        );
      },
      "end of the storage",
      60_000,
    );
    const begun = performance.now();
    await until(() => performance.now() - begun > 6000, "time in which all knowledge is too old");
    await until(() => store.isAuthorized(ada), "yes", 60_000);
    assert.equal(await store.isAuthorized(person("nobody").signPub), false);
    // A record is not told on the word of a leader that may have been replaced.
    await assert.rejects(store.getUser(ada), code("unavailable"));
  });
});
