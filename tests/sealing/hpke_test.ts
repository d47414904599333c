/** HPKE: the RFC's vectors, and a second reading of the RFC that must come to the same. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  randomBytes,
} from "node:crypto";
import {
  AEAD_AES_128_GCM,
  AEAD_AES_256_GCM,
  AEAD_ChaCha20Poly1305,
  type AEADFactory,
  CipherSuite,
  KDF_HKDF_SHA256,
  KEM_DHKEM_X25519_HKDF_SHA256,
} from "hpke";
import { createIdentity, secretsOf } from "../../src/keys/identity.ts";
import { hpkeOpen, hpkeSeal, kexPairOf } from "../../src/sealing/hpke_node.ts";
import { withBoth } from "./parts.ts";

const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const toHex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

const INFO = hex("4f6465206f6e2061204772656369616e2055726e");
const PLAINTEXT = hex("4265617574792069732074727574682c20747275746820626561757479");
const AAD = hex("436f756e742d30");
const CONTEXTS = ["", "00", "54657374436f6e74657874"];

/** RFC 9180, appendix A.1.1 and A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, base mode. */
const RFC: { name: string; id: number; aead: AEADFactory; [vector: string]: unknown }[] = [{
  name: "A.1.1, AES-128-GCM",
  id: 1,
  aead: AEAD_AES_128_GCM,
  skEm: "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
  skRm: "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
  pkRm: "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
  enc: "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
  ct: "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a9" +
    "6d8770ac83d07bea87e13c512a",
  exports: [
    "3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee",
    "2e8f0b54673c7029649d4eb9d5e33bf1872cf76d623ff164ac185da9e88c21a5",
    "e9e43065102c3836401bed8c3c3c75ae46be1639869391d62c61f1ec7af54931",
  ],
}, {
  name: "A.2.1, ChaCha20Poly1305",
  id: 3,
  aead: AEAD_ChaCha20Poly1305,
  skEm: "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600",
  skRm: "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
  pkRm: "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a",
  enc: "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
  ct: "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db" +
    "21993c62ce81883d2dd1b51a28",
  exports: [
    "4bbd6243b8bb54cec311fac9df81841b6fd61f56538a775e7c80a9f40160606e",
    "8c1df14732580e5501b00f82b10a1647b40713191b7c1240ac80e2b68808ba69",
    "5acb09211139c43b3090489a9da433e8a30ee7188ba8b0a9a1ccf0c229283e53",
  ],
}];

/** BoringSSL's vector of the suite we use, which the RFC's appendix has not. */
const AES_256 = {
  skEm: "28e212563a8b6f068af7ff17400ff1baf23612b7a738bbaf5dfb321b2b5b431a",
  pkRm: "ac66bae9ffa270cf4a89ed9f274e30c0456babae2572aaaf002ff0d8884ab018",
  ct: "23ded2d5d90ea89d975dac4792b297240f194952d7421aacbff0474100052b6b" +
    "b8aa58d18ef6c42b6960e2e28f",
};

// The RFC read a second time, with nothing but node:crypto.

const keyOf = (secret: Uint8Array) =>
  createPrivateKey({
    key: Buffer.concat([hex("302e020100300506032b656e04220420"), secret]),
    format: "der",
    type: "pkcs8",
  });
const publicOf = (secret: Uint8Array) =>
  new Uint8Array(
    createPublicKey(keyOf(secret)).export({ format: "der", type: "spki" }).subarray(-32),
  );
const dh = (secret: Uint8Array, pub: Uint8Array) =>
  diffieHellman({
    privateKey: keyOf(secret),
    publicKey: createPublicKey({
      key: Buffer.concat([hex("302a300506032b656e032100"), pub]),
      format: "der",
      type: "spki",
    }),
  });

const AEADS = {
  1: { cipher: "aes-128-gcm", key: 16 },
  2: { cipher: "aes-256-gcm", key: 32 },
  3: { cipher: "chacha20-poly1305", key: 32 },
} as const;

function schedule(
  id: 1 | 2 | 3,
  shared: Uint8Array,
  enc: Uint8Array,
  pkR: Uint8Array,
  info = INFO,
) {
  const hmac = (key: Uint8Array, ...data: Uint8Array[]) =>
    createHmac("sha256", key).update(Buffer.concat(data)).digest();
  const text = (it: string) => Buffer.from(it);
  const labeled = (suite: Uint8Array) => ({
    extract: (salt: Uint8Array, label: string, ikm: Uint8Array) =>
      hmac(salt, text("HPKE-v1"), suite, text(label), ikm),
    expand: (prk: Uint8Array, label: string, more: Uint8Array, length: number) => {
      const front = Buffer.concat([
        new Uint8Array([length >> 8, length & 255]),
        text("HPKE-v1"),
        suite,
        text(label),
        more,
      ]);
      // No output here is longer than one block.
      return hmac(prk, front, new Uint8Array([1])).subarray(0, length);
    },
  });
  const none = new Uint8Array();
  const kem = labeled(Buffer.concat([text("KEM"), hex("0020")]));
  const secret = kem.expand(
    kem.extract(none, "eae_prk", shared),
    "shared_secret",
    Buffer.concat([enc, pkR]),
    32,
  );
  const all = labeled(Buffer.concat([text("HPKE"), hex(`00200001000${id}`)]));
  const context = Buffer.concat([
    new Uint8Array([0]),
    all.extract(none, "psk_id_hash", none),
    all.extract(none, "info_hash", info),
  ]);
  const prk = all.extract(secret, "secret", none);
  return {
    key: all.expand(prk, "key", context, AEADS[id].key),
    nonce: all.expand(prk, "base_nonce", context, 12),
  };
}

function sealAgain(id: 1 | 2 | 3, skE: Uint8Array, pkR: Uint8Array, info?: Uint8Array) {
  const enc = publicOf(skE);
  const { key, nonce } = schedule(id, dh(skE, pkR), enc, pkR, info as typeof INFO);
  const cipher = createCipheriv(AEADS[id].cipher as "aes-256-gcm", key, nonce, {
    authTagLength: 16,
  });
  return {
    enc,
    seal: (plaintext: Uint8Array, aad: Uint8Array) => {
      cipher.setAAD(aad, { plaintextLength: plaintext.length });
      const parts = [cipher.update(plaintext), cipher.final()];
      return new Uint8Array(Buffer.concat([...parts, cipher.getAuthTag()]));
    },
  };
}

for (const { name, id, aead, ...vector } of RFC) {
  const v = vector as Record<string, string> & { exports: string[] };
  Deno.test(`RFC 9180 ${name}: the library opens it, exports its secrets, seals what opens`, async () => {
    const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, aead);
    const key = await suite.DeserializePrivateKey(hex(v.skRm!), false);
    const context = await suite.SetupRecipient(key, hex(v.enc!), { info: INFO });
    assert.equal(toHex(await context.Open(hex(v.ct!), AAD)), toHex(PLAINTEXT));
    for (const [i, it] of CONTEXTS.entries()) {
      assert.equal(toHex(await context.Export(hex(it), 32)), v.exports[i]);
    }
    const pub = await suite.DeserializePublicKey(hex(v.pkRm!));
    const sealed = await suite.Seal(pub, PLAINTEXT, { info: INFO, aad: AAD });
    const { encapsulatedSecret, ciphertext } = sealed;
    const opened = await suite.Open(key, encapsulatedSecret, ciphertext, { info: INFO, aad: AAD });
    assert.equal(toHex(opened), toHex(PLAINTEXT));
  });

  Deno.test(`RFC 9180 ${name}: the second reading comes to the RFC's bytes`, () => {
    const { enc, seal } = sealAgain(id as 1 | 3, hex(v.skEm!), hex(v.pkRm!));
    assert.equal(toHex(enc), v.enc);
    assert.equal(toHex(seal(PLAINTEXT, AAD)), v.ct);
  });
}

Deno.test("AES-256-GCM: the second reading comes to BoringSSL's bytes", () => {
  const { seal } = sealAgain(2, hex(AES_256.skEm), hex(AES_256.pkRm));
  assert.equal(toHex(seal(PLAINTEXT, AAD)), AES_256.ct);
});

Deno.test("ours by node:crypto comes to the bytes of the second reading", () => {
  for (let i = 0; i < 20; i++) {
    const [once, own, info, plaintext] = [32, 32, 99, 32].map((n) =>
      new Uint8Array(randomBytes(n))
    );
    const pub = publicOf(own!);
    const sealed = hpkeSeal(pub, info!, plaintext!, kexPairOf(once!));
    const again = sealAgain(2, once!, pub, info!);
    assert.equal(toHex(sealed.enc), toHex(again.enc));
    assert.equal(toHex(sealed.ciphertext), toHex(again.seal(plaintext!, new Uint8Array())));
    assert.equal(toHex(hpkeOpen(kexPairOf(own!), info!, sealed)), toHex(plaintext!));
  }
});

withBoth("a tag of which a part is missing opens nothing", async ({ primitives }) => {
  const [key, nonce, nothing] = [new Uint8Array(32), new Uint8Array(12), new Uint8Array()];
  const cipher = await primitives.aesGcm(key);
  const tag = await cipher.seal(nonce, nothing, nothing);
  assert.equal((await cipher.open(nonce, nothing, tag)).length, 0);
  for (const length of [0, 4, 8, 12, 15]) {
    const open = async () => await cipher.open(nonce, nothing, tag.subarray(0, length));
    await assert.rejects(open, `${length} bytes`);
  }
});

withBoth(
  "our suite and the second reading open what the other sealed",
  async ({ primitives, keysOf }) => {
    const identity = createIdentity();
    const secret = new Uint8Array(secretsOf(identity).kexSeed);
    const [info, plaintext] = [new Uint8Array(randomBytes(99)), new Uint8Array(randomBytes(32))];
    const pub = publicOf(secret);
    const keys = await keysOf(identity);

    const theirs = sealAgain(2, new Uint8Array(randomBytes(32)), pub, info);
    const ciphertext = theirs.seal(plaintext, new Uint8Array());
    assert.deepEqual(
      new Uint8Array(await keys.hpkeOpen(info, { enc: theirs.enc, ciphertext })),
      plaintext,
    );

    const ours = await primitives.hpkeSeal(pub, info, plaintext);
    const opening = schedule(2, dh(secret, ours.enc), ours.enc, pub, info as typeof INFO);
    const decipher = createDecipheriv("aes-256-gcm", opening.key, opening.nonce);
    decipher.setAuthTag(ours.ciphertext.subarray(-16));
    const opened = Buffer.concat([
      decipher.update(ours.ciphertext.subarray(0, -16)),
      decipher.final(),
    ]);
    assert.deepEqual(new Uint8Array(opened), plaintext);
    await assert.rejects(async () => await keys.hpkeOpen(new Uint8Array(99), ours));

    const suite = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM);
    const again = await suite.DeserializePrivateKey(secret, false);
    const { enc } = ours;
    assert.deepEqual(
      new Uint8Array(await suite.Open(again, enc, ours.ciphertext, { info })),
      plaintext,
    );
  },
);
