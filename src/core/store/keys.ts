/**
 * Sealed keys of rooms.
 *
 * @module
 */

import type { KeyFor, SealedKey } from "../model.ts";
import { requireFound } from "../rules.ts";
import * as check from "../validate.ts";
import { oneMore, pageOf, rangeOf, sealedKeyCursor } from "./paging.ts";
import type { Shared, Store } from "./types.ts";

/** Returns the methods for sealed keys. */
export function keyMethods({ open, now, author }: Shared) {
  return {
    async rekeyRoom(roomId, input) {
      const id = check.roomId("roomId", roomId);
      const rekey = check.object("rekey", input);
      const epoch = check.epoch("epoch", rekey.epoch);
      const keys = check.keysFor("sealedKeys", rekey.sealedKeys);
      const at = now();
      return await open().rekeyRoom(
        id,
        epoch,
        keys.map((key) => keyRecord(id, epoch, key, at)),
        author(),
      );
    },
    async putSealedKey(input) {
      const given = check.object("key", input);
      const key: SealedKey = {
        roomId: check.roomId("roomId", given.roomId),
        epoch: check.epoch("epoch", given.epoch),
        endpoint: check.signPub("endpoint", given.endpoint),
        sealedKey: check.sealedKey("sealedKey", given.sealedKey),
        createdAt: now(),
      };
      await open().putSealedKey(key, author());
      return key;
    },
    async getSealedKey(roomId, member, epoch) {
      const id = check.roomId("roomId", roomId);
      const endpoint = check.signPub("endpoint", member);
      const number = epoch === undefined ? null : check.epoch("epoch", epoch);
      const what = number === null ? "sealed key" : `sealed key of epoch ${number}`;
      return await requireFound(
        open().getSealedKey(id, endpoint, number),
        what,
        `for ${endpoint} in room ${id}`,
      );
    },
    async listSealedKeys(roomId, options) {
      const id = check.roomId("roomId", roomId);
      const range = rangeOf(options, sealedKeyCursor, "epoch");
      const epoch = options?.epoch === undefined ? null : check.epoch("epoch", options.epoch);
      const keys = await open().listSealedKeys(id, epoch, oneMore(range));
      return pageOf(range, keys, (it) => `${it.epoch}/${it.endpoint}`);
    },
    async pruneSealedKeys(roomId, keep) {
      const id = check.roomId("roomId", roomId);
      return await open().pruneSealedKeys(id, check.integer("keep", keep, 2, 2 ** 31), author());
    },
  } satisfies Partial<Store>;
}

/** Returns the record of a sealed key. */
export function keyRecord(
  roomId: string,
  epoch: number,
  { endpoint, sealedKey }: KeyFor,
  createdAt: string,
): SealedKey {
  return { roomId, epoch, endpoint, sealedKey, createdAt };
}
