/** What a key may sign: no two kinds have bytes in common, and a signer signs its own kind only. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { bytesOfHead } from "../../src/history/heads.ts";
import { cardOf, createIdentity, lockIdentity } from "../../src/client/mod.ts";
import { bindingOf } from "../../src/keys/identity_format.ts";
import { type NewSession, sessionBytes } from "../../src/keys/codec/session.ts";
import { encodeJwt } from "../../src/nats/callout/jwt.ts";
import { handoverBytes } from "../../src/keys/codec/handover.ts";
import { createNkey } from "../../src/keys/nkey.ts";
import { MessageSealer } from "../../src/sealing/message.ts";
import { sealRoomKey } from "../../src/sealing/sealed_key.ts";
import { nodePrimitives } from "../../src/sealing/primitives_node.ts";
import { FIRST_BYTES, isNonce, kindOf, type SignedKind } from "../../src/keys/forms.ts";
import { signRequest } from "../../src/signature/mod.ts";

/** Notes what the real code has signed, whatever the kind. */
function recorder() {
  const signed: { by: string; data: Uint8Array }[] = [];
  const note = (by: string) => (data: Uint8Array) => {
    signed.push({ by, data: new Uint8Array(data) });
    return new Uint8Array(64);
  };
  const identity = {
    ...createIdentity(),
    signRequest: note("request"),
    signMessage: note("message"),
    signSealedKey: note("sealed key"),
  };
  return { identity, signed };
}

/** What a node signs of its history. */
function headBytes(head: string): Uint8Array {
  return bytesOfHead({ node: "n1", revision: "0.17", head, at: new Date().toISOString() });
}

/** What an identity signs of a session. */
function sessionOf(audience = "bus.example:8470"): NewSession {
  return { sessionPub: createIdentity().signPub, issued: 1, expires: 2, audience };
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");
const nonces = fc.stringMatching(/^[A-Za-z0-9_-]{15,64}$/);
const methods = fc.constantFrom("GET", "POST", "PUT", "DELETE", "PATCH", "get");

Deno.test("everything that this package signs is of one kind, and of no other", async () => {
  await fc.assert(
    fc.asyncProperty(
      methods,
      fc.webUrl({ withQueryParameters: true, validSchemes: ["http", "https"] }),
      fc.uint8Array({ maxLength: 200 }),
      fc.stringMatching(/^[a-z0-9]{1,20}$/),
      fc.boolean(),
      async (method, url, body, roomId, hasBody) => {
        const { identity, signed } = recorder();
        const digest = hasBody ? { digest: "sha-256=:AAAA:" } : {};
        await signRequest({ method, url, ...digest }, identity);
        const peer = createIdentity();
        const place = { roomId, epoch: 1, endpoint: peer.signPub, kexPub: peer.kexPub };
        await sealRoomKey(nodePrimitives, identity, place, new Uint8Array(randomBytes(32)));
        await new MessageSealer(nodePrimitives, identity, place, randomBytes(32)).seal(body);
        signed.push({ by: "endpoint", data: bindingOf(peer) });
        const { host } = new URL(url);
        signed.push({ by: "session", data: sessionBytes(peer.signPub, sessionOf(host)) });
        const jwt = encodeJwt({ sub: "x", nats: { body: text(body) } }, createNkey("account"));
        signed.push({ by: "token", data: Buffer.from(jwt.slice(0, jwt.lastIndexOf("."))) });
        const [from, to] = [peer.signPub, createIdentity().signPub];
        signed.push({ by: "hand-over", data: handoverBytes(roomId, { from, to, epoch: 7 }) });
        signed.push({ by: "history head", data: headBytes(randomBytes(32).toString("hex")) });
        assert.equal(signed.length, 8);
        for (const { by, data } of signed) {
          assert.equal(kindOf(data), by);
          assert.ok(!isNonce(text(data)));
          const first = FIRST_BYTES[by as keyof typeof FIRST_BYTES];
          assert.ok(text(data).startsWith(first), by);
        }
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("first bytes of two kinds are never the beginning of one another, nor of a nonce", () => {
  const all = Object.values(FIRST_BYTES);
  for (const one of all) {
    assert.ok(all.every((other) => other === one || !other.startsWith(one)), one);
    // So no nonce, of whatever length, begins with them.
    assert.match(one, /[^A-Za-z0-9_-]/);
  }
});

Deno.test("the forms are pairwise disjoint: bytes of any making are of one kind at most", () => {
  const pieces = fc.oneof(
    nonces,
    fc.string(),
    fc.constantFrom(...Object.values(FIRST_BYTES), '\n"@signature-params": (', "\0", ".", "e30"),
  );
  const forms: Record<SignedKind, (data: string) => boolean> = {
    request: (it) => it.startsWith('"'),
    nonce: (it) => /^[A-Za-z0-9_-]{15,64}$/.test(it),
    message: (it) => it.startsWith("signature of unibus message v1\0"),
    "sealed key": (it) => it.startsWith("signature of unibus sealed key v1\0"),
    endpoint: (it) => it.startsWith("unibus endpoint v1\0") && it.length === 83,
    session: (it) => it.startsWith("unibus bus session v1\0"),
    token: (it) => it.startsWith("eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ."),
    "hand-over": (it) => it.startsWith("unibus handover v1\0"),
    "history head": (it) => it.startsWith("unibus history head v1\0"),
  };
  fc.assert(
    fc.property(fc.array(pieces, { minLength: 1, maxLength: 6 }), (parts) => {
      const data = Buffer.from(parts.join(""), "latin1");
      const of = Object.entries(forms).filter(([, has]) => has(text(data))).map(([kind]) => kind);
      assert.ok(of.length <= 1, of.join());
      const kind = kindOf(data);
      if (kind !== null) assert.deepEqual(of, [kind]);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("a signer refuses what is of another kind, and bytes that are of none", async () => {
  const { identity: recording, signed } = recorder();
  await signRequest({ method: "POST", url: "https://bus.example/v1/users" }, recording);
  const place = { roomId: "a", epoch: 1, endpoint: recording.signPub, kexPub: recording.kexPub };
  await sealRoomKey(nodePrimitives, recording, place, new Uint8Array(32));
  const sealer = new MessageSealer(nodePrimitives, recording, place, new Uint8Array(32));
  await sealer.seal(new Uint8Array());
  const identity = createIdentity();
  const user = createNkey("user");
  const signers: Record<string, (data: Uint8Array) => Uint8Array> = {
    request: identity.signRequest,
    message: identity.signMessage,
    "sealed key": identity.signSealedKey,
    "hand-over": identity.signHandover,
    nonce: (it) => identity.signNonce(text(it)),
    "nonce of a service": (it) => user.signNonce(text(it)),
    token: (it) => user.signToken(text(it)),
    "history head": (it) => user.signHistoryHead(text(it)),
  };
  const header = FIRST_BYTES.token;
  const session = sessionBytes(identity.signPub, sessionOf());
  const [from, to] = [identity.signPub, createIdentity().signPub];
  const statement = handoverBytes("kitchen", { from, to, epoch: 1 });
  const samples: [string, Uint8Array][] = [
    ...signed.map(({ by, data }) => [by, data] as [string, Uint8Array]),
    ["nonce", Buffer.from("A".repeat(15))],
    ["nonce", Buffer.from("-_".repeat(32))],
    ["token", Buffer.from(`${header}e30`)],
    ["endpoint", bindingOf(identity)],
    ["session", session],
    ["none", session.subarray(0, -1)],
    ["none", Buffer.concat([session, Buffer.from("x")])],
    ["none", Buffer.from(session.map((byte, i) => i === session.length - 1 ? 65 : byte))],
    ["none", session.subarray(0, 104)],
    ["none", Buffer.from(FIRST_BYTES.session)],
    ["hand-over", statement],
    ["hand-over", handoverBytes("é".repeat(128), { from, to, epoch: 2 ** 31 - 1 })],
    ["none", statement.subarray(0, -1)],
    ["none", Buffer.concat([statement, Buffer.from("\0")])],
    ["none", handoverBytes("", { from, to, epoch: 1 })],
    ["none", handoverBytes("é".repeat(129), { from, to, epoch: 1 })],
    ["none", Buffer.from(FIRST_BYTES["hand-over"])],
    ["history head", headBytes("0f".repeat(32))],
    ["none", headBytes("0F".repeat(32))],
    ["none", headBytes("0f".repeat(31))],
    ["none", Buffer.concat([headBytes("0f".repeat(32)), Buffer.from("\n")])],
    ["none", Buffer.from(FIRST_BYTES["history head"])],
    ["none", Buffer.from("A".repeat(14))],
    ["none", Buffer.from("A".repeat(65))],
    ["none", Buffer.from(`${"A".repeat(20)}\n`)],
    ["none", Buffer.from(`${"A".repeat(20)}=`)],
    ["none", Buffer.from('"@method": GET')],
    ["none", Buffer.from('"@method": GET\n"@signature-params": ("@method")\n')],
    ["none", Buffer.from('"@method": é\n"@signature-params": ("@method")')],
    ["none", Buffer.from(`${header}e30.x`)],
    ["none", Buffer.from(header)],
    ["none", bindingOf(identity).subarray(1)],
    ["none", bindingOf(identity).subarray(0, -1)],
    ["none", new Uint8Array()],
  ];
  for (const [kind, data] of samples) {
    assert.equal(kindOf(data), kind === "none" ? null : kind, text(data));
    for (const [name, sign] of Object.entries(signers)) {
      if (name.startsWith(kind)) assert.equal(sign(data).length, 64, name);
      else assert.throws(() => sign(data), { code: "refused" }, `${name}: ${text(data)}`);
    }
  }
  // What takes no bytes has no other form to be given.
  assert.equal(identity.signSession(sessionOf()).length, 64);
  assert.match(cardOf(identity), /^unibus1\./);
  assert.match(await lockIdentity(identity, "a passphrase"), /"binding"/);
});

Deno.test("docs/security.md lists the first bytes of every kind", () => {
  const page = readFileSync(new URL("../../docs/security.md", import.meta.url), "utf8");
  for (const first of Object.values(FIRST_BYTES)) {
    const shown = `\`${first.replaceAll("\0", "\\0")}\``;
    assert.ok(page.includes(shown), shown);
  }
});
