/**
 * The members of a room: those the control plane lists, and those the room's owner signed keys for.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type {
  KeyFor,
  Member,
  NewMember,
  Page,
  PageRequest,
  SealedKey,
  User,
} from "../../core/model.ts";
import { SealingError } from "../../sealing/error.ts";
import type { HpkeSeal, Primitives } from "../../sealing/primitives.ts";
import { isSealedBy, sealRoomKey } from "../../sealing/sealed_key.ts";
import { mapInTurns } from "../../core/async/in_turns.ts";
import * as check from "../../core/validate.ts";
import { openCard } from "../../keys/identity_format.ts";
import type { CardOrKeys } from "./types.ts";
import { notAControlPlane } from "../http/failure.ts";
import type { RoomContext, RoomsClient } from "./parts.ts";
import type { Trust } from "./trust.ts";
import type { ListedMember } from "../types.ts";

/** Limits above any list here, because a malicious control plane could return pages forever. */
const MOST_PAGES = 1000;
const MOST_ITEMS = 100_000;

/** Returns all items of a list, each validated. */
async function all<T>(
  page: (request: PageRequest) => Promise<Page<T>>,
  read: (item: unknown) => T,
): Promise<T[]> {
  const items: T[] = [];
  let coming = page({ after: null });
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const { items: found, next } = await coming ?? {};
    if (!Array.isArray(found)) throw notAControlPlane("not a list");
    if (items.length + found.length > MOST_ITEMS) break;
    // Requested now, so that the server prepares it while this one is read.
    if (next !== null) (coming = page({ after: next })).catch(() => {});
    items.push(...await mapInTurns(found, (item) => readItem(read, item)));
    if (next === null) return items;
  }
  throw new StoreError(
    "unsupported",
    `Reading a list: it has more than ${MOST_PAGES} pages or ${MOST_ITEMS} items`,
  );
}

function readItem<T>(read: (item: unknown) => T, item: unknown): T {
  try {
    return read(item);
  } catch (cause) {
    throw notAControlPlane("a malformed list item", cause);
  }
}

/** Returns the members of a room that the control plane lists. */
export function membersOf(
  client: Pick<RoomsClient, "listMembers">,
  roomId: string,
): Promise<ListedMember[]> {
  return all(
    (page) => client.listMembers(roomId, page),
    (item) => {
      const { status = null } = check.object("members", item);
      return {
        ...check.record("members", item).record as Member,
        // A server of version 0.1 does not send it.
        status: status === null ? null : check.oneOf("status", status, ["active", "revoked"]),
      };
    },
  );
}

/** Returns the users who wait for a room. */
export function waitingFor(
  client: Pick<RoomsClient, "listWaiting">,
  roomId: string,
): Promise<User[]> {
  return all(
    (page) => client.listWaiting(roomId, page),
    (it) => check.record("users", it).record as User,
  );
}

/** Returns the sealed keys of an epoch that the control plane has. */
export function sealedKeysOf(
  client: Pick<RoomsClient, "listSealedKeys">,
  roomId: string,
  epoch: number,
): Promise<SealedKey[]> {
  return all(
    (page) => client.listSealedKeys(roomId, { ...page, epoch }),
    (it) => check.record("room_keys", it).record as SealedKey,
  );
}

/** Returns the keys of members to add, after comparing them with those remembered. */
export async function keysOfNewMembers(
  given: readonly CardOrKeys[],
  context: Pick<RoomContext, "client" | "primitives" | "trust">,
): Promise<NewMember[]> {
  const members = await mapInTurns(given, (cardOrKeys) => resolve(cardOrKeys, context));
  await rememberAll(members, context.trust, (i) => isCard(given[i]!));
  return members;
}

/** Number of values of a memory that are read or written at the same time, so that it can join writes. */
const REMEMBERED_AT_ONCE = 1000;

async function rememberAll(
  members: readonly NewMember[],
  trust: Trust,
  isSigned = (_: number) => false,
): Promise<void> {
  const remember = ({ endpoint, kexPub }: NewMember, i: number) =>
    trust.kexPub(endpoint, kexPub, isSigned(i));
  await mapInTurns(members, remember, REMEMBERED_AT_ONCE);
}

function isCard(given: CardOrKeys): given is string {
  return typeof given === "string" && check.hex64(given) === null;
}

async function resolve(
  given: CardOrKeys,
  { client, primitives }: Pick<RoomContext, "client" | "primitives">,
): Promise<NewMember> {
  if (typeof given !== "string") return check.newMember("member", given);
  if (isCard(given)) return await openCard(given, primitives.verifies);
  const endpoint = check.signPub("endpoint", given);
  const user = await client.getUser(endpoint);
  if (user?.signPub === endpoint) return check.newMember("user", user);
  throw new StoreError("unsupported", `Reading user ${endpoint}: the response is another user`);
}

/** Number of members for whom threads are started. */
const MANY = 500;
/** Number of keys that are sealed at the same time: enough for several threads, and for a short turn. */
const SEALED_AT_ONCE = 128;

/** Returns a room key sealed for each of the members. */
export async function sealForAll(
  { primitives, keys }: Pick<RoomContext, "primitives" | "keys">,
  { roomId, epoch }: { roomId: string; epoch: number },
  roomKey: Uint8Array,
  members: readonly NewMember[],
): Promise<KeyFor[]> {
  const seal = (hpkeSeal: HpkeSeal) =>
    mapInTurns(members, async ({ endpoint, kexPub }) => {
      const place = { roomId, epoch, endpoint, kexPub };
      return { endpoint, sealedKey: await sealRoomKey({ hpkeSeal }, keys, place, roomKey) };
    }, SEALED_AT_ONCE);
  const { hpkeSeal, inThreads } = primitives;
  return await (members.length < MANY || !inThreads ? seal(hpkeSeal) : inThreads(seal));
}

/**
 * Verifies that the owner, or a former one, added each of these members with this X25519 key: it must
 * have signed a sealed key for it. The control plane keeps the list and could add members of its own,
 * for whom the next key must not be sealed.
 *
 * @param notAdded Those for whom {@link notAddedBy} found no such key
 * @throws {SealingError} `key_changed`: a member was not added by the owner, or with another key
 */
export async function demandAddedByOwner(
  trust: Trust,
  { roomId, epoch }: { roomId: string; epoch: number },
  members: readonly Member[],
  notAdded: readonly string[],
): Promise<void> {
  const unknown = new Set(notAdded);
  const isOut = ({ endpoint }: Member) => trust.isRemoved(roomId, endpoint, epoch);
  const out = await mapInTurns(members, isOut);
  for (const [i, { endpoint, kexPub }] of members.entries()) {
    if (out[i]) {
      throw new SealingError(
        "key_changed",
        `Room ${roomId}: the control plane lists ${endpoint}, which the owner removed; add it again, ` +
          "or remove it again",
      );
    }
    if (unknown.has(endpoint)) {
      throw new SealingError(
        "key_changed",
        `Room ${roomId}: the owner sealed no key of epoch ${epoch} for ${endpoint} with the X25519 ` +
          `key ${kexPub}; add it with its card, or remove it`,
      );
    }
  }
  await rememberAll(members, trust);
}

/** Returns the members for whom no sealer sealed a key of this epoch to their X25519 key. */
export async function notAddedBy(
  primitives: Pick<Primitives, "verifies">,
  sealers: readonly string[],
  { roomId, epoch }: { roomId: string; epoch: number },
  members: readonly Member[],
  keys: readonly SealedKey[],
): Promise<string[]> {
  const sealed = new Map(keys.map((it) => [it.endpoint, it.sealedKey]));
  const isAdded = await mapInTurns(members, async ({ endpoint, kexPub }) => {
    const key = sealed.get(endpoint);
    if (key === undefined) return false;
    for (const sealer of sealers) {
      const place = { roomId, epoch, endpoint, kexPub };
      if (await isSealedBy(primitives, sealer, place, key)) return true;
    }
    return false;
  });
  return members.filter((_, i) => !isAdded[i]).map((it) => it.endpoint);
}
