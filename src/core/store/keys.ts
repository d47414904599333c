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

/** The methods of sealed keys. */
export function keyMethods({ open, now }: Shared) {
  return {
    async rekeyRoom(roomId, input) {
      const id = check.roomId("roomId", roomId);
      const it = check.object("rekey", input);
      const epoch = check.epoch("epoch", it.epoch);
      const keys = check.keysFor("sealedKeys", it.sealedKeys);
      const at = now();
      return await open().rekeyRoom(id, epoch, keys.map((key) => keyRecord(id, epoch, key, at)));
    },
    async putSealedKey(input) {
      const it = check.object("key", input);
      const key: SealedKey = {
        roomId: check.roomId("roomId", it.roomId),
        epoch: check.epoch("epoch", it.epoch),
        endpoint: check.signPub("endpoint", it.endpoint),
        sealedKey: check.sealedKey("sealedKey", it.sealedKey),
        createdAt: now(),
      };
      await open().putSealedKey(key);
      return key;
    },
    async getSealedKey(roomId, endpoint, epoch) {
      const id = check.roomId("roomId", roomId);
      const it = check.signPub("endpoint", endpoint);
      const number = epoch === undefined ? null : check.epoch("epoch", epoch);
      const what = number === null ? "sealed key" : `sealed key of epoch ${number}`;
      return await requireFound(
        open().getSealedKey(id, it, number),
        what,
        `for ${it} in room ${id}`,
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
      return await open().pruneSealedKeys(id, check.integer("keep", keep, 2, 2 ** 31));
    },
  } satisfies Partial<Store>;
}

/** The record of a key that is sealed for an endpoint. */
export function keyRecord(
  roomId: string,
  epoch: number,
  { endpoint, sealedKey }: KeyFor,
  createdAt: string,
): SealedKey {
  return { roomId, epoch, endpoint, sealedKey, createdAt };
}
