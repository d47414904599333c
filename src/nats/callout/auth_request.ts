/**
 * The question a nats-server asks of its callout: may this client connect. And the answer.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type Claims, decodeJwt, encodeJwt } from "./jwt.ts";
import { decodePublic, type NkeyPair, signPubOf, verifies, verifyingKey } from "../../keys/nkey.ts";
import type { ClientInfo, RefusalReason } from "../types.ts";

/** A question that one of our servers asked. */
export interface AuthRequest {
  /** Who the answer must be about: a key of the server's for this one question. */
  readonly userNkey: string;
  /** Who asked to connect. */
  readonly client: ClientInfo;
  /** Whether it is a plain client over TCP or WebSocket. */
  readonly plain: boolean;
  /** The user nkey the client shows, if it is one. */
  readonly nkey: string;
  /** Its signature. */
  readonly signature: string;
  /** What it signed: the nonce the server gave it. */
  readonly nonce: string;
}

/** Clocks of servers and ours may be this far apart, seconds. */
const SKEW = 30;

/**
 * Reads a question, `null` when anything in it is odd. That the server which signed it is one of ours
 * follows from the account it came in: nobody else can publish there.
 */
export function readAuthRequest(token: string, issuer: string, now: number): AuthRequest | null {
  const claims = decodeJwt(token, "server");
  if (claims === null || !isQuestion(claims, issuer, now)) return null;
  const { nats } = claims;
  const server = record(nats.server_id);
  const client = record(nats.client_info);
  const options = record(nats.connect_opts);
  const userNkey = text(nats.user_nkey);
  if (server.id !== claims.iss || decodePublic("user", userNkey) === null) return null;
  const nkey = text(options.nkey);
  return {
    userNkey,
    nkey,
    signature: text(options.sig),
    nonce: text(client.nonce),
    plain: client.kind === "Client" && (client.type === "nats" || client.type === "websocket"),
    client: {
      endpoint: signPubOf(nkey),
      host: tidy(text(client.host)),
      name: tidy(text(client.name)),
      cid: Number(client.id) || 0,
      server: text(server.id),
    },
  };
}

function isQuestion({ nats, aud, sub, exp, iat }: Claims, issuer: string, now: number): boolean {
  return nats.type === "authorization_request" && aud === "nats-authorization-request" &&
    sub === issuer && typeof exp === "number" && exp >= now - SKEW &&
    typeof iat === "number" && iat <= now + SKEW;
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** Shortens what a stranger chose, so that it cannot fill or forge a log. */
function tidy(value: string): string {
  return value.slice(0, 64).replace(/[^\x20-\x7e]/g, "?");
}

/** Nonces that were used, as long as a question that holds one could be asked again. */
export class Nonces {
  readonly #seen = new Map<string, number>();
  readonly #limit: number;

  /** Remembers at most `limit`; the oldest go first. */
  constructor(limit = 100_000) {
    this.#limit = limit;
  }

  /** Takes a nonce; false when it was taken before. */
  take(nonce: string, now: number): boolean {
    if (this.#seen.has(nonce)) return false;
    for (const [old, at] of this.#seen) {
      if (at >= now - 2 * SKEW - 5 && this.#seen.size < this.#limit) break;
      this.#seen.delete(old);
    }
    this.#seen.set(nonce, now);
    return true;
  }
}

/** Why a client's proof that it has its key is no proof; `null` when it is one. */
export function flawOf(
  { nkey, signature, nonce, plain, client }: AuthRequest,
  nonces: Nonces,
  now: number,
): { reason: RefusalReason; detail: string } | null {
  const flaw = (reason: RefusalReason, detail: string) => ({ reason, detail });
  if (!plain) return flaw("bad_kind", "It is no plain client");
  if (client.endpoint === null) {
    return flaw("no_key", nkey === "" ? "It showed no nkey" : "What it showed is no user nkey");
  }
  if (signature === "") return flaw("no_key", "It signed nothing");
  // The server tells the nonce where there is a signature; without one nothing is proved.
  if (nonce === "") return flaw("bad_signature", "The server gave it no nonce to sign");
  // Clients write base64 or base64url, with padding or without.
  const bytes = /^[A-Za-z0-9+/_-]{86}(?:==)?$/.test(signature)
    ? Buffer.from(signature, "base64")
    : Buffer.alloc(0);
  const key = verifyingKey(Buffer.from(client.endpoint, "hex"));
  if (!verifies(key, Buffer.from(nonce), bytes)) {
    return flaw("bad_signature", "The signature is not its key's over the server's nonce");
  }
  if (!nonces.take(`${client.server} ${nonce}`, now)) {
    return flaw("replay", "The nonce was used before");
  }
  return null;
}

/** Says no. The reason goes to the server's log, not to the client. */
export function refusal({ userNkey, client }: AuthRequest, reason: string, issuer: NkeyPair) {
  return answer(userNkey, client.server, { error: reason }, issuer);
}

/** What a yes holds. */
export interface Admission {
  /** The account the client is put in. */
  account: string;
  /** Its user name. */
  name: string;
  /** Milliseconds until the server ends the connection. */
  ttl: number;
  /** What it may do; everything in its account by default. */
  permissions?: object;
}

/** Says yes, within limits. */
export function admission(
  { userNkey, client }: AuthRequest,
  { account, name, ttl, permissions = {} }: Admission,
  issuer: NkeyPair,
): string {
  const jwt = encodeJwt({
    sub: userNkey,
    aud: account,
    name,
    exp: Math.floor((Date.now() + ttl) / 1000),
    nats: {
      ...permissions,
      // No limits of our own: -1 is "as the server has it", 0 would be none at all.
      subs: -1,
      data: -1,
      payload: -1,
      allowed_connection_types: ["STANDARD", "WEBSOCKET"],
      type: "user",
      version: 2,
    },
  }, issuer);
  return answer(userNkey, client.server, { jwt }, issuer);
}

function answer(sub: string, aud: string, content: object, issuer: NkeyPair): string {
  return encodeJwt(
    { sub, aud, nats: { ...content, type: "authorization_response", version: 2 } },
    issuer,
  );
}
