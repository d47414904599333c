/**
 * Ed25519 signatures of endpoints.
 *
 * @module
 */

import { verify } from "node:crypto";
import { publicKey } from "./ed25519.ts";
import { signPub as checkSignPub } from "../core/validate.ts";

/** Whether `signature` over `data` is of the owner of `signPub`; no for whatever is odd. */
export function verifies(signPub: string, data: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(null, data, publicKey(checkSignPub("signPub", signPub)), signature);
  } catch {
    return false;
  }
}
