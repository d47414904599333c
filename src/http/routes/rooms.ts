/**
 * Routes of rooms, members and sealed keys.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { Handover, NewMember, NewRoom } from "../../core/model.ts";
import { counted } from "../../core/text/counted.ts";
import { LIMITS } from "../../core/validate.ts";
import { fromBase64url } from "../../keys/bytes.ts";
import { verifies } from "../../keys/ed25519.ts";
import { handoverBytes } from "../../keys/codec/handover.ts";
import { userOf, withUsers } from "../rights/lookup.ts";
import { membersFor, withOffers } from "../pipeline/offers.ts";
import { isAdmin } from "../rights/policy.ts";
import { quotaExceeded } from "../pipeline/quotas.ts";
import { type Call, type Route, route } from "../pipeline/route.ts";
import type { Read } from "../pipeline/schema.ts";
import { ANSWER, BODY, QUERY, sealedKeyJson } from "./shapes.ts";
import { isPlain, requireAll } from "./search.ts";
import { chooseSubject } from "./subject.ts";

type NewRoomBody = Read<typeof BODY.newRoom>;

/** The room to create: the caller owns it, with its registered key. */
async function roomFor(call: Call<unknown, NewRoomBody>): Promise<NewRoom & { owner: NewMember }> {
  const { store, body } = call;
  const { kexPub: given, ...rest } = body;
  const endpoint = call.caller();
  const kexPub = (await userOf(store, endpoint))?.kexPub ?? given;
  if (kexPub === undefined) {
    throw new StoreError("invalid", "kexPub must be given because the caller is not registered", {
      field: "kexPub",
    });
  }
  if (given !== undefined && given !== kexPub) {
    throw new StoreError("invalid", "kexPub must match the caller's registered key", {
      field: "kexPub",
    });
  }
  let subject = chooseSubject(body.id, undefined, false);
  if (body.subject !== undefined && body.subject !== subject) {
    const asked = body.subject;
    await call.demand(async () => {
      chooseSubject(body.id, asked, await isAdmin(store, endpoint));
    });
    subject = asked;
  }
  return { ...rest, subject, owner: { endpoint, kexPub } };
}

/** Refuses a room above the quota of its owner. */
async function demandRoom({ store, quotas }: Call, endpoint: string | null): Promise<void> {
  const { maxRoomsPerOwner: most } = quotas;
  if (endpoint === null || most === Infinity) return;
  let owned = 0;
  for await (const { owner } of store.roomsForEndpoint(endpoint)) {
    if (owner === endpoint) owned++;
    if (owned >= most) {
      throw quotaExceeded("maxRoomsPerOwner", `One user may own at most ${counted(most, "room")}`);
    }
  }
}

/** Refuses a statement that is not the caller's own, which other members' clients would refuse. */
function demandSigned(caller: string, roomId: string, handover: Handover): void {
  const signature = fromBase64url(handover.signature, 64)!;
  if (handover.from !== caller || !verifies(caller, handoverBytes(roomId, handover), signature)) {
    throw new StoreError("forbidden", "The hand-over must be signed by the caller", {
      field: "handover",
    });
  }
}

/** Bytes of a body with 10,000 members and the sealed key of each: some 5 MB. */
const LARGEST_ROOM = 8 * 1024 * 1024;

/** Refuses members above the quota. */
function demandMembers({ quotas }: Call, count: number): void {
  const { maxMembersPerRoom: most } = quotas;
  if (count <= most) return;
  throw quotaExceeded("maxMembersPerRoom", `A room may have at most ${counted(most, "member")}`);
}

/** Removes the keys of epochs that are too old. The room has its new key whatever comes of it. */
async function pruneKeys({ store, params, quotas, tellFailure }: Call): Promise<void> {
  const { maxEpochsKept } = quotas;
  if (maxEpochsKept === Infinity) return;
  try {
    await store.pruneSealedKeys(params.id!, maxEpochsKept);
  } catch (error) {
    tellFailure("Pruning sealed keys", error);
  }
}

/** Refuses a key of an epoch that is no longer kept. */
async function demandKept({ store, params, quotas }: Call, epoch: number): Promise<void> {
  const { maxEpochsKept: most } = quotas;
  if (epoch + most > (await store.getRoom(params.id!)).epoch) return;
  throw quotaExceeded(
    "maxEpochsKept",
    `Sealed keys of the newest ${counted(most, "epoch")} are kept`,
  );
}

/** Rooms. */
export const ROOMS: readonly Route[] = [
  route("GET /v1/rooms", {
    id: "listRooms",
    summary: "List the caller's rooms; with `all` every room, ordered by id or as `sort` says",
    who: "user, admin for all",
    query: QUERY.rooms,
    answer: ANSWER.rooms,
    errors: ["unsupported"],
    handle: (call) => {
      const { all = false, accepted, ...page } = call.query;
      const query = accepted === undefined ? page : { ...page, accepted };
      if (!all) {
        requireAll(page);
        return call.store.listRoomsForEndpoint(call.caller(), query);
      }
      return isPlain(query) ? call.store.listRooms(query) : call.operations.search.rooms(query);
    },
  }),
  route("POST /v1/rooms", {
    id: "createRoom",
    summary: "Create a room at epoch 1, owned by the caller",
    who: "user",
    body: BODY.newRoom,
    maxBytes: LARGEST_ROOM,
    status: 201,
    answer: ANSWER.room,
    errors: ["room_exists", "refused", "quota_exceeded", "rate_limited"],
    handle: async (call) => {
      if (call.requireEncrypted && call.body.encrypted === false) {
        throw new StoreError(
          "refused",
          "encrypted must be true: this control plane serves a public address and allows no " +
            "cleartext rooms",
          { field: "encrypted" },
        );
      }
      demandMembers(call, 1 + (call.body.members?.length ?? 0));
      return await call.inTurn(`owner ${call.endpoint}`, async () => {
        await demandRoom(call, call.endpoint);
        const room = await roomFor(call);
        const members = await membersFor(call, call.body.members ?? []);
        return await withOffers(
          call,
          room.owner.endpoint,
          members,
          () => call.store.createRoom({ ...room, members }),
        );
      });
    },
  }),
  route("GET /v1/rooms/{id}", {
    id: "getRoom",
    summary: "Read a room",
    who: "member",
    answer: ANSWER.room,
    errors: ["not_found"],
    handle: ({ store, params }) => store.getRoom(params.id!),
  }),
  route("DELETE /v1/rooms/{id}", {
    id: "deleteRoom",
    summary: "Delete a room with its members and sealed keys",
    who: "owner",
    errors: ["not_found"],
    handle: ({ store, params }) => store.deleteRoom(params.id!),
  }),
  route("GET /v1/rooms/{id}/members", {
    id: "listMembers",
    summary: "List a room's members, ordered by endpoint, with the status of their users",
    who: "member",
    query: QUERY.members,
    answer: ANSWER.members,
    errors: ["not_found"],
    handle: async ({ store, params, query: { handles, ...page } }) => {
      const { items, next } = await store.listMembers(params.id!, page);
      return { items: await withUsers(store, items, { handles }), next };
    },
  }),
  route("GET /v1/rooms/{id}/waiting", {
    id: "listWaiting",
    summary:
      "List the users who used an invite to the room and have not been added to it, ordered " +
      "by signing key",
    who: "owner or admin",
    query: QUERY.page,
    answer: ANSWER.waiting,
    errors: ["not_found"],
    handle: ({ store, params, query }) => store.listWaiting(params.id!, query),
  }),
  route("POST /v1/rooms/{id}/members", {
    id: "addMember",
    summary: "Add a member, optionally with the room's current key sealed for it; it is an offer " +
      "that the member must accept, unless an admin adds it",
    who: "owner",
    body: BODY.newMember,
    status: 201,
    answer: ANSWER.member,
    errors: ["not_found", "member_exists", "conflict", "quota_exceeded", "rate_limited"],
    handle: async (call) => {
      const { store, params, quotas } = call;
      const { key, ...given } = call.body;
      const members = await membersFor(call, [given]);
      return await call.inTurn(`room ${params.id}`, async () => {
        if (quotas.maxMembersPerRoom !== Infinity) {
          demandMembers(call, 1 + await store.countMembers(params.id!));
        }
        const { owner } = await store.getRoom(params.id!);
        return await withOffers(
          call,
          owner,
          members,
          () => store.addMember(params.id!, members[0]!, key),
        );
      });
    },
  }),
  route("POST /v1/rooms/{id}/join", {
    id: "joinRoom",
    summary: "Accept an offered membership; idempotent. To decline, remove the membership",
    who: "member",
    answer: ANSWER.member,
    errors: ["not_found"],
    handle: (call) => call.store.joinRoom(call.params.id!, call.caller()),
  }),
  route("POST /v1/rooms/{id}/owner", {
    id: "changeRoomOwner",
    summary: "Make another member the owner of a room whose owner is revoked or deleted",
    who: "admin",
    body: BODY.roomOwner,
    answer: ANSWER.room,
    errors: ["not_found", "conflict", "refused"],
    handle: ({ store, params, body }) => store.changeRoomOwner(params.id!, body.endpoint),
  }),
  route("POST /v1/rooms/{id}/handover", {
    id: "handOverRoom",
    summary: "Make another member the owner, with a statement that the owner signed",
    who: "owner",
    body: BODY.handover,
    answer: ANSWER.room,
    errors: ["not_found", "conflict", "quota_exceeded"],
    handle: async (call) => {
      const { store, params, body: { handover } } = call;
      await call.demand(() => demandSigned(call.caller(), params.id!, handover));
      return await call.inTurn(`owner ${handover.to}`, async () => {
        await demandRoom(call, handover.to);
        return await store.handOverRoom(params.id!, handover);
      });
    },
  }),
  route("GET /v1/rooms/{id}/members/{endpoint}", {
    id: "getMember",
    summary: "Read a membership",
    who: "member",
    answer: ANSWER.member,
    errors: ["not_found"],
    handle: ({ store, params }) => store.getMember(params.id!, params.endpoint!),
  }),
  route("DELETE /v1/rooms/{id}/members/{endpoint}", {
    id: "removeMember",
    summary: "Remove a member; rekey the room so that it cannot read future messages",
    who: "owner or oneself",
    errors: ["not_found", "room_owner"],
    handle: ({ store, params }) => store.removeMember(params.id!, params.endpoint!),
  }),
];

/** Most sealed keys of a page: 10,000 of the longest would be an answer of 57 MB. */
const MOST_KEYS = 2000;

/** Room keys, sealed. */
export const KEYS: readonly Route[] = [
  route("POST /v1/rooms/{id}/rekey", {
    id: "rekeyRoom",
    summary: "Rekey a room: starts the next epoch, with the new key sealed for every member",
    who: "owner",
    body: BODY.rekey,
    // A room too large to be rekeyed could not exclude a removed member.
    maxBytes: LARGEST_ROOM,
    answer: ANSWER.room,
    errors: ["not_found", "conflict"],
    handle: async (call) => {
      const room = await call.store.rekeyRoom(call.params.id!, call.body);
      await pruneKeys(call);
      return room;
    },
  }),
  route("GET /v1/rooms/{id}/key", {
    id: "getSealedKey",
    summary: "Read the caller's sealed key for an epoch, or the latest one",
    who: "member",
    query: QUERY.key,
    answer: ANSWER.key,
    errors: ["not_found"],
    handle: async (call) => {
      const key = await call.store.getSealedKey(call.params.id!, call.caller(), call.query.epoch);
      return sealedKeyJson(key);
    },
  }),
  route("PUT /v1/rooms/{id}/keys", {
    id: "putSealedKey",
    summary: "Store or replace a member's sealed key",
    who: "owner",
    body: BODY.newKey,
    answer: ANSWER.key,
    errors: ["not_found", "conflict", "quota_exceeded"],
    handle: async (call) => {
      const { store, params, body } = call;
      await demandKept(call, body.epoch);
      return sealedKeyJson(await store.putSealedKey({ roomId: params.id!, ...body }));
    },
  }),
  route("GET /v1/rooms/{id}/keys", {
    id: "listSealedKeys",
    summary: "List a room's sealed keys, for one epoch or all",
    who: "owner",
    query: QUERY.keys,
    answer: ANSWER.keys,
    errors: ["not_found"],
    handle: async ({ store, params, query }) => {
      const page = { ...query, limit: Math.min(query.limit ?? LIMITS.pageDefault, MOST_KEYS) };
      const { items, next } = await store.listSealedKeys(params.id!, page);
      return { items: items.map(sealedKeyJson), next };
    },
  }),
];
