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

/** Returns the methods for rooms and members. */
export function roomMethods({ open, now, author }: Shared) {
  return {
    async createRoom(input) {
      const given = check.object("room", input);
      const id = check.roomId("id", given.id);
      const subject = check.subject("subject", given.subject);
      const encrypted = check.boolean("encrypted", given.encrypted ?? true);
      const owner = { ...check.newMember("owner", given.owner), accepted: true };
      const others = check.array("members", given.members ?? []).map((m, i) =>
        check.addedMember(`members[${i}]`, m)
      );
      const keys = check.keysFor("sealedKeys", given.sealedKeys ?? []);
      const endpoints = new Set([owner.endpoint]);
      for (const [i, { endpoint }] of others.entries()) {
        if (endpoints.has(endpoint)) {
          throw check.invalid(`members[${i}].endpoint`, `members contains ${endpoint} twice`);
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
        author(),
      );
      return room;
    },
    async getRoom(input) {
      const id = check.roomId("id", input);
      return await requireFound(open().getRoom(id), "room", id);
    },
    async listRooms(page) {
      const range = rangeOf(page, check.roomId);
      return pageOf(range, await open().listRooms(oneMore(range)), (it) => it.id);
    },
    async listRoomsForEndpoint(input, page) {
      const endpoint = check.signPub("endpoint", input);
      const range = rangeOf(page, check.roomId, "accepted");
      const accepted = page?.accepted === undefined
        ? null
        : check.boolean("accepted", page.accepted);
      const rooms = await open().listRoomsForEndpoint(endpoint, oneMore(range), accepted);
      return pageOf(range, rooms, (room) => room.id);
    },
    async deleteRoom(id) {
      await open().deleteRoom(check.roomId("id", id), author());
    },

    async addMember(roomId, input, key) {
      const id = check.roomId("roomId", roomId);
      const added = check.addedMember("member", input);
      const sealed = key === undefined ? null : {
        epoch: check.epoch("key.epoch", check.object("key", key).epoch),
        sealedKey: check.sealedKey("key.sealedKey", key.sealedKey),
      };
      const at = now();
      const member = memberRecord(id, added, "member", at);
      await open().addMember(
        member,
        sealed &&
          keyRecord(
            id,
            sealed.epoch,
            { endpoint: added.endpoint, sealedKey: sealed.sealedKey },
            at,
          ),
        author(),
      );
      return member;
    },
    async getMember(roomId, input) {
      const id = check.roomId("roomId", roomId);
      const endpoint = check.signPub("endpoint", input);
      const member = open().getMember(id, endpoint);
      return await requireFound(member, "member", `${endpoint} in room ${id}`);
    },
    async listMembers(roomId, page) {
      const id = check.roomId("roomId", roomId);
      const range = rangeOf(page, check.hashId);
      return pageOf(range, await open().listMembers(id, oneMore(range)), (it) => it.endpoint);
    },
    async listWaiting(roomId, page) {
      const id = check.roomId("roomId", roomId);
      const range = rangeOf(page, check.hashId);
      return pageOf(range, await open().listWaiting(id, oneMore(range)), (it) => it.signPub);
    },
    async countMembers(roomId) {
      const id = check.roomId("roomId", roomId);
      return await open().countMembers(id);
    },
    async joinRoom(roomId, endpoint) {
      const id = check.roomId("roomId", roomId);
      return await open().joinRoom(id, check.signPub("endpoint", endpoint), author());
    },
    async changeRoomOwner(roomId, endpoint) {
      const id = check.roomId("roomId", roomId);
      return await open().changeRoomOwner(id, check.signPub("endpoint", endpoint), author());
    },
    async handOverRoom(roomId, handover) {
      const id = check.roomId("roomId", roomId);
      return await open().handOverRoom(id, check.handover("handover", handover), author());
    },
    async removeMember(roomId, endpoint) {
      const id = check.roomId("roomId", roomId);
      await open().removeMember(id, check.signPub("endpoint", endpoint), author());
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
    throw check.invalid("sealedKeys", `sealedKeys has ${stranger.endpoint}, who is not a member`);
  }
  if (encrypted && keys.length < endpoints.size) {
    const given = new Set(keys.map((it) => it.endpoint));
    const missing = [...endpoints].find((it) => !given.has(it));
    throw check.invalid("sealedKeys", `sealedKeys has no key for ${missing}`);
  }
}
