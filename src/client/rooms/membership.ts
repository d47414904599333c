/**
 * The members of a room: those the control plane lists, and those the room's owner signed keys for.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";
import { StoreError } from "../../core/errors.ts";
import type { KeyFor, Member, NewMember, Page, PageRequest, SealedKey } from "../../core/model.ts";
import { SealingError } from "../../sealing/error.ts";
import { isSealedBy, sealRoomKey } from "../../sealing/sealed_key.ts";
import * as check from "../../core/validate.ts";
import { readCard } from "../../keys/card.ts";
import type { Identity } from "../../keys/identity.ts";
import type { CardOrKeys } from "./types.ts";
import type { Trust } from "./trust.ts";
import { notAControlPlane } from "../http/failure.ts";
import type { Client, ListedMember } from "../types.ts";

/** Limits above any list here, because a malicious control plane could return pages forever. */
const MOST_PAGES = 1000;
const MOST_ITEMS = 100_000;
/** Number of signatures that are verified before other work gets its turn: about 20 ms. */
const AT_A_TIME = 128;

/** Returns all items of a list, each validated. */
async function all<T>(
  page: (request: PageRequest) => Promise<Page<T>>,
  read: (item: unknown) => T,
): Promise<T[]> {
  const items: T[] = [];
  let after: string | null = null;
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const found: Page<T> = await page({ after });
    if (!Array.isArray(found?.items)) throw notAControlPlane("not a list");
    if (items.length + found.items.length > MOST_ITEMS) break;
    for (const item of found.items) items.push(readItem(read, item));
    after = found.next;
    if (after === null) return items;
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
  client: Pick<Client, "listMembers">,
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

/** Returns the sealed keys of an epoch that the control plane has. */
export function sealedKeysOf(
  client: Pick<Client, "listSealedKeys">,
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
  client: Pick<Client, "getUser">,
  trust: Trust,
): Promise<NewMember[]> {
  const members: NewMember[] = [];
  for (const cardOrKeys of given) members.push(await resolve(cardOrKeys, client));
  await rememberAll(members, trust);
  return members;
}

/** Remembers all concurrently, so that a memory can write them together. */
async function rememberAll(members: readonly NewMember[], trust: Trust): Promise<void> {
  await Promise.all(members.map(({ endpoint, kexPub }) => trust.kexPub(endpoint, kexPub)));
}

async function resolve(given: CardOrKeys, client: Pick<Client, "getUser">): Promise<NewMember> {
  if (typeof given !== "string") return check.newMember("member", given);
  if (check.hex64(given) === null) return readCard(given);
  const endpoint = check.signPub("endpoint", given);
  const user = await client.getUser(endpoint);
  if (user?.signPub === endpoint) return check.newMember("user", user);
  throw new StoreError("unsupported", `Reading user ${endpoint}: the response is another user`);
}

/** Milliseconds of sealing after which other work of the process has its turn. */
const TURN_MS = 10;

/** Returns a room key sealed for each of the members. */
export async function sealForAll(
  owner: Identity,
  { roomId, epoch }: { roomId: string; epoch: number },
  roomKey: Uint8Array,
  members: readonly NewMember[],
): Promise<KeyFor[]> {
  const keys: KeyFor[] = [];
  let begun = performance.now();
  for (const { endpoint, kexPub } of members) {
    if (performance.now() - begun > TURN_MS) {
      await setImmediate();
      begun = performance.now();
    }
    const place = { roomId, epoch, endpoint, kexPub };
    keys.push({ endpoint, sealedKey: await sealRoomKey(owner, place, roomKey) });
  }
  return keys;
}

/**
 * Verifies that the owner, or a former one, added each of these members with this X25519 key: it must
 * have signed a sealed key for it. The control plane keeps the list and could add members of its own,
 * for whom the next key must not be sealed.
 *
 * @throws {SealingError} `key_changed`: a member was not added by the owner, or with another key
 */
export async function demandAddedByOwner(
  sealers: readonly string[],
  { roomId, epoch }: { roomId: string; epoch: number },
  members: readonly Member[],
  keys: readonly SealedKey[],
  trust: Trust,
): Promise<void> {
  const unknown = new Set(await notAddedBy(sealers, { roomId, epoch }, members, keys));
  const out = await Promise.all(members.map((it) => trust.isRemoved(roomId, it.endpoint, epoch)));
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
  sealers: readonly string[],
  { roomId, epoch }: { roomId: string; epoch: number },
  members: readonly Member[],
  keys: readonly SealedKey[],
): Promise<string[]> {
  const sealed = new Map(keys.map((it) => [it.endpoint, it.sealedKey]));
  const found: string[] = [];
  for (const [i, { endpoint, kexPub }] of members.entries()) {
    // Signatures are verified in this thread: a large room would block everything else.
    if (i % AT_A_TIME === AT_A_TIME - 1) await setImmediate();
    const key = sealed.get(endpoint);
    const place = { roomId, epoch, endpoint, kexPub };
    if (key === undefined || !sealers.some((it) => isSealedBy(it, place, key))) {
      found.push(endpoint);
    }
  }
  return found;
}
