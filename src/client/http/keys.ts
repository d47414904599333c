/**
 * The methods that carry sealed keys: bytes here, base64url in JSON.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import type { SealedKey } from "../../core/model.ts";
import { each } from "../../core/store/iterables.ts";
import * as check from "../../core/validate.ts";
import { fromBase64url, toBase64url } from "../../keys/bytes.ts";
import type { Client } from "../types.ts";
import { askOf, room } from "./ask.ts";
import type { Caller } from "./caller.ts";

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

/** Makes the methods. */
export function keyCallsOf(caller: Pick<Caller, "call">): KeyCalls {
  const ask = askOf(caller);
  const calls: KeyCalls = {
    async createRoom(input) {
      const { sealedKeys, members = [], ...rest } = check.object("room", input);
      const json = {
        ...rest,
        members: check.array("members", members).map((member, i) =>
          memberTo(`members[${i}]`, member)
        ),
        sealedKeys: keys(sealedKeys),
      };
      return await ask("POST", "rooms", { json });
    },
    async addMember(roomId, member, key) {
      const json = { ...memberTo("member", member), key: key && sealed("key", key) };
      return await ask("POST", `${room(roomId)}/members`, { json });
    },
    async rekeyRoom(roomId, rekey) {
      const { epoch, sealedKeys } = check.object("rekey", rekey);
      const json = { epoch, sealedKeys: keys(sealedKeys ?? []) };
      return await ask("POST", `${room(roomId)}/rekey`, { json });
    },
    getSealedKey: async (roomId, epoch) =>
      await ask("GET", `${room(roomId)}/key`, { query: { epoch }, read: unsealed }),
    async putSealedKey(key) {
      const { roomId, ...rest } = check.object("key", key);
      const json = sealed("", rest);
      return await ask("PUT", `${room(roomId)}/keys`, { json, read: unsealed });
    },
    listSealedKeys: async (roomId, options) =>
      await ask("GET", `${room(roomId)}/keys`, {
        query: options,
        read: (answer) => {
          const { items, next } = answer as { items: unknown[]; next: string | null };
          return { items: items.map(unsealed), next };
        },
      }),
    sealedKeys: (roomId, page) => each((next) => calls.listSealedKeys(roomId, next), page),
  };
  return calls;
}

/** A member to add, as JSON carries it. */
function memberTo(field: string, value: unknown): Record<string, unknown> {
  const { accepted } = check.object(field, value);
  return { ...check.newMember(field, value), accepted };
}

/** Sealed keys as JSON carries them; left out where there are none. */
function keys(value: unknown): unknown {
  return value === undefined
    ? undefined
    : check.array("sealedKeys", value).map((it, i) => sealed(`sealedKeys[${i}]`, it));
}

/** An object with its `sealedKey` as base64url. */
function sealed(field: string, value: unknown): Record<string, unknown> {
  const it = check.object(field, value);
  const name = field === "" ? "sealedKey" : `${field}.sealedKey`;
  const bytes = check.sealedKey(name, it.sealedKey);
  return { ...it, sealedKey: toBase64url(bytes) };
}

function unsealed(value: unknown): SealedKey {
  const it = value as SealedKey & { sealedKey: string };
  const sealedKey = fromBase64url(it?.sealedKey, Math.floor(it?.sealedKey?.length * 3 / 4));
  if (sealedKey === null) {
    throw new StoreError(
      "unsupported",
      "The answer is not of a control plane: it is no sealed key",
    );
  }
  return { ...it, sealedKey };
}
