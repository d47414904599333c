/**
 * The subject of a room's messages.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { StoreError } from "../../core/errors.ts";
import { isDataPlaneSubject } from "../../nats/callout/grant.ts";
import { LIMITS, show } from "../../core/validate.ts";

/** Where the subjects stand that are made from room ids. */
const SPACE = "room.";

/**
 * The subject made from a room's id. Being in a room gives the right to its subject and all below
 * it, so no two rooms may share one, or have one below the other's: the id becomes one token, and
 * different ids become different tokens.
 */
export function subjectOf(roomId: string): string {
  const own = SPACE + roomId.replace(/%/g, "%25").replace(/\./g, "%2E");
  if (Buffer.byteLength(own) <= LIMITS.subjectBytes) return own;
  // Too long for a subject. No escaped id holds `%~`, so this is nobody else's either.
  return `${SPACE}%~${createHash("sha256").update(roomId).digest("hex")}`;
}

/**
 * The subject for a new room. Whoever chose a subject freely could read what is said on it, so only
 * who `mayChoose` (an admin) may name another than the room's own, and none may name another room's.
 */
export function chooseSubject(
  roomId: string,
  asked: string | undefined,
  mayChoose: boolean,
): string {
  const own = subjectOf(roomId);
  if (asked === undefined || asked === own) return own;
  const field = "subject";
  if (!mayChoose) {
    throw new StoreError(
      "forbidden",
      `subject must be ${show(own)} or left out; only an admin may choose another, found ${
        show(asked)
      }`,
      { field },
    );
  }
  if (asked === SPACE.slice(0, -1) || asked.startsWith(SPACE)) {
    throw new StoreError(
      "invalid",
      `subject must not be ${SPACE.slice(0, -1)} or below it, where the subjects made from room ` +
        `ids are, found ${show(asked)}`,
      { field },
    );
  }
  if (!isDataPlaneSubject(asked)) {
    throw new StoreError(
      "invalid",
      `subject must not begin with $ or _, which the bus reserves, found ${show(asked)}`,
      { field },
    );
  }
  return asked;
}
