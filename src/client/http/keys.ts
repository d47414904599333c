/**
 * The methods that carry sealed keys, which are base64url in JSON.
 *
 * @module
 */

import type { SealedKey } from "../../core/model.ts";
import { each } from "../../core/store/iterables.ts";
import * as check from "../../core/validate.ts";
import { fromBase64url, toBase64url } from "../../keys/bytes.ts";
import type { Client } from "../types.ts";
import { askOf, LongList, room } from "./ask.ts";
import type { Caller } from "./caller.ts";
import { notAControlPlane } from "./failure.ts";

/** The methods. */
export type KeyCalls = Pick<
  Client,
  | "createRoom"
  | "addMember"
  | "rekeyRoom"
  | "getSealedKey"
  | "putSealedKey"
  | "listSealedKeys"
  | "sealedKeys"
>;

/** Returns the methods. */
export function keyCallsOf(caller: Pick<Caller, "call">): KeyCalls {
  const ask = askOf(caller);
  const calls: KeyCalls = {
    async createRoom(input) {
      const { sealedKeys, owner, members = [], ...rest } = check.object("room", input);
      const json = {
        ...rest,
        owner: copied(owner),
        members: new LongList(
          check.array("members", members).map(copied),
          (it, i) => memberTo(`members[${i}]`, it),
        ),
        sealedKeys: sealedKeys === undefined ? undefined : keys(sealedKeys),
      };
      return await ask("POST", "rooms", { json });
    },
    async addMember(roomId, member, key) {
      const json = { ...memberTo("member", member), key: key && encoded("key", key) };
      return await ask("POST", `${room(roomId)}/members`, { json });
    },
    async rekeyRoom(roomId, rekey) {
      const { epoch, sealedKeys } = check.object("rekey", rekey);
      const json = { epoch, sealedKeys: keys(sealedKeys ?? []) };
      return await ask("POST", `${room(roomId)}/rekey`, { json });
    },
    getSealedKey: async (roomId, epoch) =>
      await ask("GET", `${room(roomId)}/key`, { query: { epoch }, read: decoded }),
    async putSealedKey(key) {
      const { roomId, ...rest } = check.object("key", key);
      const json = encoded("", rest);
      return await ask("PUT", `${room(roomId)}/keys`, { json, read: decoded });
    },
    listSealedKeys: async (roomId, options) =>
      await ask("GET", `${room(roomId)}/keys`, {
        query: options,
        read: (answer) => {
          const { items, next } = (answer ?? {}) as { items?: unknown; next: string | null };
          if (!Array.isArray(items)) throw notAControlPlane("not a list");
          return { items: items.map(decoded), next };
        },
      }),
    sealedKeys: (roomId, page) => each((next) => calls.listSealedKeys(roomId, next), page),
  };
  return calls;
}

/** Returns the JSON of a member to add. */
function memberTo(field: string, value: unknown): Record<string, unknown> {
  const { accepted } = check.object(field, value);
  return { ...check.newMember(field, value), accepted };
}

/** Copies an object that the caller may change while a long list is converted. */
function copied(value: unknown): unknown {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? { ...value }
    : value;
}

/** Copies sealed keys in the same way, their bytes into one buffer: thousands keep the garbage collector busy. */
function keys(value: unknown): LongList<unknown> {
  const given = check.array("sealedKeys", value);
  const bytesOf = (key: unknown) => {
    const { sealedKey } = (key ?? {}) as { sealedKey?: unknown };
    return sealedKey instanceof Uint8Array ? sealedKey : null;
  };
  const all = new Uint8Array(
    given.reduce((sum: number, it) => sum + (bytesOf(it)?.length ?? 0), 0),
  );
  let at = 0;
  const own = given.map((key) => {
    const bytes = bytesOf(key);
    if (bytes === null) return copied(key);
    all.set(bytes, at);
    return { ...key as object, sealedKey: all.subarray(at, at += bytes.length) };
  });
  return new LongList(own, (key, i) => encoded(`sealedKeys[${i}]`, key));
}

/** Returns an object with its `sealedKey` as base64url. */
function encoded(field: string, value: unknown): Record<string, unknown> {
  const key = check.object(field, value);
  const name = field === "" ? "sealedKey" : `${field}.sealedKey`;
  const bytes = check.sealedKey(name, key.sealedKey);
  return { ...key, sealedKey: toBase64url(bytes) };
}

function decoded(value: unknown): SealedKey {
  const key = value as SealedKey & { sealedKey: string };
  const sealedKey = fromBase64url(key?.sealedKey, Math.floor(key?.sealedKey?.length * 3 / 4));
  if (sealedKey === null) throw notAControlPlane("not a sealed key");
  return { ...key, sealedKey };
}
