/**
 * Malformed questions, keys and signatures: never a crash, never a yes without proof. 100,000 of them
 * with UNIBUS_LONG=1.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createPublicKey, verify } from "node:crypto";
import fc from "fast-check";
import { flawOf, Nonces, readAuthRequest } from "../../../src/nats/callout/auth_request.ts";
import { encodeJwt } from "../../../src/nats/callout/jwt.ts";
import { createIdentity } from "../../../src/keys/identity.ts";
import { formatSession, SESSION_MS, sessionBytes } from "../../../src/keys/codec/session.ts";
import { createNkey, natsUserOf, signPubOf } from "../../../src/keys/nkey.ts";

const RUNS = Deno.env.get("UNIBUS_LONG") === "1" ? 100_000 : 3_000;
const issuer = createNkey("account");
const server = createNkey("server");
const peer = createNkey("user");
const other = createNkey("user");
const NOW = Math.floor(Date.now() / 1000);
const ada = createIdentity();
/** ada's certificate for the key of the peer. */
const CERTIFICATE = certificateFor(signPubOf(peer.publicKey)!);

function certificateFor(sessionPub: string): string {
  const issued = NOW * 1000;
  const session = { sessionPub, issued, expires: issued + SESSION_MS, audience: "bus" };
  return formatSession(sessionBytes(ada.signPub, session), ada.signSession(session));
}

const odd = fc.oneof(
  fc.string({ unit: "binary", maxLength: 100 }),
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom(
    undefined,
    "",
    "U",
    "SU" + "A".repeat(56),
    "U" + "A".repeat(55),
    "=".repeat(88),
    "A".repeat(86),
    "A".repeat(88),
    "__proto__",
    "\u0000",
    CERTIFICATE.slice(0, -1),
    certificateFor(signPubOf(other.publicKey)!),
  ),
);

/** What is exchanged for something else, as a path in the question. */
const change = fc.record({
  path: fc.constantFrom(
    ["sub"],
    ["aud"],
    ["exp"],
    ["iat"],
    ["nats"],
    ["nats", "type"],
    ["nats", "server_id"],
    ["nats", "server_id", "id"],
    ["nats", "user_nkey"],
    ["nats", "client_info"],
    ["nats", "client_info", "nonce"],
    ["nats", "client_info", "kind"],
    ["nats", "client_info", "host"],
    ["nats", "connect_opts"],
    ["nats", "connect_opts", "nkey"],
    ["nats", "connect_opts", "sig"],
    ["nats", "connect_opts", "auth_token"],
  ),
  value: odd,
});

function question(
  now: number,
  nonce: string,
  signer: typeof peer,
  hasSession: boolean,
): Record<string, unknown> {
  return {
    sub: issuer.publicKey,
    aud: "nats-authorization-request",
    exp: now + 2,
    nats: {
      server_id: { id: server.publicKey },
      user_nkey: createNkey("user").publicKey,
      client_info: { id: 1, host: "h", kind: "Client", type: "nats", nonce },
      connect_opts: {
        nkey: peer.publicKey,
        sig: Buffer.from(signer.signNonce(nonce)).toString("base64"),
        ...hasSession && { auth_token: CERTIFICATE },
      },
      type: "authorization_request",
      version: 2,
    },
  };
}

function put(
  target: Record<string, unknown>,
  [name, ...rest]: readonly string[],
  value: unknown,
): void {
  if (rest.length === 0) return void (target[name!] = value);
  const inner = target[name!];
  if (typeof inner === "object" && inner !== null) {
    put(inner as Record<string, unknown>, rest, value);
  }
}

/** Whether the client proved its key, by nothing of ours. */
function isProved(nkey: string, signature: string, nonce: string): boolean {
  const hex = signPubOf(nkey);
  if (hex === null) return false;
  const spki = Buffer.from(`302a300506032b6570032100${hex}`, "hex");
  const key = createPublicKey({ key: spki, format: "der", type: "spki" });
  return verify(null, Buffer.from(nonce), key, Buffer.from(signature, "base64"));
}

Deno.test(`${RUNS} malformed questions: none crashes, none is a yes without proof`, () => {
  const nonces = new Nonces();
  const found = { unread: 0, flawed: 0, fine: 0, sessions: 0 };
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 3 }),
      fc.boolean(),
      fc.boolean(),
      fc.nat(),
      fc.option(fc.tuple(fc.nat(), fc.string({ maxLength: 4 })), { freq: 5 }),
      (changes, signedByOther, hasSession, n, cut) => {
        // Not that of the start: a question is not read that is half a minute newer than the clock.
        const now = Math.floor(Date.now() / 1000);
        const claims = question(
          now,
          `nonce-${n}-${Math.random().toString(36).slice(2)}`.padEnd(15, "x"),
          signedByOther ? other : peer,
          hasSession,
        );
        for (const { path, value } of changes) put(claims, path, value);
        let token = encodeJwt(claims as never, server);
        if (cut !== null) {
          const at = cut[0] % token.length;
          token = token.slice(0, at) + cut[1] + token.slice(at + cut[1].length);
        }
        const request = readAuthRequest(token, issuer.publicKey, now);
        if (request === null) return void found.unread++;
        const flaw = flawOf(request, nonces, now);
        if (flaw !== null) return void found.flawed++;
        found.fine++;
        if (request.session) found.sessions++;
        assert.ok(isProved(request.nkey, request.signature, request.nonce));
        // With a token, it is the certificate for this key, and the endpoint is who signed it.
        const { connect_opts: said } = claims.nats as { connect_opts: { auth_token?: string } };
        const { auth_token = "" } = said;
        const who = auth_token === "" ? signPubOf(request.nkey) : ada.signPub;
        assert.equal(request.client.endpoint, who);
        if (auth_token !== "") {
          assert.deepEqual([auth_token, request.nkey], [CERTIFICATE, peer.publicKey]);
        }
        // Asked again, it is a replay.
        assert.equal(flawOf(request, nonces, now)?.reason, "replay");
      },
    ),
    { numRuns: RUNS, endOnFailure: true },
  );
  for (const [what, count] of Object.entries(found)) assert.ok(count > 0, `${what}: ${count}`);
});

Deno.test(`${RUNS} malformed nkeys are none`, () => {
  const good = natsUserOf("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  fc.assert(
    fc.property(fc.oneof(odd, fc.nat(55)), fc.string({ minLength: 1, maxLength: 2 }), (it, by) => {
      const changed = typeof it === "number" ? good.slice(0, it) + by + good.slice(it + 1) : it;
      const text = typeof changed === "string" ? changed : JSON.stringify(changed) ?? "";
      if (text === good) return;
      assert.equal(signPubOf(text), null, text);
    }),
    { numRuns: RUNS },
  );
});
