/** Identities under a passphrase, cards, and the files they are kept in. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createCipheriv, randomBytes, scryptSync } from "node:crypto";
import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { fromSeed } from "@nats-io/nkeys";
import fc from "fast-check";
import {
  cardOf,
  createIdentity,
  exportIdentity,
  type Identity,
  importIdentity,
  isStoreError,
  lockIdentity,
  readCard,
  readIdentity,
  type StoreErrorCode,
  unlockIdentity,
  writeIdentity,
} from "../../src/client/mod.ts";
import { publicIdentity } from "../../src/keys/passphrase.ts";

const PASSPHRASE = "correct horse battery staple";
const NONCE = "AAAAAAAAAAAAAAA";

/** Gives a directory of its own, for Node too. */
async function inDir(work: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "unibus-identity-"));
  await work(dir).finally(() => rm(dir, { recursive: true }));
}

/**
 * Writes the format from its description, and so as another program would: cheaper, for tests that open
 * it many times.
 */
function written(
  identity: Identity,
  passphrase: string | Uint8Array = PASSPHRASE,
  change: Record<string, unknown> = {},
): string {
  const { signSeed, kexSeed } = JSON.parse(exportIdentity(identity));
  const { signPub, kexPub } = identity;
  const [salt, nonce] = [randomBytes(16), randomBytes(12)];
  const hex = (it: string) => Buffer.from(it, "hex");
  const binding = Buffer.from(
    fromSeed(identity.natsSeed()).sign(
      Buffer.concat([Buffer.from("unibus endpoint v1\0"), hex(signPub), hex(kexPub)]),
    ),
  ).toString("base64url");
  const key = scryptSync(passphrase, salt, 32, { N: 2 ** 14, r: 8, p: 1 });
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  const lines = ["unibus-identity", 2, signPub, kexPub, binding, "scrypt", 2 ** 14, 8, 1];
  const more = [salt.toString("base64url"), "AES-256-GCM", nonce.toString("base64url")];
  cipher.setAAD(Buffer.from([...lines, ...more].join("\n")));
  const seeds = [signSeed, kexSeed].map((it: string) => Buffer.from(it, "base64url"));
  const parts = [cipher.update(Buffer.concat(seeds)), cipher.final(), cipher.getAuthTag()];
  return JSON.stringify(
    {
      format: "unibus-identity",
      version: 2,
      signPub,
      kexPub,
      binding,
      kdf: { name: "scrypt", n: 2 ** 14, r: 8, p: 1, salt: more[0] },
      cipher: { name: "AES-256-GCM", nonce: more[2] },
      sealed: Buffer.concat(parts).toString("base64url"),
      ...change,
    },
    null,
    2,
  ) + "\n";
}

async function refuses(
  opening: Promise<unknown>,
  code: StoreErrorCode = "invalid",
  secrets: string[] = [],
): Promise<void> {
  await assert.rejects(opening, (error) => {
    assert.ok(isStoreError(error, code), String(error));
    for (const it of [PASSPHRASE, ...secrets]) {
      assert.ok(!inspect(error, { depth: 9 }).includes(it));
    }
    return true;
  });
}

Deno.test("an identity under a passphrase opens with it, and holds nothing of its keys without", async () => {
  const identity = createIdentity();
  const { signSeed, kexSeed } = JSON.parse(exportIdentity(identity));
  const text = await lockIdentity(identity, PASSPHRASE);
  const { kdf, cipher, version } = JSON.parse(text);
  assert.deepEqual([version, kdf.n, kdf.r, kdf.p, cipher.name], [2, 131072, 8, 1, "AES-256-GCM"]);
  for (const secret of [signSeed, kexSeed, PASSPHRASE]) assert.ok(!text.includes(secret));
  const read = await unlockIdentity(text, PASSPHRASE);
  assert.deepEqual(read.signNonce(NONCE), identity.signNonce(NONCE));
  assert.equal(exportIdentity(read), exportIdentity(identity));
  await refuses(unlockIdentity(text, `${PASSPHRASE} `));
  await refuses(unlockIdentity(text));
  await refuses(unlockIdentity(text, ""));
  await refuses(lockIdentity(identity, ""));
  assert.throws(() => importIdentity(text), (error) => isStoreError(error, "unsupported"));
  assert.notEqual(await lockIdentity(identity, PASSPHRASE), text);
});

Deno.test("what another program writes from the description is read; a plain one needs no passphrase", async () => {
  const identity = createIdentity();
  const read = await unlockIdentity(written(identity), () => PASSPHRASE);
  assert.equal(exportIdentity(read), exportIdentity(identity));
  const plain = await unlockIdentity(exportIdentity(identity), () => {
    throw new Error("was asked");
  });
  assert.equal(plain.signPub, identity.signPub);
  // Whichever way a keyboard composes its letters.
  const composed = written(identity, Buffer.from("h\u00e4s"));
  assert.equal((await unlockIdentity(composed, "ha\u0308s")).signPub, identity.signPub);
});

Deno.test("its public part is known without the passphrase, and cannot be another's", () => {
  const [identity, other] = [createIdentity(), createIdentity()];
  for (const text of [written(identity), exportIdentity(identity)]) {
    const { signPub, kexPub, card } = publicIdentity(text);
    assert.deepEqual([signPub, kexPub], [identity.signPub, identity.kexPub]);
    assert.deepEqual(readCard(card), { endpoint: signPub, kexPub });
  }
  const { binding } = JSON.parse(written(other));
  for (const change of [{ kexPub: other.kexPub }, { signPub: other.signPub }, { binding }]) {
    const text = written(identity, PASSPHRASE, change);
    assert.throws(() => publicIdentity(text), (error) => isStoreError(error, "invalid"));
  }
});

Deno.test("every byte of the file that is changed is found", async () => {
  const identity = createIdentity();
  const text = written(identity);
  const rows = Array.from({ length: text.length }, (_, at) => {
    const bytes = Buffer.from(text);
    bytes[at]! ^= 1 << (at % 7);
    return bytes.toString("latin1");
  });
  let same = 0;
  while (rows.length > 0) {
    await Promise.all(
      rows.splice(0, 16).map(async (changed) => {
        try {
          const read = await unlockIdentity(changed, PASSPHRASE);
          assert.equal(exportIdentity(read), exportIdentity(identity), changed);
          same++;
        } catch (error) {
          assert.ok(
            isStoreError(error, "invalid") || isStoreError(error, "unsupported"),
            `${error}`,
          );
        }
      }),
    );
  }
  assert.equal(same, 0);
});

Deno.test("a file that asks for weak or ruinous work, or is odd in any way, is refused before any", async () => {
  const identity = createIdentity();
  const good = JSON.parse(written(identity));
  const kdf = (more: object) => ({ ...good, kdf: { ...good.kdf, ...more } });
  const cipher = (more: object) => ({ ...good, cipher: { ...good.cipher, ...more } });
  const odd: unknown[] = [
    ...[1, 2 ** 13, 2 ** 14 + 1, 2 ** 19, 2 ** 30, 1e308, -1, "16384", null].map((n) => kdf({ n })),
    ...[0, 1, 16, 2 ** 20].map((r) => kdf({ r })),
    ...[0, 5, 2 ** 20].map((p) => kdf({ p })),
    kdf({ name: "argon2id" }),
    kdf({ salt: "" }),
    kdf({ salt: good.kdf.salt + "AA" }),
    cipher({ name: "none" }),
    cipher({ nonce: "AAAA" }),
    { ...good, kdf: undefined },
    { ...good, cipher: [] },
    { ...good, sealed: good.sealed.slice(2) },
    { ...good, signPub: good.signPub.toUpperCase() },
    // Another way to write the same bytes: its last bits are not looked at by most readers.
    { ...good, sealed: good.sealed.slice(0, -1) + "_" },
  ];
  const began = performance.now();
  for (const it of odd) {
    await refuses(unlockIdentity(JSON.stringify(it), () => assert.fail("asked")));
  }
  assert.ok(performance.now() - began < 30_000);
  await refuses(unlockIdentity(" ".repeat(1e6) + JSON.stringify(good), PASSPHRASE));
  await refuses(unlockIdentity(JSON.stringify({ ...good, version: 3 }), PASSPHRASE), "unsupported");
});

Deno.test("any text is an identity or a StoreError", async () => {
  const good = JSON.parse(written(createIdentity()));
  const keys = Object.keys(good);
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...keys), fc.jsonValue(), async (key, value) => {
      if (JSON.stringify(good[key]) === JSON.stringify(value)) return;
      await assert.rejects(
        unlockIdentity(JSON.stringify({ ...good, [key]: value }), "x"),
        (error) => isStoreError(error),
      );
    }),
    { numRuns: 300 },
  );
});

Deno.test("a card is signed by its own key: every bit that is changed is found", () => {
  const identity = createIdentity();
  const card = cardOf(identity);
  assert.equal(card.length, 179);
  assert.deepEqual(readCard(` ${card}\n`), { endpoint: identity.signPub, kexPub: identity.kexPub });
  for (let at = 0; at < card.length; at++) {
    for (const bit of [1, 2, 4, 8, 16, 32]) {
      const changed = card.slice(0, at) + String.fromCharCode(card.charCodeAt(at) ^ bit) +
        card.slice(at + 1);
      assert.throws(() => readCard(changed), (error) => isStoreError(error, "invalid"), changed);
    }
  }
  for (const it of ["", "unibus1.", card.slice(0, -1), `${card}A`, null, 7]) {
    assert.throws(() => readCard(it as string), (error) => isStoreError(error, "invalid"));
  }
});

Deno.test("files are for their owner's eyes, whole or not there, and never replaced unasked", () =>
  inDir(async (dir) => {
    const identity = createIdentity();
    for (const passphrase of [undefined, PASSPHRASE]) {
      const file = `${dir}/${passphrase === undefined ? "plain" : "locked"}.json`;
      const options = passphrase === undefined ? {} : { passphrase };
      await writeIdentity(file, identity, options);
      assert.equal(statSync(file).mode & 0o777, 0o600);
      assert.equal((await readIdentity(file, options)).signPub, identity.signPub);
      const text = readFileSync(file, "utf8");
      await refuses(writeIdentity(file, createIdentity(), options), "refused");
      assert.equal(readFileSync(file, "utf8"), text);
      await writeIdentity(file, identity, { ...options, replace: true });
      for (const mode of [0o640, 0o604, 0o660]) {
        chmodSync(file, mode);
        await assert.rejects(readIdentity(file, options), (error) => {
          assert.ok(isStoreError(error, "refused"), String(error));
          assert.ok(error.message.includes(`0${mode.toString(8)}`), error.message);
          return true;
        });
        const read = await readIdentity(file, { ...options, allowOpen: true });
        assert.equal(read.signPub, identity.signPub);
      }
    }
    await refuses(readIdentity(`${dir}/none.json`), "not_found");
    await refuses(readIdentity(dir));
    await refuses(writeIdentity(`${dir}/no/such/dir.json`, identity), "unavailable");
    writeFileSync(`${dir}/big.json`, "x".repeat(1e6), { mode: 0o600 });
    await refuses(readIdentity(`${dir}/big.json`));
    assert.deepEqual(readdirSync(dir).sort(), ["big.json", "locked.json", "plain.json"]);
    assert.ok(!existsSync(`${dir}/no`));
  }));
