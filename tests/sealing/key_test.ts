/** Sealed room keys: for one member of one room and epoch, by one sealer, and for nobody else. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { createIdentity, type Identity, isSealingError } from "../../src/client/mod.ts";
import { concat } from "../../src/keys/bytes.ts";
import type { SealingReason } from "../../src/sealing/error.ts";
import {
  isSealedBy,
  openRoomKey,
  ROOM_KEY_BYTES,
  SEALED_KEY_BYTES,
  sealerOf,
  sealRoomKey,
} from "../../src/sealing/sealed_key.ts";
import { sealForAll } from "../../src/client/rooms/membership.ts";
import { LIMITS } from "../../src/core/validate.ts";

const owner = createIdentity();
const ada = createIdentity();
const bob = createIdentity();
const newKey = () => new Uint8Array(randomBytes(ROOM_KEY_BYTES));
const placeOf = ({ signPub, kexPub }: Identity, roomId = "kitchen", epoch = 3) => ({
  roomId,
  epoch,
  endpoint: signPub,
  kexPub,
});

async function refuses(opening: Promise<unknown>, ...reasons: SealingReason[]): Promise<void> {
  await assert.rejects(opening, (error) => {
    assert.ok(isSealingError(error), String(error));
    assert.ok(reasons.includes(error.reason), `${error.reason}: ${error.message}`);
    return true;
  });
}

Deno.test("a sealed key opens for its member, room and epoch, and fits into the store", async () => {
  const key = newKey();
  const sealed = await sealRoomKey(owner, placeOf(ada), key);
  assert.equal(sealed.length, SEALED_KEY_BYTES);
  assert.ok(sealed.length <= LIMITS.sealedKeyBytes);
  assert.equal(sealerOf(sealed), owner.signPub);
  const opened = await openRoomKey(ada, placeOf(ada), owner.signPub, sealed);
  assert.deepEqual(new Uint8Array(opened), key);
  const again = await sealRoomKey(owner, placeOf(ada), key);
  assert.notDeepEqual(again, sealed);
  assert.ok(!Buffer.from(sealed).includes(key));
});

Deno.test("any room, any epoch, any key: it opens there and nowhere beside it", async () => {
  const roomId = fc.stringMatching(/^[a-zA-Zäöü€0-9_-]{1,40}$/);
  const epoch = fc.integer({ min: 1, max: LIMITS.epoch });
  const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 });
  await fc.assert(
    fc.asyncProperty(roomId, epoch, roomId, epoch, bytes, async (room, at, other, then, key) => {
      const place = placeOf(ada, room, at);
      const sealed = await sealRoomKey(owner, place, key);
      const opened = await openRoomKey(ada, place, owner.signPub, sealed);
      assert.deepEqual(new Uint8Array(opened), new Uint8Array(key));
      assert.ok(isSealedBy(owner.signPub, place, sealed));
      for (const wrong of [{ roomId: other, epoch: at }, { roomId: room, epoch: then }]) {
        if (wrong.roomId === room && wrong.epoch === at) continue;
        await refuses(openRoomKey(ada, wrong, owner.signPub, sealed), "tampered");
        assert.ok(!isSealedBy(owner.signPub, { ...place, ...wrong }, sealed));
      }
    }),
    { numRuns: 50 },
  );
});

Deno.test("a key sealed for one member does not open as another's, whoever hands it over", async () => {
  const sealed = await sealRoomKey(owner, placeOf(ada), newKey());
  await refuses(openRoomKey(bob, placeOf(bob), owner.signPub, sealed), "tampered");
  assert.ok(!isSealedBy(owner.signPub, placeOf(bob), sealed));
  // Sealed for ada's signing key with bob's other key, as who lies about kexPub would have it.
  const crossed = { ...placeOf(ada), kexPub: bob.kexPub };
  const lie = await sealRoomKey(owner, crossed, newKey());
  await refuses(openRoomKey(ada, placeOf(ada), owner.signPub, lie), "tampered");
  await refuses(openRoomKey(bob, placeOf(bob), owner.signPub, lie), "tampered");
});

Deno.test("a key of somebody else's making is refused, whatever name it bears", async () => {
  const forged = await sealRoomKey(bob, placeOf(ada), newKey());
  await refuses(openRoomKey(ada, placeOf(ada), owner.signPub, forged), "wrong_sealer");
  const renamed = new Uint8Array(forged);
  renamed.set(Buffer.from(owner.signPub, "hex"), 1);
  await refuses(openRoomKey(ada, placeOf(ada), owner.signPub, renamed), "tampered");
  // The owner's signature of one key under another's ciphertext.
  const real = await sealRoomKey(owner, placeOf(ada), newKey());
  const mixed = concat(real.subarray(0, 33), forged.subarray(33, 113), real.subarray(113));
  await refuses(openRoomKey(ada, placeOf(ada), owner.signPub, mixed), "tampered");
});

Deno.test("every bit of a sealed key that is changed is found, and named", async () => {
  const sealed = await sealRoomKey(owner, placeOf(ada), newKey());
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const changed = new Uint8Array(sealed);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    const reason = bit < 8 ? "newer_version" : bit < 33 * 8 ? "wrong_sealer" : "tampered";
    await refuses(openRoomKey(ada, placeOf(ada), owner.signPub, changed), reason);
    assert.ok(!isSealedBy(owner.signPub, placeOf(ada), changed));
  }
  for (let length = 0; length < sealed.length; length++) {
    const short = sealed.subarray(0, length);
    await refuses(openRoomKey(ada, placeOf(ada), owner.signPub, short), "malformed");
  }
  const long = concat(sealed, new Uint8Array(1));
  await refuses(openRoomKey(ada, placeOf(ada), owner.signPub, long), "malformed");
});

Deno.test("a room key that is none, and keys of small order, are not sealed", async () => {
  await refuses(sealRoomKey(owner, placeOf(ada), new Uint8Array(31)), "malformed");
  const weak = { ...placeOf(ada), kexPub: "00".repeat(32) };
  await assert.rejects(sealRoomKey(owner, weak, newKey()), { code: "invalid" });
});

Deno.test("sealing for many members leaves turns to other work of the process", async () => {
  const members = Array.from({ length: 400 }, () => {
    const { signPub: endpoint, kexPub } = createIdentity();
    return { endpoint, kexPub };
  });
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  try {
    const keys = await sealForAll(owner, { roomId: "kitchen", epoch: 1 }, newKey(), members);
    assert.equal(keys.length, 400);
  } finally {
    clearInterval(timer);
  }
  assert.ok(turns >= 3, `${turns}`);
});
