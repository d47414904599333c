/**
 * The client of the control plane that a page came from.
 *
 * @module
 */

import { Caller } from "../../client/http/caller.ts";
import { type Calls, callsOf } from "../../client/http/client.ts";
import { answerOf } from "../../client/http/failure.ts";
import { Sender } from "../../client/http/sender.ts";
import type { Me } from "../../client/types.ts";
import { isStoreError, type StoreError } from "../../core/errors.ts";
import type { User } from "../../core/model.ts";
import { digestField } from "../../signature/digest_field.ts";
import type { Signer } from "../../signature/sign.ts";

const TIMEOUT_MS = 15_000;

/** Where this page's control plane is, with a slash at the end: it may be mounted below a path. */
export function siteUrl(): string {
  return new URL(".", location.href).href;
}

/**
 * Makes what calls go through.
 *
 * @param signer Signs the requests; null for public requests
 * @param site Where the control plane is. Default: where the page came from
 */
export function callerOf(signer: Signer | null, site: string = siteUrl()): Caller {
  const sender = new Sender({
    base: new URL(site),
    signer,
    digest: async (body) =>
      digestField(
        new Uint8Array(await crypto.subtle.digest("SHA-256", body as Uint8Array<ArrayBuffer>)),
      ),
    fetch: (request) =>
      fetch(request, { credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer" }),
  });
  return new Caller(sender, { timeout: TIMEOUT_MS, retries: 2 });
}

/** Makes a client. */
export function clientOf(keys: Signer & { kexPub: string } | null): Calls {
  return callsOf(callerOf(keys), keys?.kexPub);
}

/** Why a call failed: the server's own code, or what only its caller sees. */
export function reasonOf(error: StoreError): string {
  const answer = answerOf(error);
  // An answer without a code is not the control plane's, such as a proxy's page.
  if (answer !== null) return answer.code ?? "foreign";
  return error.code === "unavailable" ? "unreachable" : error.code;
}

/** Fields whose fault is not the caller's standing. */
const NOT_STANDING = new Set(["host", "origin"]);

/** Whether a call failed because its caller is not an active user, or has not the role for it. */
export function isShutOut(error: unknown): boolean {
  return isStoreError(error) && reasonOf(error) === "forbidden" &&
    !NOT_STANDING.has(error.field ?? "");
}

/** Returns whose client it is; null: not an active user's. */
export async function meOf(client: Pick<Calls, "me">): Promise<Me & { user: User } | null> {
  const me = await client.me().catch((error) => {
    if (isShutOut(error)) return null;
    throw error;
  });
  return me?.user?.status === "active" ? { ...me, user: me.user } : null;
}
