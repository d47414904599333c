/**
 * Every method of the store with a call that works on one seeded store, so that what holds for
 * all of them is written once.
 *
 * @module
 */

import type { CreatedInvite, NewMember, StoreRecord } from "../../../src/core/model.ts";
import type { Store } from "../../../src/core/store.ts";
import { claim, collect, hexKey, invite, keysFor, newMember, newRoom, newUser } from "./kit.ts";
import { plain, sealed } from "./kit.ts";

/** What a seeded store holds that the calls refer to. */
export interface Seed {
  /** Owner of the room `seed.room`, which is at epoch 2. */
  owner: NewMember;
  /** A member of it. */
  member: NewMember;
  /** Somebody who was offered a membership of it. */
  offered: NewMember;
  /** One of two active admins. */
  admin: string;
  /** A revoked user. */
  revoked: string;
  /** An invite nobody has claimed. */
  open: CreatedInvite;
}

/** Fills an empty store with a record of every kind. */
export async function seedStore(store: Store): Promise<Seed> {
  const [owner, member, offered] = [newMember(), newMember(), newMember()];
  const members = [member, { ...offered, accepted: false }];
  await store.createRoom(newRoom("seed.room", { owner, members }));
  await store.rekeyRoom("seed.room", { epoch: 2, sealedKeys: keysFor([owner, ...members]) });
  await store.createRoom(newRoom("清/clear", { owner: member, encrypted: false }));
  const { signPub: admin } = await store.addUser(newUser({ role: "admin" }));
  await store.addUser(newUser({ role: "admin", handle: "other admin" }));
  const { signPub: revoked } = await store.addUser(newUser({ handle: "gone" }));
  await store.revokeUser(revoked);
  const used = await invite(store);
  await store.consumeInvite(used.token, claim());
  const arrived = await store.createInvite({ createdBy: "cli", room: "seed.room" });
  await store.consumeInvite(arrived.token, claim({ handle: "waits" }));
  const canceled = await invite(store);
  await store.cancelInvite(canceled.invite.id);
  return { owner, member, offered, admin, revoked, open: await invite(store, "admin") };
}

/** Methods that not every backend can offer. */
export const HISTORY_METHODS = ["as", "history", "follow", "reach", "pruneHistory"] as const;

/** A method: whether it only reads, and a call of it that works. */
export interface Method {
  /** Name of the method. */
  name: Exclude<
    keyof Store,
    | "backend"
    | "created"
    | "generation"
    | "search"
    | "close"
    | symbol
    | typeof HISTORY_METHODS[number]
  >;
  /** Whether the call changes nothing. */
  reads: boolean;
  /** Whether it answers no in place of rejecting. */
  failsClosed?: boolean;
  /** A call that works on a seeded store, its result in a form that compares. */
  call(store: Store, seed: Seed): Promise<unknown>;
}

const reads = (name: Method["name"], call: Method["call"]): Method => ({ name, reads: true, call });
const writes = (name: Method["name"], call: Method["call"]): Method => ({
  name,
  reads: false,
  call,
});

const ROOM = "seed.room";

/** Every method of the store but `close`. */
export const METHODS: readonly Method[] = [
  writes("createRoom", (s) => s.createRoom(newRoom("new"))),
  reads("getRoom", (s) => s.getRoom(ROOM)),
  reads("listRooms", (s) => s.listRooms({ limit: 1 })),
  reads("rooms", (s) => collect(s.rooms({ limit: 1 }))),
  reads("roomsForEndpoint", (s, seed) => collect(s.roomsForEndpoint(seed.member.endpoint))),
  reads("listRoomsForEndpoint", (s, seed) => s.listRoomsForEndpoint(seed.member.endpoint)),
  writes("deleteRoom", (s) => s.deleteRoom(ROOM)),
  writes("addMember", (s) => s.addMember(ROOM, newMember(), { epoch: 2, sealedKey: sealed() })),
  writes("joinRoom", (s, seed) => s.joinRoom(ROOM, seed.offered.endpoint)),
  // The owner is nobody's user.
  writes("changeRoomOwner", (s, seed) => s.changeRoomOwner(ROOM, seed.member.endpoint)),
  writes("handOverRoom", (s, { owner, member }) => {
    const signature = "A".repeat(86);
    const handover = { from: owner.endpoint, to: member.endpoint, epoch: 2, signature };
    return s.handOverRoom(ROOM, handover);
  }),
  reads("getMember", (s, seed) => s.getMember(ROOM, seed.member.endpoint)),
  reads("listMembers", (s) => s.listMembers(ROOM)),
  reads("members", (s) => collect(s.members(ROOM, { limit: 1 }))),
  reads("listWaiting", (s) => s.listWaiting(ROOM)),
  reads("waiting", (s) => collect(s.waiting(ROOM, { limit: 1 }))),
  reads("countMembers", (s) => s.countMembers(ROOM)),
  writes("removeMember", (s, seed) => s.removeMember(ROOM, seed.member.endpoint)),
  writes(
    "rekeyRoom",
    (s, { owner, member, offered }) =>
      s.rekeyRoom(ROOM, { epoch: 3, sealedKeys: keysFor([owner, member, offered]) }),
  ),
  writes("putSealedKey", (s, seed) =>
    s.putSealedKey({
      roomId: ROOM,
      epoch: 1,
      endpoint: seed.owner.endpoint,
      sealedKey: sealed(),
    })),
  reads("getSealedKey", async (s, seed) => {
    const record = await s.getSealedKey(ROOM, seed.owner.endpoint);
    return plain([{ kind: "room_keys", record }]);
  }),
  reads("listSealedKeys", async (s) => {
    const { items } = await s.listSealedKeys(ROOM);
    return plain(items.map((record): StoreRecord => ({ kind: "room_keys", record })));
  }),
  reads("sealedKeys", async (s) => {
    const keys = await collect(s.sealedKeys(ROOM, { limit: 1 }));
    return plain(keys.map((record): StoreRecord => ({ kind: "room_keys", record })));
  }),
  writes("pruneSealedKeys", async (s, seed) => {
    // Of two epochs both are kept.
    await s.rekeyRoom(ROOM, {
      epoch: 3,
      sealedKeys: keysFor([seed.owner, seed.member, seed.offered]),
    });
    return await s.pruneSealedKeys(ROOM, 2);
  }),
  writes("addUser", (s) => s.addUser(newUser())),
  reads("getUser", (s, seed) => s.getUser(seed.revoked)),
  reads("listUsers", (s) => s.listUsers()),
  reads("users", (s) => collect(s.users({ limit: 1 }))),
  writes("revokeUser", (s, seed) => s.revokeUser(seed.admin)),
  writes("restoreUser", (s, seed) => s.restoreUser(seed.revoked)),
  writes("setUserRole", (s, seed) => s.setUserRole(seed.admin, "user")),
  writes("deleteUser", (s, seed) => s.deleteUser(seed.admin)),
  { ...reads("isAuthorized", (s, seed) => s.isAuthorized(seed.admin)), failsClosed: true },
  { ...reads("hasAdmin", (s) => s.hasAdmin()), failsClosed: true },
  writes("createInvite", (s) => invite(s)),
  reads("getInvite", (s, seed) => s.getInvite(seed.open.invite.id)),
  reads("listInvites", (s) => s.listInvites()),
  reads("invites", (s) => collect(s.invites({ limit: 1 }))),
  writes("consumeInvite", (s, seed) => s.consumeInvite(seed.open.token, claim())),
  writes("cancelInvite", (s, seed) => s.cancelInvite(seed.open.invite.id)),
  writes("pruneInvites", (s) => s.pruneInvites("9999-12-31T23:59:59.999Z")),
  reads("records", async (s) => plain(await collect(s.records()))),
  writes("restore", (s) => {
    const record = {
      signPub: hexKey(),
      kexPub: hexKey(),
      handle: "restored",
      role: "admin" as const,
      status: "active" as const,
      createdAt: "2020-01-01T00:00:00.000Z",
      revokedAt: null,
    };
    return s.restore([{ kind: "users", record }], { replace: true });
  }),
  reads("watchAccess", (s) => {
    s.watchAccess(() => {})();
    return Promise.resolve("ended");
  }),
  { ...reads("health", becomesHealthy), failsClosed: true },
];

/** Asks as a readiness probe does: a store that has just been opened may have to read first. */
async function becomesHealthy(store: Store): Promise<boolean> {
  for (let tries = 1;; tries++) {
    const { ok, checks } = await store.health();
    if (ok || tries >= 500 || checks.every((it) => it.name === "store")) return ok;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
