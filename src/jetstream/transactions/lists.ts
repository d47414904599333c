/**
 * Lists of a store: their keys, the order of these, and how an item is decoded.
 *
 * @module
 */

import type { Range, SealedKeyCursor } from "../../core/backend.ts";
import type { Invite, Member, Room, SealedKey, User } from "../../core/model.ts";
import { waitsFor } from "../../core/rules.ts";
import { findInvited } from "../cache/invited.ts";
import type { Context } from "./context.ts";
import { Pages } from "./pages.ts";
import { visibleRoom } from "./reads.ts";
import {
  encodeToken,
  indexKey,
  inviteKey,
  memberKey,
  parseKey,
  roomKey,
  sealedKeyKey,
  userKey,
} from "../records/keys.ts";
import {
  decodeInvite,
  decodeMember,
  decodeSealedKey,
  decodeUser,
  isAccepted,
} from "../records/values.ts";

/** Number of digits of the largest epoch. */
const DIGITS = 10;

/** The keys of users. */
const USERS = {
  pattern: "users.>",
  idOf: (key: string): string | null => {
    const parsed = parseKey(key);
    return parsed?.space === "users" ? parsed.signPub : null;
  },
};

/** The lists of one store. */
export class Lists {
  readonly #context: Context;
  readonly #pages: Pages;

  constructor(context: Context) {
    this.#context = context;
    this.#pages = new Pages(context);
  }

  rooms(range: Range): Promise<Room[]> {
    return this.#pages.read({
      what: "Listing rooms",
      isKind: true,
      pattern: "rooms.>",
      idOf: (key) => {
        const parsed = parseKey(key);
        return parsed?.space === "rooms" && roomKey(parsed.id) === key ? parsed.id : null;
      },
      keysOf: (id) => [roomKey(id)],
      item: (id, found) => visibleRoom(id, found.get(roomKey(id))),
    }, range);
  }

  users(range: Range): Promise<User[]> {
    return this.#pages.read({
      what: "Listing users",
      isKind: true,
      ...USERS,
      keysOf: (id) => [userKey(id)],
      item: (id, found) => {
        const entry = found.get(userKey(id));
        return entry ? decodeUser(entry.key, id, entry.data) : null;
      },
    }, range);
  }

  invites(range: Range): Promise<Invite[]> {
    return this.#pages.read({
      what: "Listing invites",
      isKind: true,
      pattern: "invites.>",
      idOf: (key) => {
        const parsed = parseKey(key);
        return parsed?.space === "invites" ? parsed.id : null;
      },
      keysOf: (id) => [inviteKey(id)],
      item: (id, found) => {
        const entry = found.get(inviteKey(id));
        return entry ? decodeInvite(entry.key, id, entry.data) : null;
      },
    }, range);
  }

  /** Lists the rooms of an endpoint: all, only those accepted, or only offers. */
  roomsOf(endpoint: string, range: Range, accepted: boolean | null): Promise<Room[]> {
    return this.#pages.read({
      what: `Listing rooms of ${endpoint}`,
      pattern: `rooms_by_member.${endpoint}.*`,
      idOf: (key) => {
        const parsed = parseKey(key);
        return parsed?.space === "rooms_by_member" ? parsed.room : null;
      },
      keysOf: (id) => [indexKey(endpoint, id), roomKey(id)],
      item: (id, found) => {
        const entry = found.get(indexKey(endpoint, id));
        if (entry === undefined) return null;
        const isWanted = accepted === null || isAccepted(entry.key, entry.data) === accepted;
        return isWanted ? visibleRoom(id, found.get(roomKey(id))) : null;
      },
    }, range);
  }

  members(roomId: string, range: Range): Promise<Member[]> {
    return this.#pages.read({
      what: `Listing members of room ${roomId}`,
      roomId,
      pattern: `members.${encodeToken(roomId)}.>`,
      idOf: (key) => {
        const parsed = parseKey(key);
        return parsed?.space === "members" ? parsed.endpoint : null;
      },
      keysOf: (id) => [memberKey(roomId, id)],
      item: (id, found) => {
        const entry = found.get(memberKey(roomId, id));
        return entry ? decodeMember(entry.key, roomId, id, entry.data) : null;
      },
    }, range);
  }

  /** Lists the users who wait for a room. */
  waiting(roomId: string, range: Range): Promise<User[]> {
    const { cache, bucket, opTimeout } = this.#context;
    return this.#pages.read({
      what: `Listing users who wait for room ${roomId}`,
      roomId,
      ...USERS,
      ids: async () =>
        await cache.invitedTo(roomId) ?? await findInvited(bucket, roomId, opTimeout),
      keysOf: (id) => [userKey(id), memberKey(roomId, id)],
      item: (id, found, room) => {
        const entry = found.get(userKey(id));
        if (entry === undefined || found.has(memberKey(roomId, id))) return null;
        const user = decodeUser(entry.key, id, entry.data);
        return waitsFor(user, room!) ? user : null;
      },
    }, range);
  }

  /**
   * Lists sealed keys by epoch and endpoint, without those above the room's epoch, which belong to
   * an unfinished rekey.
   */
  sealedKeys(
    roomId: string,
    epoch: number | null,
    { after, limit }: Range<SealedKeyCursor>,
  ): Promise<SealedKey[]> {
    const idOf = (it: SealedKeyCursor) => String(it.epoch).padStart(DIGITS, "0") + it.endpoint;
    const cursorOf = (id: string) => ({
      epoch: Number(id.slice(0, DIGITS)),
      endpoint: id.slice(DIGITS),
    });
    const sealedKeyOf = (id: string) => {
      const { epoch, endpoint } = cursorOf(id);
      return sealedKeyKey(roomId, epoch, endpoint);
    };
    return this.#pages.read({
      what: `Reading sealed keys of room ${roomId}`,
      roomId,
      pattern: `room_keys.${encodeToken(roomId)}.${epoch ?? "*"}.*`,
      idOf: (key) => {
        const parsed = parseKey(key);
        return parsed?.space === "room_keys" ? idOf(parsed) : null;
      },
      keysOf: (id) => [sealedKeyOf(id)],
      item: (id, found, room) => {
        const entry = found.get(sealedKeyOf(id));
        const at = cursorOf(id);
        if (entry === undefined || at.epoch > room!.epoch) return null;
        return decodeSealedKey(entry.key, { room: roomId, ...at }, entry.data);
      },
    }, { limit, after: after && idOf(after) });
  }
}
