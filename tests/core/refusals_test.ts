/**
 * Every refusal of a rule, as each backend words it: rules and messages stand once, in `rules.ts`.
 * The exported suite compares codes only, because messages may change.
 *
 * @module
 */

import assert from "node:assert/strict";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import { StoreError, type StoreErrorCode } from "../../src/core/errors.ts";
import type { Invite, StoreRecord, User } from "../../src/core/model.ts";
import { inviteId, type Store } from "../../src/core/store.ts";
import { testServer } from "../helpers/nats.ts";
import { hex } from "../helpers/sqlite.ts";
import { Memory } from "../../examples/custom_backend.ts";

const AT = "2026-11-20T08:00:00.000Z";
const LATER = "2026-11-20T09:00:00.000Z";
const clock = () => new Date("2026-11-20T10:00:00.000Z");

const [owner, member, offered, keyless, stranger] = [
  "owner",
  "member",
  "offered",
  "keyless",
  "stranger",
].map((name) => hex(name)) as [string, string, string, string, string];
const sealedKey = new Uint8Array(40).fill(7);
const keysFor = (...endpoints: string[]) => endpoints.map((endpoint) => ({ endpoint, sealedKey }));
const ALL = [owner, member, offered, keyless];

const token = (name: string) => hex(`token ${name}`);
const id = (name: string) => inviteId(token(name));

function invite(name: string, part: Partial<Invite>): StoreRecord {
  const record: Invite = {
    id: id(name),
    createdBy: "cli",
    role: "user",
    note: "",
    createdAt: AT,
    expiresAt: "2026-12-20T08:00:00.000Z",
    usedAt: null,
    usedBy: null,
    canceledAt: null,
    ...part,
  };
  return { kind: "invites", record };
}

function user(signPub: string, role: User["role"], handle: string): StoreRecord {
  const record: User = {
    signPub,
    kexPub: hex("kex"),
    handle,
    role,
    status: "active",
    createdAt: AT,
    revokedAt: null,
  };
  return { kind: "users", record };
}

/** A room with every kind of member, the last admin, and an invite in every state. */
const RECORDS: StoreRecord[] = [
  ...["clear", "room"].map((roomId): StoreRecord => ({
    kind: "rooms",
    record: {
      id: roomId,
      subject: roomId,
      encrypted: roomId === "room",
      owner: roomId === "room" ? owner : stranger,
      epoch: roomId === "room" ? 2 : 1,
      createdAt: AT,
    },
  })),
  ...[["clear", stranger], ...ALL.map((it) => ["room", it])].sort((a, b) =>
    a.join() < b.join() ? -1 : 1
  ).map(([roomId, endpoint]): StoreRecord => ({
    kind: "members",
    record: {
      roomId: roomId!,
      endpoint: endpoint!,
      role: endpoint === owner || endpoint === stranger ? "owner" : "member",
      signPub: endpoint!,
      kexPub: hex("kex"),
      joinedAt: AT,
      accepted: endpoint !== offered,
    },
  })),
  ...[owner, member].sort().map((endpoint): StoreRecord => ({
    kind: "room_keys",
    record: { roomId: "room", epoch: 2, endpoint, sealedKey, createdAt: AT },
  })),
  ...[user(owner, "user", "ada"), user(member, "admin", "bob")].sort((a, b) =>
    (a.record as User).signPub < (b.record as User).signPub ? -1 : 1
  ),
  ...[
    invite("used", { usedAt: AT, usedBy: member }),
    invite("canceled", { canceledAt: AT }),
    // Other programs write such records too.
    invite("both", { usedAt: LATER, usedBy: member, canceledAt: AT }),
    invite("expired", { expiresAt: LATER }),
    invite("open", {}),
  ].sort((a, b) => (a.record as Invite).id < (b.record as Invite).id ? -1 : 1),
];

type Refusal = [code: StoreErrorCode, name: string, call: (store: Store) => Promise<unknown>];

const claim = { signPub: stranger, kexPub: hex("kex"), handle: "eve" };
const rekey = (roomId: string, epoch: number, ...endpoints: string[]) => (store: Store) =>
  store.rekeyRoom(roomId, { epoch, sealedKeys: keysFor(...endpoints) });
const put = (roomId: string, endpoint: string, epoch: number) => (store: Store) =>
  store.putSealedKey({ roomId, endpoint, epoch, sealedKey });
const add = (roomId: string, endpoint: string, epoch?: number) => (store: Store) =>
  store.addMember(
    roomId,
    { endpoint, kexPub: hex("kex") },
    epoch === undefined ? undefined : { epoch, sealedKey },
  );

const REFUSALS: Refusal[] = [
  ["room_exists", "createRoom", (store) =>
    store.createRoom({
      id: "room",
      subject: "room",
      owner: { endpoint: owner, kexPub: hex("kex") },
      sealedKeys: keysFor(owner),
    })],
  ["not_found", "getRoom", (store) => store.getRoom("none")],
  ["not_found", "deleteRoom", (store) => store.deleteRoom("none")],
  ["not_found", "addMember: room", add("none", stranger)],
  ["member_exists", "addMember", add("room", member)],
  ["conflict", "addMember: older epoch", add("room", stranger, 1)],
  ["conflict", "addMember: epoch ahead", add("room", stranger, 3)],
  ["invalid", "addMember: cleartext", add("clear", member, 1)],
  ["not_found", "getMember", (store) => store.getMember("room", stranger)],
  ["not_found", "listMembers", (store) => store.listMembers("none")],
  ["not_found", "joinRoom: room", (store) => store.joinRoom("none", member)],
  ["not_found", "joinRoom: member", (store) => store.joinRoom("room", stranger)],
  ["not_found", "changeRoomOwner: room", (store) => store.changeRoomOwner("none", member)],
  ["not_found", "changeRoomOwner: member", (store) => store.changeRoomOwner("room", stranger)],
  ["refused", "changeRoomOwner: active", (store) => store.changeRoomOwner("room", member)],
  ["not_found", "removeMember: room", (store) => store.removeMember("none", member)],
  ["not_found", "removeMember: member", (store) => store.removeMember("room", stranger)],
  ["room_owner", "removeMember: owner", (store) => store.removeMember("room", owner)],
  ["not_found", "rekeyRoom: room", rekey("none", 2, owner)],
  ["invalid", "rekeyRoom: cleartext", rekey("clear", 2, stranger)],
  ["conflict", "rekeyRoom: same epoch", rekey("room", 2, ...ALL)],
  ["conflict", "rekeyRoom: epoch ahead", rekey("room", 4, ...ALL)],
  ["conflict", "rekeyRoom: a stranger", rekey("room", 3, ...ALL, stranger)],
  ["missing_key", "rekeyRoom: one is missing", rekey("room", 3, owner, member, keyless)],
  ["missing_key", "rekeyRoom: two are missing", rekey("room", 3, owner, member)],
  ["not_found", "putSealedKey: room", put("none", member, 1)],
  ["not_found", "putSealedKey: member", put("room", stranger, 1)],
  ["conflict", "putSealedKey: epoch ahead", put("room", member, 3)],
  ["invalid", "putSealedKey: cleartext", put("clear", stranger, 1)],
  ["not_found", "getSealedKey", (store) => store.getSealedKey("room", keyless)],
  ["not_found", "getSealedKey: epoch", (store) => store.getSealedKey("room", member, 1)],
  ["not_found", "listSealedKeys", (store) => store.listSealedKeys("none")],
  ["not_found", "pruneSealedKeys", (store) => store.pruneSealedKeys("none", 2)],
  ["user_exists", "addUser", (store) => store.addUser({ ...claim, signPub: owner })],
  ["not_found", "getUser", (store) => store.getUser(stranger)],
  ["not_found", "revokeUser", (store) => store.revokeUser(stranger)],
  ["last_admin", "revokeUser: last", (store) => store.revokeUser(member)],
  ["not_found", "restoreUser", (store) => store.restoreUser(stranger)],
  ["not_found", "setUserRole", (store) => store.setUserRole(stranger, "admin")],
  ["last_admin", "setUserRole: last", (store) => store.setUserRole(member, "user")],
  ["not_found", "deleteUser", (store) => store.deleteUser(stranger)],
  ["last_admin", "deleteUser: last", (store) => store.deleteUser(member)],
  ["not_found", "getInvite", (store) => store.getInvite(id("none"))],
  ...(["used", "canceled", "both", "expired"] as const).map((state): Refusal => [
    state === "both" ? "invite_used" : `invite_${state}`,
    `consumeInvite: ${state}`,
    (store) => store.consumeInvite(token(state), claim),
  ]),
  ["not_found", "consumeInvite", (store) => store.consumeInvite(token("none"), claim)],
  ["invite_used", "cancelInvite: used", (store) => store.cancelInvite(id("used"))],
  ["invite_used", "cancelInvite: used and canceled", (store) => store.cancelInvite(id("both"))],
  ["not_found", "cancelInvite", (store) => store.cancelInvite(id("none"))],
  ["refused", "restore", (store) => store.restore(RECORDS)],
  // These change something, so they come last.
  [
    "user_exists",
    "consumeInvite: user is there",
    (store) => store.consumeInvite(token("open"), { ...claim, signPub: owner }),
  ],
  ["conflict", "changeRoomOwner: offered", async (store) => {
    await store.revokeUser(owner);
    await store.changeRoomOwner("room", offered);
  }],
  ["conflict", "changeRoomOwner: no key", (store) => store.changeRoomOwner("room", keyless)],
];

/** What each refusal says, by its name; the store's own place left out. */
async function refusals(store: Store, place: string): Promise<Record<string, unknown>> {
  await store.restore(RECORDS);
  const said: Record<string, unknown> = {};
  for (const [code, name, call] of REFUSALS) {
    const error = await call(store).then(() => null, (error: unknown) => error);
    assert.ok(error instanceof StoreError, `${store.backend}: ${name} gave ${error}`);
    assert.equal(error.code, code, `${store.backend}: ${name}: ${error.message}`);
    const { message, field = null } = error;
    said[name] = { message: message.replace(place, "PLACE"), field };
  }
  return said;
}

Deno.test("every backend refuses with the same code, message and field", async () => {
  await using server = await testServer();
  await using file = openSqlite(":memory:", { clock });
  await using bucket = await openJetStream({ servers: server.url, bucket: "REFUSALS", clock });
  await using memory = new Memory().open({ clock });
  const said = await refusals(file, ":memory:");
  assert.deepEqual(await refusals(bucket, "bucket REFUSALS"), said);
  assert.deepEqual(await refusals(memory, "memory"), said);
});
