/**
 * Bad input: refused with the field named, and nothing written.
 *
 * @module
 */

import assert from "node:assert/strict";
import { LIMITS } from "../../../src/core/validate.ts";
import type { Store } from "../../../src/core/store.ts";
import * as bad from "../kit/bad_input.ts";
import { claim, fails, hexKey, invite, keysFor, newMember, newRoom, newUser } from "../kit/kit.ts";
import { sealed, snapshot } from "../kit/kit.ts";
import type { It } from "../suite.ts";

/** Calls with one bad value each: the field at fault, the values, and the call. */
type Case = [field: string, values: readonly unknown[], call: (value: never) => Promise<unknown>];

/** Registers the tests of bad input. */
export function validation(it: It): void {
  it("ids with wildcards, spaces, outer dots or 10,000 characters are invalid", async (scene) => {
    const { store } = scene;
    const { endpoint, kexPub } = newMember();
    const sealedKey = sealed();
    const nothing = [null, undefined];
    const ids = [...bad.BAD_IDS, ...nothing];
    await refused(store, [
      ["id", ids, (id) => store.createRoom(newRoom("r", { id }))],
      ["id", ids, (id) => store.getRoom(id)],
      ["id", ids, (id) => store.deleteRoom(id)],
      ["roomId", ids, (id) => store.addMember(id, { endpoint, kexPub })],
      ["roomId", ids, (id) => store.getMember(id, endpoint)],
      ["roomId", ids, (id) => store.listMembers(id)],
      ["roomId", ids, (id) => store.removeMember(id, endpoint)],
      ["roomId", ids, (id) => store.joinRoom(id, endpoint)],
      ["roomId", ids, (id) => store.changeRoomOwner(id, endpoint)],
      ["roomId", ids, (id) => store.rekeyRoom(id, { epoch: 2, sealedKeys: [] })],
      ["roomId", ids, (id) => store.putSealedKey({ roomId: id, epoch: 1, endpoint, sealedKey })],
      ["roomId", ids, (id) => store.getSealedKey(id, endpoint)],
      ["roomId", ids, (id) => store.listSealedKeys(id)],
      ["after", bad.BAD_IDS, (after) => store.listRooms({ after })],
      ["after", bad.BAD_IDS, (after) => store.listRoomsForEndpoint(endpoint, { after })],
      ["subject", ids, (subject) => store.createRoom(newRoom("r", { subject }))],
      ["subject", bad.BAD_SUBJECTS, (subject) => store.createRoom(newRoom("r", { subject }))],
    ]);
  }, "anyValue");

  it("an option that a call does not know is invalid, and named", async ({ store }) => {
    const { endpoint } = newMember();
    const page = { limt: 3 } as object;
    const force = { forse: true } as object;
    const calls: [field: string, call: () => Promise<unknown>][] = [
      ["limt", () => store.listRooms(page)],
      ["limt", () => store.listRoomsForEndpoint(endpoint, page)],
      ["limt", () => store.listMembers("r", page)],
      ["limt", () => store.listSealedKeys("r", page)],
      ["limt", () => store.listUsers(page)],
      ["limt", () => store.listInvites(page)],
      ["accepted", () => store.listUsers({ accepted: true } as object)],
      ["epoch", () => store.listUsers({ epoch: 1 } as object)],
      ["forse", () => store.revokeUser(endpoint, force)],
      ["forse", () => store.setUserRole(endpoint, "user", force)],
      ["forse", () => store.deleteUser(endpoint, force)],
      ["sinal", () => store.records({ sinal: null } as object)[Symbol.asyncIterator]().next()],
      ["replce", () => store.restore([], { replce: true } as object)],
    ];
    for (const [field, call] of calls) {
      await fails("invalid", call, field);
    }
  }, "anyValue");

  it("keys that are not 64 hex digits or are small-order points are invalid", async (scene) => {
    const { store } = scene;
    const ok = newMember();
    const keys = [...bad.NOT_HEX, null, undefined];
    const sign = [...keys, ...bad.SMALL_ED25519];
    const kex = [...keys, ...bad.SMALL_X25519];
    const sealedKey = sealed();
    const clear = (part: object) => store.createRoom(newRoom("r", { encrypted: false, ...part }));
    await refused(store, [
      ["owner.endpoint", sign, (endpoint) => clear({ owner: { ...ok, endpoint } })],
      ["owner.kexPub", kex, (kexPub) => clear({ owner: { ...ok, kexPub } })],
      ["members[0].endpoint", sign, (endpoint) => clear({ members: [{ ...ok, endpoint }] })],
      ["members[0].kexPub", kex, (kexPub) => clear({ members: [{ ...ok, kexPub }] })],
      [
        "sealedKeys[0].endpoint",
        sign,
        (endpoint) => store.createRoom(newRoom("r", { sealedKeys: [{ endpoint, sealedKey }] })),
      ],
      ["member.endpoint", sign, (endpoint) => store.addMember("seed", { ...ok, endpoint })],
      ["member.kexPub", kex, (kexPub) => store.addMember("seed", { ...ok, kexPub })],
      ["endpoint", sign, (endpoint) => store.getMember("seed", endpoint)],
      ["endpoint", sign, (endpoint) => store.removeMember("seed", endpoint)],
      ["endpoint", sign, (endpoint) => store.joinRoom("seed", endpoint)],
      ["endpoint", sign, (endpoint) => store.changeRoomOwner("seed", endpoint)],
      ["endpoint", sign, (endpoint) => store.listRoomsForEndpoint(endpoint)],
      ["endpoint", sign, (endpoint) => store.getSealedKey("seed", endpoint)],
      [
        "endpoint",
        sign,
        (endpoint) => store.putSealedKey({ roomId: "seed", epoch: 1, endpoint, sealedKey }),
      ],
      [
        "sealedKeys[0].endpoint",
        sign,
        (endpoint) => store.rekeyRoom("seed", { epoch: 2, sealedKeys: [{ endpoint, sealedKey }] }),
      ],
      ["signPub", sign, (signPub) => store.addUser({ ...newUser(), signPub })],
      ["kexPub", kex, (kexPub) => store.addUser({ ...newUser(), kexPub })],
      ["signPub", sign, (signPub) => store.getUser(signPub)],
      ["signPub", sign, (signPub) => store.revokeUser(signPub)],
      ["signPub", sign, (signPub) => store.restoreUser(signPub)],
      ["signPub", sign, (signPub) => store.setUserRole(signPub, "admin")],
      ["signPub", sign, (signPub) => store.deleteUser(signPub)],
      ["id", keys, (id) => store.getInvite(id)],
      ["id", keys, (id) => store.cancelInvite(id)],
      [
        "token",
        keys.filter((key) => !/^\s|\s$/.test(`${key}`)),
        (token) => store.consumeInvite(token, claim()),
      ],
      ["after", bad.NOT_HEX, (after) => store.listMembers("seed", { after })],
      ["after", bad.NOT_HEX, (after) => store.listUsers({ after })],
      ["after", bad.NOT_HEX, (after) => store.listInvites({ after })],
      ["after", bad.NOT_HEX, (after) => store.listSealedKeys("seed", { after })],
    ]);
  }, "anyValue");

  it("handles, notes, roles, epochs and lives out of their limits are invalid", async (scene) => {
    const { store } = scene;
    const endpoint = hexKey();
    const sealedKey = sealed();
    const notes = ["a\nb", "\u0000", "x".repeat(501), "\ud800", 5, {}];
    const makers = ["", "x".repeat(129), "a\tb", 5, null, undefined];
    const lives = [0, -1, 1.5, NaN, Infinity, LIMITS.inviteMaxMs + 1, "1000"];
    const { token, invite: live } = await invite(store);
    await refused(store, [
      ["handle", bad.BAD_HANDLES, (handle) => store.addUser({ ...newUser(), handle })],
      ["handle", bad.BAD_HANDLES, (handle) => store.consumeInvite(token, { ...claim(), handle })],
      [
        "signPub",
        bad.SMALL_ED25519,
        (signPub) => store.consumeInvite(token, { ...claim(), signPub }),
      ],
      ["kexPub", bad.SMALL_X25519, (kexPub) => store.consumeInvite(token, { ...claim(), kexPub })],
      ["role", bad.BAD_ROLES, (role) => store.addUser({ ...newUser(), role })],
      ["role", bad.BAD_ROLES, (role) => store.createInvite({ createdBy: "cli", role })],
      ["role", [...bad.BAD_ROLES, undefined], (role) => store.setUserRole(endpoint, role)],
      ["note", notes, (note) => store.createInvite({ createdBy: "cli", note })],
      ["createdBy", makers, (createdBy) => store.createInvite({ createdBy })],
      [
        "room",
        ["", "a b", "*", null, 5],
        (room) => store.createInvite({ createdBy: "cli", room }),
      ],
      ["expiresIn", lives, (expiresIn) => store.createInvite({ createdBy: "cli", expiresIn })],
      ["epoch", bad.BAD_EPOCHS, (epoch) => store.rekeyRoom("seed", { epoch, sealedKeys: [] })],
      ["epoch", bad.BAD_EPOCHS, (epoch) => store.getSealedKey("seed", endpoint, epoch)],
      ["epoch", bad.BAD_EPOCHS, (epoch) => store.listSealedKeys("seed", { epoch })],
      [
        "epoch",
        bad.BAD_EPOCHS,
        (epoch) => store.putSealedKey({ roomId: "seed", epoch, endpoint, sealedKey }),
      ],
      [
        "key.epoch",
        bad.BAD_EPOCHS,
        (epoch) => store.addMember("seed", newMember(), { epoch, sealedKey }),
      ],
      ["keep", [1, 0, -1, 2.5, NaN, "2", null], (keep) => store.pruneSealedKeys("seed", keep)],
      ["before", ["", "2026", "2026-01-01", 5, null], (before) => store.pruneInvites(before)],
      ["force", ["yes", 1, {}], (force) => store.revokeUser(endpoint, { force })],
      ["force", ["yes", 1, {}], (force) => store.setUserRole(endpoint, "user", { force })],
      ["force", ["yes", 1, {}], (force) => store.deleteUser(endpoint, { force })],
      ["encrypted", ["yes", 1, {}], (encrypted) => store.createRoom(newRoom("r", { encrypted }))],
    ]);
    assert.equal((await store.getInvite(live.id)).usedAt, null);
  }, "anyValue");

  it("sealed keys over the limit, and no bytes at all, are invalid", async ({ store }) => {
    const owner = newMember();
    const made = (sealedKey: never) => [{ endpoint: owner.endpoint, sealedKey }];
    const { BAD_SEALED_KEYS: bytes } = bad;
    const at = { roomId: "seed", epoch: 1, endpoint: owner.endpoint };
    await refused(store, [
      [
        "sealedKeys[0].sealedKey",
        bytes,
        (it) => store.createRoom(newRoom("r", { owner, sealedKeys: made(it) })),
      ],
      [
        "sealedKeys[0].sealedKey",
        bytes,
        (it) => store.rekeyRoom("seed", { epoch: 2, sealedKeys: made(it) }),
      ],
      ["sealedKey", bytes, (sealedKey) => store.putSealedKey({ ...at, sealedKey })],
      [
        "key.sealedKey",
        bytes,
        (sealedKey) => store.addMember("seed", newMember(), { epoch: 1, sealedKey }),
      ],
    ]);
  });

  it("what is not an object or a list is invalid", async ({ store }) => {
    const nothing = [null, undefined, 5, "text", []];
    const noList = [5, "text", {}];
    await refused(store, [
      ["room", nothing, (room) => store.createRoom(room)],
      ["owner", nothing, (owner) => store.createRoom({ ...newRoom("r"), owner })],
      ["members", noList, (members) => store.createRoom({ ...newRoom("r"), members })],
      ["sealedKeys", noList, (sealedKeys) => store.createRoom({ ...newRoom("r"), sealedKeys })],
      ["sealedKeys[0]", nothing, (key) => store.createRoom(newRoom("r", { sealedKeys: [key] }))],
      ["member", nothing, (member) => store.addMember("seed", member)],
      ["key", [null, 5, []], (key) => store.addMember("seed", newMember(), key)],
      ["rekey", nothing, (rekey) => store.rekeyRoom("seed", rekey)],
      ["key", nothing, (key) => store.putSealedKey(key)],
      ["user", nothing, (user) => store.addUser(user)],
      ["invite", nothing, (input) => store.createInvite(input)],
      ["user", nothing, (user) => store.consumeInvite(hexKey(), user)],
    ]);
  }, "anyValue");
}

/** Runs every case on a store that holds something, and sees that it holds the same afterwards. */
async function refused(store: Store, cases: Case[]): Promise<void> {
  const seed = newRoom("seed", { members: [newMember()] });
  await store.createRoom(seed);
  await store.rekeyRoom("seed", { epoch: 2, sealedKeys: keysFor([seed.owner, ...seed.members!]) });
  await store.addUser(newUser({ role: "admin" }));
  const before = await snapshot(store);
  for (const [field, values, call] of cases) {
    for (const value of values) {
      const error = await fails("invalid", () => call(value as never), field);
      assert.match(error.message, /^[A-Za-z].{5,400}[^.]$/s, "a message for people");
      // deno-lint-ignore no-control-regex
      assert.doesNotMatch(error.message, /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/, "on one line");
    }
  }
  assert.deepEqual(await snapshot(store), before);
}
