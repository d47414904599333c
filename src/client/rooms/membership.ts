/**
 * Who is in a room: as the control plane says, and as the room's owner signed it.
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
import type { Invitee } from "./types.ts";
import type { Trust } from "./trust.ts";
import type { Client, ListedMember } from "../types.ts";

/** More pages, and more items, than any list here has: a control plane can go on for ever. */
const MOST_PAGES = 1000;
const MOST_ITEMS = 100_000;
/** Signatures that are checked before others have their turn: some 20 ms. */
const AT_A_TIME = 128;

/** All items of a list, each as it must be. */
async function all<T>(
  page: (request: PageRequest) => Promise<Page<T>>,
  read: (item: unknown) => T,
): Promise<T[]> {
  const items: T[] = [];
  let after: string | null = null;
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const found: Page<T> = await page({ after });
    if (!Array.isArray(found?.items)) {
      throw new StoreError("unsupported", "The answer is not of a control plane: it is no list");
    }
    if (items.length + found.items.length > MOST_ITEMS) break;
    for (const it of found.items) items.push(readItem(read, it));
    after = found.next;
    if (after === null) return items;
  }
  throw new StoreError(
    "unsupported",
    `A list has no end within ${MOST_PAGES} pages and ${MOST_ITEMS} items`,
  );
}

function readItem<T>(read: (item: unknown) => T, item: unknown): T {
  try {
    return read(item);
  } catch (cause) {
    throw new StoreError("unsupported", "The answer is not of a control plane: an item is none", {
      cause,
    });
  }
}

/** Who is in a room, as the control plane says. */
export function membersOf(
  client: Pick<Client, "listMembers">,
  roomId: string,
): Promise<ListedMember[]> {
  return all(
    (page) => client.listMembers(roomId, page),
    (it) => {
      const { status = null } = check.object("members", it);
      return {
        ...check.record("members", it).record as Member,
        // A server of version 0.1 does not say.
        status: status === null ? null : check.oneOf("status", status, ["active", "revoked"]),
      };
    },
  );
}

/** What is sealed with the key of an epoch, as the control plane says. */
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

/** The keys of those who are to be put into a room, compared with what was known of them. */
export async function keysOfInvitees(
  invitees: readonly Invitee[],
  client: Pick<Client, "getUser">,
  trust: Trust,
): Promise<NewMember[]> {
  const members: NewMember[] = [];
  for (const it of invitees) members.push(await resolve(it, client));
  await rememberAll(members, trust);
  return members;
}

/** At once: a memory may then write them in one go. */
async function rememberAll(members: readonly NewMember[], trust: Trust): Promise<void> {
  await Promise.all(members.map(({ endpoint, kexPub }) => trust.kexPub(endpoint, kexPub)));
}

async function resolve(who: Invitee, client: Pick<Client, "getUser">): Promise<NewMember> {
  if (typeof who !== "string") return check.newMember("member", who);
  if (check.hex64(who) === null) return readCard(who);
  const endpoint = check.signPub("endpoint", who);
  const user = await client.getUser(endpoint);
  if (user?.signPub === endpoint) return check.newMember("user", { ...user, endpoint });
  throw new StoreError("unsupported", `Asked for the user ${endpoint}, found another`);
}

/** A room key, sealed for each of these. */
export async function sealForAll(
  owner: Identity,
  { roomId, epoch }: { roomId: string; epoch: number },
  roomKey: Uint8Array,
  members: readonly NewMember[],
): Promise<KeyFor[]> {
  const keys: KeyFor[] = [];
  for (const { endpoint, kexPub } of members) {
    const place = { roomId, epoch, endpoint, kexPub };
    keys.push({ endpoint, sealedKey: await sealRoomKey(owner, place, roomKey) });
  }
  return keys;
}

/**
 * Makes sure that the owner itself, or the one before it, let each of these members in, with this key:
 * a signature on what was sealed for them says so. The control plane keeps the list, and could put somebody on it; the
 * next key must not be sealed for whoever that is.
 *
 * @throws {SealingError} `key_changed`
 */
export async function demandLetIn(
  sealers: readonly string[],
  { roomId, epoch }: { roomId: string; epoch: number },
  members: readonly Member[],
  keys: readonly SealedKey[],
  trust: Trust,
): Promise<void> {
  const unknown = new Set(await notLetIn(sealers, { roomId, epoch }, members, keys));
  const out = await Promise.all(members.map((it) => trust.isOut(roomId, it.endpoint, epoch)));
  for (const [i, { endpoint, kexPub }] of members.entries()) {
    if (out[i]) {
      throw new SealingError(
        "key_changed",
        `Room ${roomId}: its owner took ${endpoint} out, and it is said to be in still; invite it, ` +
          "or remove it again",
      );
    }
    if (unknown.has(endpoint)) {
      throw new SealingError(
        "key_changed",
        `Room ${roomId}: its owner sealed no key of epoch ${epoch} for ${endpoint} with the X25519 ` +
          `key ${kexPub}; invite it with its card, or remove it`,
      );
    }
  }
  await rememberAll(members, trust);
}

/** The members for whom none of these sealed a key of this epoch, or with another X25519 key. */
export async function notLetIn(
  sealers: readonly string[],
  { roomId, epoch }: { roomId: string; epoch: number },
  members: readonly Member[],
  keys: readonly SealedKey[],
): Promise<string[]> {
  const sealed = new Map(keys.map((it) => [it.endpoint, it.sealedKey]));
  const found: string[] = [];
  for (const [i, { endpoint, kexPub }] of members.entries()) {
    // Signatures are checked in this thread: of a large room they would hold up everything else.
    if (i % AT_A_TIME === AT_A_TIME - 1) await setImmediate();
    const key = sealed.get(endpoint);
    const place = { roomId, epoch, endpoint, kexPub };
    if (key === undefined || !sealers.some((it) => isSealedBy(it, place, key))) {
      found.push(endpoint);
    }
  }
  return found;
}
