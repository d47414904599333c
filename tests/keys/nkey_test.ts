import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import {
  createAccount,
  createServer,
  createUser,
  fromPublic,
  fromSeed,
  type KeyPair,
} from "@nats-io/nkeys";
import { toHex } from "../../src/keys/bytes.ts";
import { verifies } from "../../src/keys/ed25519.ts";
import {
  createNkey,
  decodePublic,
  encodePublic,
  natsUserOf,
  nkeyFromSeed,
  type NkeyKind,
  signPubOf,
} from "../../src/keys/nkey.ts";

const MAKERS: Record<NkeyKind, () => KeyPair> = {
  user: createUser,
  account: createAccount,
  server: createServer,
};
const KINDS = Object.keys(MAKERS) as NkeyKind[];
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

Deno.test("keys and seeds of the NATS library are read, and ours by the library", () => {
  const data = randomBytes(40);
  for (const kind of KINDS) {
    for (let i = 0; i < 20; i++) {
      const theirs = MAKERS[kind]();
      const ours = nkeyFromSeed(text(theirs.getSeed()));
      assert.equal(ours.kind, kind);
      assert.equal(ours.publicKey, theirs.getPublicKey());
      assert.equal(ours.seed, text(theirs.getSeed()));
      const made = createNkey(kind);
      assert.equal(fromSeed(new TextEncoder().encode(made.seed)).getPublicKey(), made.publicKey);
    }
    // Signing takes the library long.
    const made = createNkey(kind);
    const nonce = data.toString("base64url");
    assert.ok(fromPublic(made.publicKey).verify(Buffer.from(nonce), made.signNonce(nonce)));
    const theirs = MAKERS[kind]();
    const key = toHex(decodePublic(kind, theirs.getPublicKey())!);
    const signature = theirs.sign(data);
    assert.ok(verifies(key, data, signature));
    signature[7]! ^= 1;
    assert.ok(!verifies(key, data, signature));
    assert.ok(!verifies(key, data, signature.subarray(1)));
  }
});

Deno.test("a signPub and its nkey are the same 32 bytes, both ways", () => {
  for (let i = 0; i < 200; i++) {
    const hex = randomBytes(32).toString("hex");
    const nkey = natsUserOf(hex);
    assert.match(nkey, /^U[A-Z2-7]{55}$/);
    assert.equal(signPubOf(nkey), hex);
    assert.equal(natsUserOf(hex.toUpperCase()), nkey);
  }
  for (const wrong of ["", "ab", "g".repeat(64), "00".repeat(32)]) {
    assert.throws(() => natsUserOf(wrong), { code: "invalid" });
  }
});

Deno.test("signPubOf() takes no text but a user key's, and no small-order point", () => {
  const nkey = createNkey("user").publicKey;
  const last = nkey.at(-1) === "A" ? "B" : "A";
  const wrong = [
    "",
    "U",
    nkey.slice(1),
    nkey + "A",
    nkey.toLowerCase(),
    nkey.slice(0, -1) + last,
    nkey.slice(0, 9) + (nkey[9] === "A" ? "B" : "A") + nkey.slice(10),
    nkey.slice(0, 9) + "1" + nkey.slice(10),
    nkey.slice(0, 9) + "é" + nkey.slice(10),
    ` ${nkey}`,
    createNkey("account").publicKey,
    createNkey("server").publicKey,
    createNkey("user").seed,
    encodePublic("user", new Uint8Array(32)),
    encodePublic("user", Buffer.from("01".padEnd(64, "0"), "hex")),
  ];
  for (const it of wrong) assert.equal(signPubOf(it), null, it);
});

Deno.test("nkeyFromSeed() refuses whatever is no seed, and does not repeat it", () => {
  const { seed, publicKey } = createNkey("user");
  // The last letter holds two bits that mean nothing: a second spelling of the same seed.
  const spelled = seed.slice(0, -1) + String.fromCharCode(seed.charCodeAt(57) + 1);
  for (const wrong of ["", "SU", publicKey, seed.slice(1), seed + "A", spelled, `${seed}\n`]) {
    assert.throws(() => nkeyFromSeed(wrong, "seed"), (error: Error) => {
      assert.equal(error.message, "seed is not the seed of an nkey");
      return true;
    });
  }
});

Deno.test("a key pair's seed does not show when it is printed as text or JSON by mistake", () => {
  const pair = createNkey("user");
  assert.ok(!`${pair}`.includes(pair.seed));
  assert.ok(!JSON.stringify(pair).includes(pair.seed));
  assert.ok(!Deno.inspect(pair).includes(pair.seed));
});
