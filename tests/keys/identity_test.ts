import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createPublicKey, randomBytes, verify } from "node:crypto";
import { inspect } from "node:util";
import { fromSeed } from "@nats-io/nkeys";
import {
  createIdentity,
  exportIdentity,
  identityFromSeed,
  importIdentity,
  isStoreError,
} from "../../src/client/mod.ts";
import { natsUserOf } from "../../src/keys/nkey.ts";

const NONCE = "AAAAAAAAAAAAAAA";

Deno.test("an identity is two key pairs, its own each time", () => {
  const ada = createIdentity();
  const bob = createIdentity();
  assert.match(ada.signPub, /^[0-9a-f]{64}$/);
  assert.match(ada.kexPub, /^[0-9a-f]{64}$/);
  assert.equal(new Set([ada.signPub, ada.kexPub, bob.signPub, bob.kexPub]).size, 4);
  const key = createPublicKey({
    key: Buffer.from(`302a300506032b6570032100${ada.signPub}`, "hex"),
    format: "der",
    type: "spki",
  });
  assert.ok(verify(null, Buffer.from(NONCE), key, ada.signNonce(NONCE)));
  assert.ok(!verify(null, Buffer.from(NONCE), key, bob.signNonce(NONCE)));
});

Deno.test("RFC 8032 and RFC 7748: the keys of known private keys are the RFCs'", () => {
  // RFC 8032, 7.1, test 1.
  const seed = Buffer.from(
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "hex",
  );
  const identity = identityFromSeed(seed);
  assert.equal(
    identity.signPub,
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
  );
  assert.equal(
    Buffer.from(fromSeed(identity.natsSeed()).sign(new Uint8Array())).toString("hex").slice(0, 32),
    "e5564300c360ac729086e2cc806e828a",
  );
  // RFC 7748, 6.1: Alice and Bob. What does not belong together is refused.
  const peer = (kexSeed: string, kexPub: string) =>
    importIdentity(JSON.stringify({
      ...JSON.parse(exportIdentity(identity)),
      kexSeed: Buffer.from(kexSeed, "hex").toString("base64url"),
      kexPub,
    }));
  peer(
    "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
    "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
  );
  peer(
    "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
  );
});

Deno.test("the same seed is the same identity", () => {
  const seed = new Uint8Array(randomBytes(32));
  const [one, two] = [identityFromSeed(seed), identityFromSeed(seed)];
  assert.equal(one.signPub, two.signPub);
  assert.equal(one.kexPub, two.kexPub);
  seed.fill(0);
  assert.deepEqual(one.signNonce(NONCE), two.signNonce(NONCE));
  for (const wrong of [new Uint8Array(31), new Uint8Array(33), "x" as unknown as Uint8Array]) {
    assert.throws(() => identityFromSeed(wrong), { code: "invalid", field: "seed" });
  }
});

Deno.test("an identity that was written is read as the same one", () => {
  for (const identity of [createIdentity(), identityFromSeed(new Uint8Array(randomBytes(32)))]) {
    const text = exportIdentity(identity);
    const read = importIdentity(text);
    assert.equal(read.signPub, identity.signPub);
    assert.equal(read.kexPub, identity.kexPub);
    assert.deepEqual(read.signNonce(NONCE), identity.signNonce(NONCE));
    assert.equal(exportIdentity(read), text);
  }
});

Deno.test("a damaged identity is refused, and none of it is shown", () => {
  const good = JSON.parse(exportIdentity(createIdentity()));
  const other = JSON.parse(exportIdentity(createIdentity()));
  const damaged: unknown[] = [
    null,
    [],
    {},
    { ...good, format: "other" },
    { ...good, signSeed: undefined },
    { ...good, signSeed: good.signSeed.slice(1) },
    { ...good, kexSeed: `${good.kexSeed}A` },
    { ...good, kexSeed: "!" + good.kexSeed.slice(1) },
    { ...good, signPub: other.signPub },
    { ...good, kexPub: other.kexPub },
    { ...good, signSeed: other.signSeed },
  ];
  for (
    const text of [
      "",
      "{",
      exportIdentity(createIdentity()).slice(0, -20),
      ...damaged.map((it) => JSON.stringify(it)),
    ]
  ) {
    assert.throws(() => importIdentity(text), (error) => {
      assert.ok(isStoreError(error, "invalid"), String(error));
      assert.ok(!inspect(error, { depth: 9 }).includes(good.signSeed.slice(2, 20)));
      return true;
    });
  }
  const newer = JSON.stringify({ ...good, version: 3 });
  assert.throws(() => importIdentity(newer), (error) => isStoreError(error, "unsupported"));
});

Deno.test("the secrets of an identity are not in it", () => {
  const identity = createIdentity();
  const { signSeed, kexSeed } = JSON.parse(exportIdentity(identity));
  const shown = inspect(identity, { depth: 9, showHidden: true }) + JSON.stringify(identity);
  assert.ok(shown.includes(identity.signPub));
  for (const secret of [signSeed, kexSeed]) assert.ok(!shown.includes(secret));
  assert.throws(() => exportIdentity({ ...identity }), (error) => isStoreError(error, "invalid"));
});

Deno.test("the NATS seed is the nkey of the same Ed25519 key", () => {
  const identity = createIdentity();
  const pair = fromSeed(identity.natsSeed());
  assert.equal(pair.getPublicKey(), natsUserOf(identity.signPub));
  assert.equal(pair.getPublicKey(), identity.nkey);
  const signature = new Uint8Array(pair.sign(Buffer.from(NONCE)));
  assert.deepEqual(signature, identity.signNonce(NONCE));
});
