/**
 * Cards: the public keys of an endpoint, signed by itself, to exchange between people.
 *
 * @module
 */

import type { NewMember, PublicKeys } from "../core/model.ts";
import { verifies } from "./ed25519.ts";
import type { Identity } from "./identity.ts";
import { bindingOf, formatCard, notBound, parseCard } from "./identity_format.ts";

/**
 * Returns the card of an identity, to give to the owner of a room. It contains no secrets. With a card
 * the owner need not trust the control plane for the X25519 key.
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
 * Reads and verifies a card. `addMember` of a client and of a store takes the result.
 *
 * @throws {StoreError} `invalid`: not a card, or its signature is not by its signing key
 */
export function readCard(card: string): NewMember {
  const { signPub, kexPub, binding } = parseCard(card);
  demandBound({ signPub, kexPub }, binding, "The card");
  return { endpoint: signPub, kexPub };
}

/**
 * Verifies that the signing key signed the X25519 key.
 *
 * @throws {StoreError} `invalid`
 */
export function demandBound(keys: PublicKeys, binding: Uint8Array, what: string): void {
  if (!verifies(keys.signPub, bindingOf(keys), binding)) throw notBound(what);
}
