/** HPKE in threads: what they seal opens, in order, and without them this process seals. */

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { sealForAll } from "../../src/client/rooms/membership.ts";
import { fromHex, uint } from "../../src/keys/bytes.ts";
import { createIdentity } from "../../src/keys/identity.ts";
import { Threads, withThreads } from "../../src/sealing/hpke_threads.ts";
import type { HpkeSeal } from "../../src/sealing/primitives.ts";
import { nodePrimitives, roomKeysOf } from "../../src/sealing/primitives_node.ts";
import { openRoomKey } from "../../src/sealing/sealed_key.ts";

const people = [createIdentity(), createIdentity(), createIdentity()];

/** Seals each number for one of the people, and opens what comes. */
async function opened(hpkeSeal: HpkeSeal, count: number): Promise<number[]> {
  const sealing = Array.from({ length: count }, async (_, i) => {
    const person = people[i % people.length]!;
    const info = uint(i, 4);
    const sealed = await hpkeSeal(fromHex(person.kexPub), info, uint(2 * i, 4));
    const plain = await roomKeysOf(person).hpkeOpen(info, sealed);
    return new DataView(plain.buffer, plain.byteOffset).getUint32(0);
  });
  return await Promise.all(sealing);
}

const doubled = (count: number) => Array.from({ length: count }, (_, i) => 2 * i);

/** Runs `work` with threads that run `source`. */
async function withSource(
  source: string,
  work: (threads: Threads) => Promise<void>,
  name = "hpke_threads.js",
) {
  const dir = await mkdtemp(join(tmpdir(), "unibus-threads-"));
  const file = join(dir, name);
  const threads = new Threads(pathToFileURL(file).href);
  try {
    await writeFile(join(dir, "package.json"), `{ "type": "module" }`);
    await writeFile(file, source);
    await work(threads);
  } finally {
    threads.end();
    await rm(dir, { recursive: true });
  }
}

Deno.test("what threads seal opens, each for its receiver and its place", async () => {
  assert.deepEqual(await withThreads((seal) => opened(seal, 200)), doubled(200));
});

Deno.test("a large room: each member gets the key in its order, by threads", async () => {
  const owner = createIdentity();
  const members = Array.from({ length: 501 }, (_, i) => people[i % people.length]!)
    .map((it) => ({ endpoint: it.signPub, kexPub: it.kexPub }));
  const place = { roomId: "hall", epoch: 3 };
  const roomKey = crypto.getRandomValues(new Uint8Array(32));
  let used = 0;
  const inThreads: typeof withThreads = (work) =>
    withThreads((hpkeSeal) => work((...it) => (used++, hpkeSeal(...it))));
  const context = { primitives: { ...nodePrimitives, inThreads }, keys: roomKeysOf(owner) };
  const found = await sealForAll(context, place, roomKey, members);
  assert.equal(used, 501);
  for (const [i, { endpoint, sealedKey }] of found.entries()) {
    assert.equal(endpoint, members[i]!.endpoint);
    const keys = roomKeysOf(people[i % people.length]!);
    assert.deepEqual(
      await openRoomKey(nodePrimitives, keys, place, owner.signPub, sealedKey),
      roomKey,
    );
  }
});

Deno.test("threads start, no more than four", async () => {
  const threads = new Threads();
  await threads.start(9);
  assert.equal(threads.size, 4);
  assert.deepEqual(await opened((...it) => threads.seal(it), 200), doubled(200));
  assert.equal(threads.size, 4, "none failed");
  threads.end();
});

Deno.test("a key that cannot be sealed for fails alone", async () => {
  await withThreads(async (seal) => {
    const bad = seal(new Uint8Array(32), uint(0, 4), uint(0, 4));
    const good = opened(seal, 10);
    await assert.rejects(async () => await bad);
    assert.deepEqual(await good, doubled(10));
  });
});

Deno.test("a bundle starts no thread: it would run all of the bundle", async () => {
  const endless = "setInterval(() => {}, 1000)";
  await withSource(endless, async (threads) => {
    await threads.start(2);
    assert.equal(threads.size, 0);
    assert.deepEqual(await opened((...it) => threads.seal(it), 100), doubled(100));
  }, "bundle.js");
});

Deno.test("where the runtime starts no thread, this process seals", async () => {
  // Node refuses the address at once, Deno when nothing answers there.
  const threads = new Threads("https://127.0.0.1:9/hpke_threads.js");
  await threads.start(2);
  assert.deepEqual(await opened((...it) => threads.seal(it), 100), doubled(100));
  threads.end();
});

for (
  const [what, source] of [
    ["cannot start", `import "./nowhere.js";`],
    ["fails at once", `throw new Error("no");`],
    [
      "fails at its first work",
      `
      import { parentPort } from "node:worker_threads";
      (parentPort ?? globalThis).onmessage = () => { throw new Error("no"); };`,
    ],
  ] as const
) {
  Deno.test(`a thread that ${what} costs nothing but time`, async () => {
    await withSource(source, async (threads) => {
      await threads.start(2);
      assert.deepEqual(await opened((...it) => threads.seal(it), 200), doubled(200));
      assert.equal(threads.size, 0);
      assert.deepEqual(await opened((...it) => threads.seal(it), 10), doubled(10));
    });
  });
}

Deno.test("what a thread has answered before it fails is not taken twice", async () => {
  const source = `
    import { parentPort } from "node:worker_threads";
    const port = parentPort ?? globalThis;
    port.onmessage = () => { port.postMessage(null); throw new Error("no"); };`;
  await withSource(source, async (threads) => {
    await threads.start(2);
    assert.deepEqual(await opened((...it) => threads.seal(it), 200), doubled(200));
    for (const end = Date.now() + 60_000; threads.size > 0 && Date.now() < end;) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.equal(threads.size, 0);
  });
});
