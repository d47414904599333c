/**
 * Sealing against its parts: a sealed key against X25519, HKDF, AES-256-GCM and Ed25519 by
 * `node:crypto`, a message against AES-256-GCM and Ed25519.
 *
 * @module
 */

import {
  createCipheriv,
  createDecipheriv,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from "node:crypto";
import { createIdentity } from "../../src/keys/identity.ts";
import { sealForAll } from "../../src/client/rooms/membership.ts";
import { Arrivals } from "../../src/sealing/arrivals.ts";
import { MessageSealer, openMessage, readHeader, sessionKey } from "../../src/sealing/message.ts";
import { nodePrimitives, roomKeysOf } from "../../src/sealing/primitives_node.ts";
import { openRoomKey, sealRoomKey } from "../../src/sealing/sealed_key.ts";
import { alternate, median } from "./measure.ts";
import { type Row, whole } from "./table.ts";

const KEYS = 100;
const MESSAGES = 500;
const ROUNDS = 20;
const CIPHER = "aes-256-gcm";

function gcm(key: Uint8Array, nonce: Uint8Array, data: Uint8Array) {
  const cipher = createCipheriv(CIPHER, key, nonce);
  return { data: Buffer.concat([cipher.update(data), cipher.final()]), tag: cipher.getAuthTag() };
}

function unGcm(key: Uint8Array, nonce: Uint8Array, sealed: ReturnType<typeof gcm>): Uint8Array {
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: 16 });
  decipher.setAuthTag(sealed.tag);
  return Buffer.concat([decipher.update(sealed.data), decipher.final()]);
}

/** Measures sealed keys and messages. */
export async function sealing(): Promise<Row[]> {
  return [...await keys(), ...await messages()];
}

async function keys(): Promise<Row[]> {
  const [owner, member] = [createIdentity(), createIdentity()];
  const { signPub: endpoint, kexPub } = member;
  const place = { roomId: "kitchen", epoch: 1, endpoint, kexPub };
  const roomKey = new Uint8Array(randomBytes(32));
  const keys = roomKeysOf(member);
  const sealed = await sealRoomKey(nodePrimitives, owner, place, roomKey);
  const to = generateKeyPairSync("x25519");
  const from = generateKeyPairSync("ed25519");
  const nonce = new Uint8Array(12);
  const agreed = (privateKey: KeyObject, publicKey: KeyObject) =>
    new Uint8Array(
      hkdfSync("sha256", diffieHellman({ privateKey, publicKey }), "", "unibus bench", 32),
    );
  const bare = () => {
    const once = generateKeyPairSync("x25519");
    const it = gcm(agreed(once.privateKey, to.publicKey), nonce, roomKey);
    return { pub: once.publicKey, it, signature: sign(null, it.data, from.privateKey) };
  };
  const given = bare();
  const times = await alternate(ROUNDS, [
    async () => {
      for (let i = 0; i < KEYS; i++) await sealRoomKey(nodePrimitives, owner, place, roomKey);
    },
    () => {
      for (let i = 0; i < KEYS; i++) bare();
      return Promise.resolve();
    },
    async () => {
      for (let i = 0; i < KEYS; i++) {
        await openRoomKey(nodePrimitives, keys, place, owner.signPub, sealed);
      }
    },
    () => {
      for (let i = 0; i < KEYS; i++) {
        if (!verify(null, given.it.data, from.publicKey, given.signature)) throw new Error();
        unGcm(agreed(to.privateKey, given.pub), nonce, given.it);
      }
      return Promise.resolve();
    },
  ]);
  const [seal, bareSeal, open, bareOpen] = times.map((it) => median(it) / KEYS) as [
    number,
    number,
    number,
    number,
  ];
  const many = Array.from({ length: 1000 }, () => createIdentity())
    .map((it) => ({ endpoint: it.signPub, kexPub: it.kexPub }));
  const began = performance.now();
  await sealForAll({ primitives: nodePrimitives, keys: roomKeysOf(owner) }, place, roomKey, many);
  const took = performance.now() - began;
  const row = (what: string, found: number, baseline: number): Row => ({
    what,
    found: `${whole(1000 / found)}/s, ${whole(found * 1000)} µs`,
    baseline: `X25519, HKDF, AES-GCM, Ed25519: ${whole(1000 / baseline)}/s`,
    ratio: baseline / found,
    // HPKE derives six times where the baseline does once.
    goal: { least: 0.5 },
  });
  return [
    row("seal a room key", seal, bareSeal),
    row("open a room key", open, bareOpen),
    {
      what: "seal a room key for 1,000 members",
      found: `${whole(took)} ms`,
      ratio: took,
      goal: { most: 500, unit: " ms" },
    },
  ];
}

async function messages(): Promise<Row[]> {
  const identity = createIdentity();
  const roomKey = new Uint8Array(randomBytes(32));
  const sealer = new MessageSealer(
    nodePrimitives,
    identity,
    { roomId: "kitchen", epoch: 1 },
    roomKey,
  );
  const data = randomBytes(200);
  const key = randomBytes(32);
  const nonce = new Uint8Array(12);
  const pair = generateKeyPairSync("ed25519");
  const given = gcm(key, nonce, data);
  const signature = sign(null, data, pair.privateKey);
  const arrivals = new Arrivals({ maxAge: 60_000 });
  let sent: Uint8Array[] = [];
  const secrets = await sessionKey(nodePrimitives, roomKey, (await sealer.seal(data)).header);
  const times = await alternate(ROUNDS, [
    async () => {
      sent = [];
      for (let i = 0; i < MESSAGES; i++) sent.push((await sealer.seal(data)).bytes);
    },
    () => {
      for (let i = 0; i < MESSAGES; i++) sign(null, gcm(key, nonce, data).data, pair.privateKey);
      return Promise.resolve();
    },
    async () => {
      for (const bytes of sent) {
        const header = readHeader(bytes);
        await openMessage(nodePrimitives, bytes, header, secrets);
        arrivals.take(header);
      }
    },
    () => {
      for (let i = 0; i < MESSAGES; i++) {
        if (!verify(null, data, pair.publicKey, signature)) throw new Error();
        unGcm(key, nonce, given);
      }
      return Promise.resolve();
    },
  ]);
  const [seal, bareSeal, open, bareOpen] = times.map((it) => median(it) / MESSAGES) as [
    number,
    number,
    number,
    number,
  ];
  const row = (what: string, found: number, baseline: number): Row => ({
    what,
    found: `${whole(1000 / found)}/s, ${whole(found * 1000)} µs`,
    baseline: `AES-GCM, Ed25519: ${whole(1000 / baseline)}/s`,
    ratio: baseline / found,
    goal: { least: 0.6 },
  });
  return [
    row("seal a message of 200 bytes", seal, bareSeal),
    row("open a message of 200 bytes", open, bareOpen),
  ];
}
