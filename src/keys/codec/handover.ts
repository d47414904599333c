/**
 * The bytes that the owner of a room signs to make another member its owner. Has no `node:` imports.
 *
 * @module
 */

import type { Handover } from "../../core/model.ts";
import { concat, fromHex, sized, uint, utf8 } from "../bytes.ts";
import { FIRST_BYTES } from "../forms.ts";

/** Returns the signed bytes of a hand-over: the room, both owners and the epoch. */
export function handoverBytes(
  roomId: string,
  { from, to, epoch }: Omit<Handover, "signature">,
): Uint8Array<ArrayBuffer> {
  return concat(
    utf8(FIRST_BYTES["hand-over"]),
    sized(roomId),
    fromHex(from),
    fromHex(to),
    uint(epoch, 4),
  );
}
