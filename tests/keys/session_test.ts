/** Certificates of sessions: what is signed, the text, and what is none. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { createIdentity, identityFromSeed } from "../../src/client/mod.ts";
import { concat, fromHex, toBase64url, toHex, uint, utf8 } from "../../src/keys/bytes.ts";
import {
  formatSession,
  type NewSession,
  parseSession,
  SESSION_MS,
  sessionBytes,
} from "../../src/keys/codec/session.ts";
import { verifies } from "../../src/keys/ed25519.ts";
import { isAudience, kindOf } from "../../src/keys/forms.ts";
import { keysOf } from "../../src/web/shared/keys.ts";
import { sessionFlaw } from "../../src/nats/callout/auth_request.ts";
import { secretsOf } from "../../src/keys/identity.ts";

const RUNS = Deno.env.get("UNIBUS_LONG") === "1" ? 100_000 : 1_000;
const ada = createIdentity();
const { signPub: sessionPub } = createIdentity();
const NOW = 1_795_000_000_000;
const SESSION: NewSession = {
  sessionPub,
  issued: NOW,
  expires: NOW + SESSION_MS,
  audience: "bus.example:8470",
};

/** A certificate by an identity. */
function certificateBy(identity: typeof ada, session: NewSession): string {
  return formatSession(sessionBytes(identity.signPub, session), identity.signSession(session));
}

Deno.test("what is signed are the first bytes, both keys, both times and the audience, as documented", () => {
  const identity = identityFromSeed(new Uint8Array(32).fill(1));
  const session = {
    ...SESSION,
    sessionPub: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
  };
  const fields = concat(
    fromHex(identity.signPub),
    fromHex(session.sessionPub),
    uint(NOW, 8),
    uint(NOW + 3_600_000, 8),
    Uint8Array.of(0, 16),
    utf8("bus.example:8470"),
  );
  const data = sessionBytes(identity.signPub, session);
  assert.equal(toHex(data), toHex(concat(utf8("unibus bus session v1\0"), fields)));
  assert.equal(kindOf(data), "session");
  const signature = identity.signSession(session);
  assert.ok(verifies(identity.signPub, data, signature));
  const text = certificateBy(identity, session);
  assert.equal(text, `unibus-session1.${toBase64url(concat(fields, signature))}`);
  assert.deepEqual(parseSession(text), { ...session, signPub: identity.signPub, data, signature });
});

Deno.test("a browser's keys sign the same", async () => {
  const keys = await keysOf(secretsOf(ada));
  const signature = await keys.signSession(SESSION);
  assert.deepEqual(signature, ada.signSession(SESSION));
  await assert.rejects(keys.signSession({ ...SESSION, audience: "" }), { code: "invalid" });
});

Deno.test("nothing is certified for more than an hour, or for what is no server", () => {
  const wrong: [string, Partial<NewSession>][] = [
    ["expires", { expires: NOW + SESSION_MS + 1 }],
    ["expires", { expires: NOW }],
    ["expires", { expires: NaN }],
    ["issued", { issued: -1 }],
    ["issued", { issued: NOW + 0.5 }],
    ["sessionPub", { sessionPub: "00".repeat(32) }],
    ["sessionPub", { sessionPub: "ab" }],
    ["audience", { audience: "" }],
    ["audience", { audience: "Bus.example" }],
    ["audience", { audience: "https://bus.example" }],
    ["audience", { audience: "bus.example\n" }],
    ["audience", { audience: "b".repeat(260) }],
    ["audience", { audience: undefined as unknown as string }],
  ];
  for (const [field, change] of wrong) {
    const session = { ...SESSION, ...change };
    assert.throws(
      () => ada.signSession(session),
      { code: "invalid", field },
      JSON.stringify(change),
    );
  }
  for (const audience of ["b".repeat(259), "[::1]:8470", "127.0.0.1", "xn--bs-yka.example:1"]) {
    assert.ok(isAudience(audience), audience);
    assert.equal(parseSession(certificateBy(ada, { ...SESSION, audience }))?.audience, audience);
  }
});

Deno.test("what is no certificate is none", () => {
  const good = certificateBy(ada, SESSION);
  const bytes = good.slice("unibus-session1.".length);
  const none = [
    "",
    "x",
    bytes,
    "unibus-session1.",
    `unibus-session2.${bytes}`,
    good.slice(0, -1),
    `${good}A`,
    `${good}AAAA`,
    `${good}=`,
    ` ${good}`,
    `${good}\n`,
    good.replace("unibus-session1.", "unibus1."),
    `unibus-session1.${"A".repeat(199)}`,
    `unibus-session1.${"A".repeat(4000)}`,
  ];
  for (const text of none) assert.equal(parseSession(text), null, text);
});

Deno.test(`${RUNS} damaged certificates: none crashes, none is a yes`, () => {
  const good = certificateBy(ada, SESSION);
  const found = { none: 0, flawed: 0, good: 0 };
  const letters = fc.stringMatching(/^[A-Za-z0-9_-]{0,4}$/);
  fc.assert(
    fc.property(
      fc.nat(good.length),
      fc.nat(4),
      fc.oneof(letters, fc.string({ unit: "binary", maxLength: 4 })),
      (at, length, by) => {
        const text = good.slice(0, at) + by + good.slice(at + length);
        const session = parseSession(text);
        if (session === null) return void found.none++;
        // There is one text only for what was read.
        assert.equal(formatSession(session.data, session.signature), text);
        if (sessionFlaw(session, sessionPub, NOW) !== null) return void found.flawed++;
        found.good++;
        assert.equal(text, good);
      },
    ),
    { numRuns: RUNS, endOnFailure: true },
  );
  for (const [what, count] of Object.entries(found)) assert.ok(count > 0, `${what}: ${count}`);
});

Deno.test("a certificate counts for its hour, with a minute for clocks that are ahead", () => {
  const at = (now: number, change: Partial<NewSession> = {}) => {
    const session = parseSession(certificateBy(ada, { ...SESSION, ...change }));
    return sessionFlaw(session, sessionPub, now)?.reason ?? null;
  };
  assert.equal(at(NOW), null);
  assert.equal(at(NOW - 60_000), null);
  assert.equal(at(NOW - 60_001), "session_time");
  assert.equal(at(NOW + SESSION_MS - 1), null);
  assert.equal(at(NOW + SESSION_MS), "session_time");
  assert.equal(at(NOW + 1000, { expires: NOW + 1000 }), "session_time");
});
