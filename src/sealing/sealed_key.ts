/**
 * Sealed room keys: for one member, of one room and epoch, by one sealer. `docs/sealing.md` describes the
 * format.
 *
 * @module
 */

import { FIRST_BYTES } from "../keys/forms.ts";
import * as check from "../core/validate.ts";
import { concat, fromHex, sized, toHex, uint, utf8 } from "../keys/bytes.ts";
import { SealingError } from "./error.ts";
import { ENC_BYTES, type Primitives, type RoomKeys, TAG_BYTES } from "./primitives.ts";

/** Size of a room key in bytes. */
export const ROOM_KEY_BYTES = 32;

const VERSION = 1;
const SIGNATURE_OF = utf8("signature of ");
const CONTEXT = FIRST_BYTES["sealed key"].slice(SIGNATURE_OF.length);
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const ENC_AT = 1 + KEY_BYTES;
const CIPHERTEXT_AT = ENC_AT + ENC_BYTES;
const SIGNATURE_AT = CIPHERTEXT_AT + ROOM_KEY_BYTES + TAG_BYTES;

/** Size of a sealed room key in bytes. */
export const SEALED_KEY_BYTES: number = SIGNATURE_AT + SIGNATURE_BYTES;

/** What a room key is sealed for. It can only be opened with all of these. */
export interface KeyPlace {
  /** The room. */
  roomId: string;
  /** The epoch of the key. */
  epoch: number;
  /** The member's signing key, hex. */
  endpoint: string;
  /** The member's X25519 key, hex. */
  kexPub: string;
}

/** Returns the bytes that bind a sealed key to its room, epoch, member and sealer. */
function contextOf(sealer: string, { roomId, epoch, endpoint, kexPub }: KeyPlace) {
  return concat(
    utf8(CONTEXT),
    sized(check.roomId("roomId", roomId)),
    uint(check.epoch("epoch", epoch), 4),
    fromHex(check.signPub("endpoint", endpoint)),
    fromHex(check.kexPub("kexPub", kexPub)),
    fromHex(sealer),
  );
}

/** Returns the bytes that the sealer signs. */
function signed(context: Uint8Array, sealed: Uint8Array): Uint8Array {
  return concat(SIGNATURE_OF, context, sealed.subarray(0, SIGNATURE_AT));
}

/**
 * Seals a room key for a member and signs it. HPKE alone does not authenticate the sealer, so a control
 * plane could distribute its own keys.
 *
 * @throws {StoreError} `invalid`
 */
export async function sealRoomKey(
  { hpkeSeal }: Pick<Primitives, "hpkeSeal">,
  sealer: Pick<RoomKeys, "signPub" | "signSealedKey">,
  place: KeyPlace,
  roomKey: Uint8Array,
): Promise<Uint8Array> {
  const context = contextOf(sealer.signPub, place);
  const to = fromHex(check.kexPub("kexPub", place.kexPub));
  const { enc, ciphertext } = await hpkeSeal(to, context, checkedKey(roomKey));
  const body = concat(Uint8Array.of(VERSION), fromHex(sealer.signPub), enc, ciphertext);
  return concat(body, await sealer.signSealedKey(signed(context, body)));
}

function checkedKey(roomKey: Uint8Array): Uint8Array<ArrayBuffer> {
  if (roomKey instanceof Uint8Array && roomKey.length === ROOM_KEY_BYTES) {
    return new Uint8Array(roomKey);
  }
  throw new SealingError("malformed", `A room key must have ${ROOM_KEY_BYTES} bytes`);
}

/**
 * Returns the sealer named in a sealed room key. Only {@link openRoomKey} verifies it.
 *
 * @throws {SealingError} `malformed`; `newer_version`
 */
export function sealerOf(sealed: Uint8Array): string {
  if (!(sealed instanceof Uint8Array) || sealed.length === 0) {
    throw new SealingError("malformed", "The sealed key is empty");
  }
  if (sealed[0] !== VERSION) {
    throw new SealingError(
      "newer_version",
      `The sealed key has version ${sealed[0]}, this program supports ${VERSION}`,
    );
  }
  if (sealed.length !== SEALED_KEY_BYTES) {
    throw new SealingError(
      "malformed",
      `A sealed key must have ${SEALED_KEY_BYTES} bytes, found ${sealed.length}`,
    );
  }
  return toHex(sealed.subarray(1, ENC_AT));
}

/**
 * Opens a room key that was sealed for `member`.
 *
 * @param member The keys that open it
 * @param place The expected room and epoch
 * @param sealer The expected sealer: the room's owner
 * @throws {SealingError} `wrong_sealer`; `tampered`: it was changed, or sealed for another room, epoch or
 * member; `malformed`; `newer_version`
 */
export async function openRoomKey(
  { verifies }: Pick<Primitives, "verifies">,
  member: Pick<RoomKeys, "signPub" | "kexPub" | "hpkeOpen">,
  { roomId, epoch }: Pick<KeyPlace, "roomId" | "epoch">,
  sealer: string,
  sealed: Uint8Array,
): Promise<Uint8Array> {
  const where = `The sealed key of room ${roomId}, epoch ${epoch}`;
  const found = sealerOf(sealed);
  if (found !== sealer) {
    throw new SealingError(
      "wrong_sealer",
      `${where} is sealed by ${found}, not the owner ${sealer}`,
    );
  }
  const { signPub: endpoint, kexPub } = member;
  const context = contextOf(sealer, { roomId, epoch, endpoint, kexPub });
  if (!await verifies(sealer, signed(context, sealed), sealed.subarray(SIGNATURE_AT))) {
    throw new SealingError(
      "tampered",
      `${where} is not signed by the owner for this room, epoch and member`,
    );
  }
  try {
    return await member.hpkeOpen(context, {
      enc: sealed.subarray(ENC_AT, CIPHERTEXT_AT),
      ciphertext: sealed.subarray(CIPHERTEXT_AT, SIGNATURE_AT),
    });
  } catch (cause) {
    throw new SealingError("tampered", `${where} cannot be opened with this member's key`, {
      cause,
    });
  }
}

/** Returns whether `sealer` sealed a key for this member, room and epoch. Does not open the key. */
export async function isSealedBy(
  { verifies }: Pick<Primitives, "verifies">,
  sealer: string,
  place: KeyPlace,
  sealed: Uint8Array,
): Promise<boolean> {
  try {
    if (sealerOf(sealed) !== sealer) return false;
    const data = signed(contextOf(sealer, place), sealed);
    return await verifies(sealer, data, sealed.subarray(SIGNATURE_AT));
  } catch {
    return false;
  }
}
