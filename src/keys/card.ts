/**
 * Cards: the public keys of an endpoint, signed by itself, to hand from person to person.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import type { NewMember } from "../core/model.ts";
import { verifies } from "./ed25519.ts";
import type { Identity } from "./identity.ts";
import { bindingOf, formatCard, parseCard, type PublicKeys } from "./identity_format.ts";

/**
 * The card of an identity: what to give to who puts one into a room. It holds no secret. The control
 * plane is asked for nothing then, and cannot give another key in place of this one's.
 *
 * @example
 * ```ts
 * import { cardOf, createIdentity, readCard } from "@unibus/membership/client";
 *
 * const ada = createIdentity();
 * const { endpoint, kexPub } = readCard(cardOf(ada));
 * if (endpoint !== ada.signPub || kexPub !== ada.kexPub) throw new Error("unreachable");
 * ```
 */
export function cardOf(identity: Pick<Identity, "signPub" | "kexPub" | "signEndpoint">): string {
  return formatCard(identity, identity.signEndpoint());
}

/**
 * Reads a card, as what `invite` and `addMember` take.
 *
 * @throws {StoreError} `invalid` when it is none, or its signature is not its signing key's
 */
export function readCard(card: string): NewMember {
  const { signPub, kexPub, binding } = parseCard(card);
  demandBound({ signPub, kexPub }, binding, "The card");
  return { endpoint: signPub, kexPub };
}

/** Makes sure that a signing key says that the X25519 key is its own. */
export function demandBound(keys: PublicKeys, binding: Uint8Array, what: string): void {
  if (verifies(keys.signPub, bindingOf(keys), binding)) return;
  throw new StoreError("invalid", `${what} does not bear its own key's signature`);
}
