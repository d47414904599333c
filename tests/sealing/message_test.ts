/** Messages of a room: whose they are, unchanged, each once, and what is missing is seen. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { createIdentity, isSealingError } from "../../src/client/mod.ts";
import { Arrivals } from "../../src/sealing/arrivals.ts";
import { concat, toHex } from "../../src/keys/bytes.ts";
import type { SealingReason } from "../../src/sealing/error.ts";
import type { Primitives } from "../../src/sealing/primitives.ts";
import {
  type MessageHeader,
  messageOverhead,
  MessageSealer,
  openMessage,
  readHeader,
  sessionKey,
} from "../../src/sealing/message.ts";
import { NODE, type Parts, WEB, withBoth } from "./parts.ts";

const ada = createIdentity();
const bob = createIdentity();
const roomKey = new Uint8Array(randomBytes(32));
const bytesOf = (text: string) => new TextEncoder().encode(text);

/** What seals and opens messages with these primitives. */
async function withKeys({ primitives, keysOf }: Parts) {
  const keys = new Map([[ada, await keysOf(ada)], [bob, await keysOf(bob)]]);
  return {
    p: primitives,
    keys,
    sealerOf: (identity: typeof ada, roomId = "kitchen", epoch = 1, key = roomKey) =>
      new MessageSealer(primitives, keys.get(identity)!, { roomId, epoch }, key),
    async open(bytes: Uint8Array, key = roomKey): Promise<Uint8Array> {
      const header = readHeader(bytes);
      const secrets = await sessionKey(primitives, key, header);
      return new Uint8Array(await openMessage(primitives, bytes, header, secrets));
    },
  };
}

async function rejects(opening: Promise<unknown>, ...reasons: SealingReason[]): Promise<void> {
  await assert.rejects(opening, (error) => {
    assert.ok(isSealingError(error), String(error));
    assert.ok(reasons.includes(error.reason), `${error.reason}: ${error.message}`);
    return true;
  });
}

function refuses(work: () => unknown, reason: SealingReason): void {
  assert.throws(work, (error) => isSealingError(error, reason));
}

withBoth("any message of any room comes out as it went in", async (parts) => {
  const { sealerOf, open } = await withKeys(parts);
  await fc.assert(
    fc.asyncProperty(
      fc.stringMatching(/^[a-zäöü€-]{1,60}$/),
      fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      fc.uint8Array({ maxLength: 2000 }),
      async (roomId, epoch, data) => {
        const sealer = sealerOf(ada, roomId, epoch);
        const { bytes, header } = await sealer.seal(data, { now: 1234 });
        assert.deepEqual(readHeader(bytes), header);
        assert.deepEqual(
          { ...header, session: "" },
          {
            kind: "content",
            epoch,
            sender: ada.signPub,
            session: "",
            seq: 0,
            sentAt: 1234,
            roomId,
          },
        );
        assert.deepEqual(await open(bytes), new Uint8Array(data));
        assert.equal(bytes.length, data.length + messageOverhead(roomId));
      },
    ),
    { numRuns: 100 },
  );
});

/** The key and the commitment of a session, hex. */
async function derived(primitives: Primitives, header: MessageHeader) {
  let key = "";
  const aesGcm = (bytes: Uint8Array) => {
    key = toHex(bytes);
    return primitives.aesGcm(bytes);
  };
  const { commitment } = await sessionKey({ ...primitives, aesGcm }, roomKey, header);
  return { key, commitment: toHex(commitment) };
}

withBoth(
  "no two messages, sessions, senders, epochs or rooms share a key and a nonce",
  async (parts) => {
    const { p, sealerOf } = await withKeys(parts);
    const seen = new Set<string>();
    const sealers = [
      sealerOf(ada),
      sealerOf(ada), // after a restart
      sealerOf(bob),
      sealerOf(ada, "kitchen", 2),
      sealerOf(ada, "hall"),
    ];
    for (const it of sealers) {
      for (let i = 0; i < 3; i++) {
        const { header, bytes } = await it.seal(bytesOf("the same"), { now: 1 });
        assert.equal(header.seq, i);
        const { key } = await derived(p, header);
        seen.add(`${key} ${header.seq}`);
        seen.add(toHex(bytes.subarray(messageOverhead(header.roomId) - 80, -64)));
      }
    }
    assert.equal(seen.size, 2 * 3 * sealers.length);
    // Each of these alone makes another key, and another commitment.
    const { header } = await sealers[0]!.seal(bytesOf("x"));
    const others = await Promise.all([
      {},
      { sender: bob.signPub },
      { epoch: 2 },
      { session: "00".repeat(16) },
      { roomId: "hall" },
    ].map((more) => derived(p, { ...header, ...more })));
    for (const part of ["key", "commitment"] as const) {
      assert.equal(new Set(others.map((it) => it[part])).size, others.length);
    }
  },
);

withBoth("every bit of a message that is changed is found, and named", async (parts) => {
  const { sealerOf, open } = await withKeys(parts);
  const { bytes } = await sealerOf(ada).seal(bytesOf("soup"));
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = new Uint8Array(bytes);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    await rejects(open(changed), "tampered", "malformed", "newer_version");
  }
  for (let length = 0; length < bytes.length; length++) {
    await rejects(open(bytes.subarray(0, length)), "malformed", "tampered");
  }
  await rejects(open(concat(bytes, new Uint8Array(1))), "tampered");
});

withBoth("bytes that nobody sealed are refused, whatever they are", async (parts) => {
  const { open } = await withKeys(parts);
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), fc.boolean(), async (noise, isVersion1) => {
      const bytes = new Uint8Array(noise);
      if (isVersion1 && bytes.length > 1) bytes.set([1, 0]);
      await rejects(open(bytes), "tampered", "malformed", "newer_version");
    }),
    { numRuns: 300 },
  );
});

/** Writes a message's header anew, as who knows the room key could. */
function rewritten(bytes: Uint8Array, at: number, value: Uint8Array): Uint8Array {
  const changed = new Uint8Array(bytes);
  changed.set(value, at);
  return changed;
}

withBoth(
  "a member cannot speak as another, nor move a message to another epoch, session or room",
  async (parts) => {
    const { p, keys, sealerOf, open } = await withKeys(parts);
    const { bytes } = await sealerOf(bob).seal(bytesOf("I owe you"));
    const asAda = rewritten(bytes, 6, Buffer.from(ada.signPub, "hex"));
    await rejects(open(asAda), "tampered");
    await rejects(open(rewritten(bytes, 2, new Uint8Array([0, 0, 0, 2]))), "tampered");
    await rejects(open(rewritten(bytes, 38, new Uint8Array(16))), "tampered");
    await rejects(open(rewritten(bytes, 72, bytesOf("bedroom"))), "tampered");
    // Content made to look like the owner's word, and the other way round.
    await rejects(open(rewritten(bytes, 1, new Uint8Array([1]))), "tampered");
    // With bob's own key ada can seal, but not sign.
    const imposter = new MessageSealer(
      p,
      { ...keys.get(bob)!, signPub: ada.signPub },
      { roomId: "kitchen", epoch: 1 },
      roomKey,
    );
    await rejects(open((await imposter.seal(bytesOf("soup"))).bytes), "tampered");
  },
);

withBoth(
  "a message under one room key does not open, nor count as signed, under another",
  async (parts) => {
    const { p, sealerOf, open } = await withKeys(parts);
    const { bytes, header } = await sealerOf(ada).seal(bytesOf("soup"));
    const other = new Uint8Array(randomBytes(32));
    await rejects(open(bytes, other), "tampered");
    // Not even where both keys give the same cipher key: the signature is bound to the room key.
    const { cipher } = await sessionKey(p, roomKey, header);
    const { commitment } = await sessionKey(p, other, header);
    await rejects(openMessage(p, bytes, header, { cipher, commitment }), "tampered");
  },
);

Deno.test("messages sealed by one kind of primitives open with the other", async () => {
  for (const [from, to] of [[NODE, WEB], [WEB, NODE]] as const) {
    const { sealerOf } = await withKeys(from);
    const { open } = await withKeys(to);
    const sealer = sealerOf(ada);
    for (const text of ["", "soup", "x".repeat(5000)]) {
      const { bytes } = await sealer.seal(bytesOf(text));
      assert.deepEqual(await open(bytes), bytesOf(text), from.name);
    }
  }
});

withBoth("messages sealed at the same time have numbers of their own", async (parts) => {
  const { sealerOf, open } = await withKeys(parts);
  const sealer = sealerOf(ada);
  const sealed = await Promise.all(["a", "b", "c"].map((it) => sealer.seal(bytesOf(it))));
  assert.deepEqual(sealed.map((it) => it.header.seq), [0, 1, 2]);
  const opened = await Promise.all(sealed.map(({ bytes }) => open(bytes)));
  assert.deepEqual(opened, ["a", "b", "c"].map(bytesOf));
});

const headerOf = (more: Partial<MessageHeader> = {}): MessageHeader => ({
  kind: "content",
  epoch: 1,
  sender: ada.signPub,
  session: "aa".repeat(16),
  seq: 0,
  sentAt: 1_000_000,
  roomId: "kitchen",
  ...more,
});
const NOW = 1_000_000;

Deno.test("each message is taken once, in any order, and what is missing is counted", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3000), { maxLength: 300 }), (seqs) => {
      const arrivals = new Arrivals({ maxAge: 1000 });
      const taken = new Set<number>();
      let highest = -1;
      for (const seq of seqs) {
        const take = () => arrivals.take(headerOf({ seq }), NOW);
        if (taken.has(seq) || (highest >= 0 && seq <= highest - 1024)) {
          refuses(take, "replayed");
          continue;
        }
        const { missed, late } = take();
        assert.equal(late, seq < highest);
        assert.equal(missed, highest < 0 || late ? 0 : seq - highest - 1);
        taken.add(seq);
        highest = Math.max(highest, seq);
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("senders and sessions are told apart, and a restart begins anew", () => {
  const arrivals = new Arrivals({ maxAge: 1000 });
  for (const more of [{}, { sender: bob.signPub }, { session: "bb".repeat(16) }]) {
    assert.deepEqual(arrivals.take(headerOf(more), NOW), { missed: 0, late: false });
    refuses(() => arrivals.take(headerOf(more), NOW), "replayed");
  }
});

Deno.test("what is too old, or ahead of the clock, is stale", () => {
  const arrivals = new Arrivals({ maxAge: 1000 });
  refuses(() => arrivals.take(headerOf({ sentAt: NOW - 1001 }), NOW), "stale");
  refuses(() => arrivals.take(headerOf({ sentAt: NOW + 1001 }), NOW), "stale");
  arrivals.take(headerOf({ sentAt: NOW - 1000 }), NOW);
  const any = new Arrivals({ maxAge: Infinity });
  any.take(headerOf({ sentAt: 0 }), NOW);
});

Deno.test("a session that was forgotten for too many others cannot be played again", () => {
  const arrivals = new Arrivals({ maxAge: Infinity });
  const session = (i: number) => i.toString(16).padStart(32, "0");
  const all = Array.from(
    { length: 500 },
    (_, i) => headerOf({ session: session(i), sentAt: 1000 + i }),
  );
  for (const it of all) arrivals.take(it, NOW);
  for (const it of all) {
    refuses(() => arrivals.take(it, NOW), "replayed");
    refuses(() => arrivals.take({ ...it, seq: 0 }, NOW), "replayed");
  }
  // A new one is welcome all the same, and so is a forgotten one that goes on; not what it said before.
  arrivals.take(headerOf({ session: session(501), sentAt: 2000 }), NOW);
  arrivals.take({ ...all[0]!, seq: 9, sentAt: 2000 }, NOW);
  refuses(() => arrivals.take(all[0]!, NOW), "replayed");
});
