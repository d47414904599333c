/**
 * Sessions on the bus: a key of their own, certified by the identity for one server and at most one hour,
 * so that the identity does not sign what NATS servers send. The certificate is renewed, the key is not.
 * Has no `node:` imports, because the browser's pages connect too.
 *
 * @module
 */

import { callQuietly } from "../../core/async/callback.ts";
import { StoreError } from "../../core/errors.ts";
import { formatSession, SESSION_MS, sessionBytes } from "../../keys/codec/session.ts";
import { signPubOf } from "../../keys/codec/nkey.ts";
import type { NonceSigner, SessionSigner } from "../../keys/signers.ts";
import { type NatsAuthenticator, natsAuthenticator } from "../../nats/connection/authenticator.ts";

/** A certified key to connect to the bus with. Its certificate is renewed until it is closed. */
export interface Session extends NonceSigner, Disposable {
  /** The current certificate, which is sent along as the token. */
  readonly certificate: string;
  /** The option `authenticator` of NATS clients for JavaScript. */
  readonly authenticator: NatsAuthenticator;
  /** Their option `inboxPrefix`: the session can subscribe to no other inbox. */
  readonly inboxPrefix: string;
  /** Ends the renewals. */
  close(): void;
}

/** What a session is made of. */
export interface SessionParts {
  /** Certifies the key. */
  identity: SessionSigner;
  /** The key of a user that was made for this session. */
  key: NonceSigner;
  /** The control plane: the authority of its URL, and how far its clock is ahead, milliseconds. */
  client: { readonly authority: string; readonly clockOffset: number };
  /** How long a certificate is valid, milliseconds, at most one hour, which is the default. */
  lifetime?: number;
  /** Called when a renewal has failed, and when a server asks to sign something that is not a nonce. */
  onProblem?: (error: StoreError) => void;
}

/** Certifies a key and returns its session. */
export async function startSession(parts: SessionParts): Promise<Session> {
  const session = new LiveSession(parts);
  await session.renew();
  return session;
}

class LiveSession implements Session {
  readonly nkey: string;
  readonly inboxPrefix: string;
  readonly authenticator: NatsAuthenticator;
  readonly #parts: SessionParts;
  readonly #sessionPub: string;
  readonly #lifetime: number;
  #certificate = "";
  /** What it was issued for, and when it is due to be renewed. */
  #audience = "";
  #dueAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(parts: SessionParts) {
    const { key, lifetime = SESSION_MS, onProblem } = parts;
    this.nkey = key.nkey;
    this.inboxPrefix = `_INBOX.${key.nkey}`;
    this.#parts = parts;
    this.#sessionPub = signPubOf(key.nkey)!;
    this.#lifetime = lifetime;
    this.authenticator = natsAuthenticator(this, onProblem ? { onProblem } : {});
  }

  get certificate(): string {
    const { client } = this.#parts;
    // The timer is late on a computer that slept, the node in use may have changed, and a clock that was
    // ahead may have been set: then the certificate is not valid yet.
    const left = this.#dueAt - this.#now();
    const isTimely = left > 0 && left <= this.#lifetime / 2;
    if (client.authority !== this.#audience || !isTimely) this.#renewSoon(0);
    return this.#certificate;
  }

  signNonce(nonce: string): Uint8Array {
    return this.#parts.key.signNonce(nonce);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The control plane's time. */
  #now(): number {
    return Date.now() + this.#parts.client.clockOffset;
  }

  /** Replaces the certificate. */
  async renew(): Promise<void> {
    const { identity, client: { authority: audience } } = this.#parts;
    const issued = this.#now();
    const expires = issued + this.#lifetime;
    const session = { sessionPub: this.#sessionPub, issued, expires, audience };
    const data = sessionBytes(identity.signPub, session);
    this.#certificate = formatSession(data, await identity.signSession(session));
    this.#audience = audience;
    this.#dueAt = issued + this.#lifetime / 2;
    this.#renewSoon(this.#lifetime / 2);
  }

  #renewSoon(wait: number): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.renew().catch((cause) => {
        const error = new StoreError("unavailable", "Renewing the session failed", { cause });
        // Twenty more attempts before it expires.
        this.#renewSoon(this.#lifetime / 40);
        callQuietly(() => this.#parts.onProblem?.(error));
      });
    }, wait);
  }
}
