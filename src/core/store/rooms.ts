/**
 * Rooms and their members.
 *
 * @module
 */

import type { AddedMember, KeyFor, Member, Room } from "../model.ts";
import { requireFound } from "../rules.ts";
import * as check from "../validate.ts";
import { keyRecord } from "./keys.ts";
import { oneMore, pageOf, rangeOf } from "./paging.ts";
import type { Shared, Store } from "./types.ts";

/** The methods of rooms and members. */
export function roomMethods({ open, now }: Shared) {
  return {
    async createRoom(input) {
      const it = check.object("room", input);
      const id = check.roomId("id", it.id);
      const subject = check.subject("subject", it.subject);
      const encrypted = check.boolean("encrypted", it.encrypted ?? true);
      const owner = { ...check.newMember("owner", it.owner), accepted: true };
      const others = check.array("members", it.members ?? []).map((m, i) =>
        check.addedMember(`members[${i}]`, m)
      );
      const keys = check.keysFor("sealedKeys", it.sealedKeys ?? []);
      const endpoints = new Set([owner.endpoint]);
      for (const [i, { endpoint }] of others.entries()) {
        if (endpoints.has(endpoint)) {
          throw check.invalid(`members[${i}].endpoint`, `members names ${endpoint} twice`);
        }
        endpoints.add(endpoint);
      }
      checkFirstKeys(encrypted, endpoints, keys);
      const at = now();
      const room: Room = { id, subject, encrypted, owner: owner.endpoint, epoch: 1, createdAt: at };
      await open().createRoom(
        room,
        [
          memberRecord(id, owner, "owner", at),
          ...others.map((m) => memberRecord(id, m, "member", at)),
        ],
        keys.map((key) => keyRecord(id, 1, key, at)),
      );
      return room;
    },
    async getRoom(id) {
      const it = check.roomId("id", id);
      return await requireFound(open().getRoom(it), "room", it);
    },
    async listRooms(page) {
      const range = rangeOf(page, check.roomId);
      return pageOf(range, await open().listRooms(oneMore(range)), (it) => it.id);
    },
    async listRoomsForEndpoint(endpoint, page) {
      const it = check.signPub("endpoint", endpoint);
      const range = rangeOf(page, check.roomId, "accepted");
      const accepted = page?.accepted === undefined
        ? null
        : check.boolean("accepted", page.accepted);
      const rooms = await open().listRoomsForEndpoint(it, oneMore(range), accepted);
      return pageOf(range, rooms, (room) => room.id);
    },
    async deleteRoom(id) {
      const it = check.roomId("id", id);
      await open().deleteRoom(it);
    },

    async addMember(roomId, input, key) {
      const id = check.roomId("roomId", roomId);
      const it = check.addedMember("member", input);
      const sealed = key === undefined ? null : {
        epoch: check.epoch("key.epoch", check.object("key", key).epoch),
        sealedKey: check.sealedKey("key.sealedKey", key.sealedKey),
      };
      const at = now();
      const member = memberRecord(id, it, "member", at);
      await open().addMember(
        member,
        sealed &&
          keyRecord(id, sealed.epoch, { endpoint: it.endpoint, sealedKey: sealed.sealedKey }, at),
      );
      return member;
    },
    async getMember(roomId, endpoint) {
      const id = check.roomId("roomId", roomId);
      const it = check.signPub("endpoint", endpoint);
      return await requireFound(open().getMember(id, it), "member", `${it} in room ${id}`);
    },
    async listMembers(roomId, page) {
      const id = check.roomId("roomId", roomId);
      const range = rangeOf(page, check.hashId);
      return pageOf(range, await open().listMembers(id, oneMore(range)), (it) => it.endpoint);
    },
    async countMembers(roomId) {
      const id = check.roomId("roomId", roomId);
      return await open().countMembers(id);
    },
    async joinRoom(roomId, endpoint) {
      const id = check.roomId("roomId", roomId);
      const it = check.signPub("endpoint", endpoint);
      return await open().joinRoom(id, it);
    },
    async changeRoomOwner(roomId, endpoint) {
      const id = check.roomId("roomId", roomId);
      const it = check.signPub("endpoint", endpoint);
      return await open().changeRoomOwner(id, it);
    },
    async removeMember(roomId, endpoint) {
      const id = check.roomId("roomId", roomId);
      const it = check.signPub("endpoint", endpoint);
      await open().removeMember(id, it);
    },
  } satisfies Partial<Store>;
}

function memberRecord(
  roomId: string,
  { endpoint, kexPub, accepted }: Required<AddedMember>,
  role: Member["role"],
  joinedAt: string,
): Member {
  return { roomId, endpoint, role, signPub: endpoint, kexPub, joinedAt, accepted };
}

function checkFirstKeys(encrypted: boolean, endpoints: Set<string>, keys: KeyFor[]): void {
  if (!encrypted && keys.length > 0) {
    throw check.invalid("sealedKeys", "sealedKeys must be empty for a cleartext room");
  }
  const stranger = keys.find((it) => !endpoints.has(it.endpoint));
  if (stranger !== undefined) {
    throw check.invalid("sealedKeys", `sealedKeys names ${stranger.endpoint}, who is not a member`);
  }
  if (encrypted && keys.length < endpoints.size) {
    const given = new Set(keys.map((it) => it.endpoint));
    const missing = [...endpoints].find((it) => !given.has(it));
    throw check.invalid("sealedKeys", `sealedKeys has no key for ${missing}`);
  }
}
