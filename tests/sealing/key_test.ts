/** Sealed room keys: for one member of one room and epoch, by one sealer, and for nobody else. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { createIdentity, isSealingError } from "../../src/client/mod.ts";
import type { PublicKeys } from "../../src/core/model.ts";
import { concat } from "../../src/keys/bytes.ts";
import { verifies } from "../../src/keys/ed25519.ts";
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
import type { RoomKeys } from "../../src/sealing/primitives.ts";
import { NODE, type Parts, WEB, withBoth } from "./parts.ts";

const people = { owner: createIdentity(), ada: createIdentity(), bob: createIdentity() };
const newKey = () => new Uint8Array(randomBytes(ROOM_KEY_BYTES));
const placeOf = ({ signPub, kexPub }: PublicKeys, roomId = "kitchen", epoch = 3) => ({
  roomId,
  epoch,
  endpoint: signPub,
  kexPub,
});

/** The keys of each of them, and the primitives. */
async function withKeys({ primitives, keysOf }: Parts) {
  const [owner, ada, bob] = await Promise.all(
    [people.owner, people.ada, people.bob].map((it) => keysOf(it)),
  ) as [RoomKeys, RoomKeys, RoomKeys];
  return { p: primitives, owner, ada, bob };
}

async function refuses(opening: Promise<unknown>, ...reasons: SealingReason[]): Promise<void> {
  await assert.rejects(opening, (error) => {
    assert.ok(isSealingError(error), String(error));
    assert.ok(reasons.includes(error.reason), `${error.reason}: ${error.message}`);
    return true;
  });
}

withBoth(
  "a sealed key opens for its member, room and epoch, and fits into the store",
  async (parts) => {
    const { p, owner, ada } = await withKeys(parts);
    const key = newKey();
    const sealed = await sealRoomKey(p, owner, placeOf(ada), key);
    assert.equal(sealed.length, SEALED_KEY_BYTES);
    assert.ok(sealed.length <= LIMITS.sealedKeyBytes);
    assert.equal(sealerOf(sealed), owner.signPub);
    const opened = await openRoomKey(p, ada, placeOf(ada), owner.signPub, sealed);
    assert.deepEqual(new Uint8Array(opened), key);
    const again = await sealRoomKey(p, owner, placeOf(ada), key);
    assert.notDeepEqual(again, sealed);
    assert.ok(!Buffer.from(sealed).includes(Buffer.from(key)));
  },
);

withBoth("any room, any epoch, any key: it opens there and nowhere beside it", async (parts) => {
  const { p, owner, ada } = await withKeys(parts);
  const roomId = fc.stringMatching(/^[a-zA-Zäöü€0-9_-]{1,40}$/);
  const epoch = fc.integer({ min: 1, max: LIMITS.epoch });
  const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 });
  await fc.assert(
    fc.asyncProperty(roomId, epoch, roomId, epoch, bytes, async (room, at, other, then, key) => {
      const place = placeOf(ada, room, at);
      const sealed = await sealRoomKey(p, owner, place, key);
      const opened = await openRoomKey(p, ada, place, owner.signPub, sealed);
      assert.deepEqual(new Uint8Array(opened), new Uint8Array(key));
      assert.ok(await isSealedBy(p, owner.signPub, place, sealed));
      for (const wrong of [{ roomId: other, epoch: at }, { roomId: room, epoch: then }]) {
        if (wrong.roomId === room && wrong.epoch === at) continue;
        await refuses(openRoomKey(p, ada, wrong, owner.signPub, sealed), "tampered");
        assert.ok(!await isSealedBy(p, owner.signPub, { ...place, ...wrong }, sealed));
      }
    }),
    { numRuns: 50 },
  );
});

withBoth(
  "a key sealed for one member does not open as another's, whoever hands it over",
  async (parts) => {
    const { p, owner, ada, bob } = await withKeys(parts);
    const sealed = await sealRoomKey(p, owner, placeOf(ada), newKey());
    await refuses(openRoomKey(p, bob, placeOf(bob), owner.signPub, sealed), "tampered");
    assert.ok(!await isSealedBy(p, owner.signPub, placeOf(bob), sealed));
    // Sealed for ada's signing key with bob's other key, as who lies about kexPub would have it.
    const crossed = { ...placeOf(ada), kexPub: bob.kexPub };
    const lie = await sealRoomKey(p, owner, crossed, newKey());
    await refuses(openRoomKey(p, ada, placeOf(ada), owner.signPub, lie), "tampered");
    await refuses(openRoomKey(p, bob, placeOf(bob), owner.signPub, lie), "tampered");
  },
);

withBoth("a key of somebody else's making is refused, whatever name it bears", async (parts) => {
  const { p, owner, ada, bob } = await withKeys(parts);
  const forged = await sealRoomKey(p, bob, placeOf(ada), newKey());
  await refuses(openRoomKey(p, ada, placeOf(ada), owner.signPub, forged), "wrong_sealer");
  const renamed = new Uint8Array(forged);
  renamed.set(Buffer.from(owner.signPub, "hex"), 1);
  await refuses(openRoomKey(p, ada, placeOf(ada), owner.signPub, renamed), "tampered");
  // The owner's signature of one key under another's ciphertext.
  const real = await sealRoomKey(p, owner, placeOf(ada), newKey());
  const mixed = concat(real.subarray(0, 33), forged.subarray(33, 113), real.subarray(113));
  await refuses(openRoomKey(p, ada, placeOf(ada), owner.signPub, mixed), "tampered");
});

withBoth("every bit of a sealed key that is changed is found, and named", async (parts) => {
  const { p, owner, ada } = await withKeys(parts);
  const sealed = await sealRoomKey(p, owner, placeOf(ada), newKey());
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const changed = new Uint8Array(sealed);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    const reason = bit < 8 ? "newer_version" : bit < 33 * 8 ? "wrong_sealer" : "tampered";
    await refuses(openRoomKey(p, ada, placeOf(ada), owner.signPub, changed), reason);
    assert.ok(!await isSealedBy(p, owner.signPub, placeOf(ada), changed));
  }
  for (let length = 0; length < sealed.length; length++) {
    const short = sealed.subarray(0, length);
    await refuses(openRoomKey(p, ada, placeOf(ada), owner.signPub, short), "malformed");
  }
  const long = concat(sealed, new Uint8Array(1));
  await refuses(openRoomKey(p, ada, placeOf(ada), owner.signPub, long), "malformed");
});

withBoth("a room key that is none, and keys of small order, are not sealed", async (parts) => {
  const { p, owner, ada } = await withKeys(parts);
  await refuses(sealRoomKey(p, owner, placeOf(ada), new Uint8Array(31)), "malformed");
  const weak = { ...placeOf(ada), kexPub: "00".repeat(32) };
  await assert.rejects(sealRoomKey(p, owner, weak, newKey()), { code: "invalid" });
});

withBoth("sealing for many members leaves turns to other work of the process", async (parts) => {
  const { p, owner } = await withKeys(parts);
  const members = Array.from({ length: 400 }, () => {
    const { signPub: endpoint, kexPub } = createIdentity();
    return { endpoint, kexPub };
  });
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  try {
    const keys = await sealForAll(
      { primitives: p, keys: owner },
      { roomId: "kitchen", epoch: 1 },
      newKey(),
      members,
    );
    assert.equal(keys.length, 400);
  } finally {
    clearInterval(timer);
  }
  assert.ok(turns >= 3, `${turns}`);
});

Deno.test("keys sealed by one kind of primitives open with the other", async () => {
  for (const [from, to] of [[NODE, WEB], [WEB, NODE]] as const) {
    const [owner, ada] = [await from.keysOf(people.owner), await to.keysOf(people.ada)];
    const key = newKey();
    const sealed = await sealRoomKey(from.primitives, owner, placeOf(ada), key);
    const opened = await openRoomKey(to.primitives, ada, placeOf(ada), owner.signPub, sealed);
    assert.deepEqual(new Uint8Array(opened), key, from.name);
  }
});

Deno.test("signatures are valid with both kinds of primitives, or with neither", async () => {
  const data = randomBytes(100);
  const { signPub } = people.owner;
  const signed = concat(new TextEncoder().encode("signature of unibus message v1\0"), data);
  const signature = people.owner.signMessage(signed);
  const changed = new Uint8Array(signature);
  changed[0]! ^= 1;
  const tries: [string, Uint8Array, Uint8Array, boolean][] = [
    [signPub, signed, signature, true],
    [signPub, data, signature, false],
    [signPub, signed, changed, false],
    [signPub, signed, signature.subarray(1), false],
    [people.ada.signPub, signed, signature, false],
    ["00".repeat(32), signed, new Uint8Array(64), false],
    [`01${"00".repeat(31)}`, signed, new Uint8Array(64).fill(1, 0, 1), false],
    ["ff".repeat(32), signed, signature, false],
    ["ab", signed, signature, false],
  ];
  for (const [key, bytes, by, isValid] of tries) {
    assert.equal(verifies(key, bytes, by), isValid, key);
    assert.equal(await WEB.primitives.verifies(key, bytes, by), isValid, key);
  }
});
