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
  // Too long for a subject. No escaped id contains `%~`, so this is unique too.
  return `${SPACE}%~${createHash("sha256").update(roomId).digest("hex")}`;
}

/**
 * Returns the subject for a new room. A user who chose it freely could read the messages of others on
 * it, so only an admin (`mayChoose`) may choose one that is not derived from the id, and not
 * another room's.
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
