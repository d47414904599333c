/**
 * Lists of many: size alone never makes one fail, and a page costs a page.
 *
 * @module
 */

import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { openJetStream, openSqlite } from "../../../mod.ts";
import type { Page, PageRequest, StoreRecord } from "../../../src/core/model.ts";
import { compareText } from "../../../src/core/order.ts";
import type { Store } from "../../../src/core/store.ts";
import { SortedTexts } from "../../../src/jetstream/cache/sorted.ts";
import { openBucket } from "../../../src/jetstream/mod.ts";
import {
  everyPage,
  fails,
  keysFor,
  newMember,
  newMembers,
  newRoom,
  newUser,
} from "../../conformance/kit/kit.ts";
import { publishing } from "../../helpers/interposed.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { type Place, placeTests } from "../../move/kit.ts";
import { fill, keyOf, roomId, rooms, users } from "../../tools/many.ts";
import { Random } from "../../tools/random.ts";
import { type Tampered, tampered } from "../tamper.ts";

const test = placeTests();
type Nats = Place["nats"];
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function filled(nats: Nats, ...records: Parameters<typeof fill>[1][]): Promise<void> {
  const { bucket, end } = await openBucket(nats);
  await fill(bucket, ...records);
  await end();
}

/** Of the reply subject of a delivered message: the consumer, and the stream's sequence. */
const DELIVERED = /\$JS\.ACK\.KV_\w+\.(unibus_\w+)\.1\.(\d+)\./g;

/** A link on which the server's words are counted, and pass at most so fast; `cut` lets nothing more through. */
class Link implements AsyncDisposable {
  bytes = 0;
  /** Milliseconds that 64 KiB take. By pieces the answers to pings could wait too long behind small ones. */
  delay = 0;
  /** Nothing passes behind so many bytes. */
  limit = Infinity;
  /** The first sequence that each consumer has brought. */
  readonly first = new Map<string, number>();
  proxy!: Tampered;

  static async to(nats: Nats): Promise<Link> {
    const link = new Link();
    link.proxy = await tampered(nats.servers, (text) => link.#pass(text));
    return link;
  }

  async *#pass(text: string): AsyncGenerator<string> {
    this.bytes += text.length;
    for (const [, consumer, sequence] of text.matchAll(DELIVERED)) {
      if (!this.first.has(consumer!)) this.first.set(consumer!, Number(sequence));
    }
    while (this.bytes > this.limit) await pause(20);
    if (this.delay === 0) yield text;
    // A busy machine reads much at once: in pieces, it is not silent for as long as all of that takes.
    else {
      for (let at = 0; at < text.length; at += 8192) {
        const piece = text.slice(at, at + 8192);
        await pause(this.delay * piece.length / 65_536);
        yield piece;
      }
    }
  }

  /** Bytes that the server sends for a call. */
  async cost(call: () => Promise<unknown>): Promise<number> {
    const before = this.bytes;
    await call();
    return this.bytes - before;
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.proxy[Symbol.asyncDispose]();
  }
}

Deno.test("sorted texts are what a sorted set is, whatever comes and goes", () => {
  const random = new Random("sorted");
  for (const size of [3, 40, 3000]) {
    const texts = Array.from({ length: size }, (_, i) => (i % 7 ? "" : "ö😀") + random.hex(2));
    const sorted = new SortedTexts();
    const set = new Set<string>();
    assert.deepEqual(sorted.after(null, 5), []);
    assert.deepEqual(sorted.after("x", 5), []);
    sorted.delete("x");
    const check = () => {
      const all = [...set].sort(compareText);
      assert.deepEqual(sorted.after(null, size), all);
      const [from, limit] = [random.integer(0, size - 1), random.integer(1, size)];
      for (const after of [texts[from]!, ""]) {
        const wanted = all.filter((it) => compareText(it, after) > 0).slice(0, limit);
        assert.deepEqual(sorted.after(after, limit), wanted);
      }
    };
    for (const [i, text] of texts.entries()) {
      for (const it of [text, texts[random.integer(0, i)]!]) {
        sorted.add(it);
        set.add(it);
      }
      if (i % 3 === 0) {
        const gone = texts[random.integer(0, size - 1)]!;
        sorted.delete(gone);
        set.delete(gone);
      }
      if (i % Math.ceil(size / 20) === 0) check();
    }
    check();
    for (const it of [...set]) {
      sorted.delete(it);
      set.delete(it);
    }
    check();
    for (let i = 0; i < 3000; i++) sorted.add(String(i).padStart(5, "0"));
    assert.equal(sorted.after("01999", 5000).length, 1000);
    sorted.clear();
    assert.deepEqual(sorted.after(null, 1), []);
  }
});

test("20,000 users are listed, though reading their keys takes far longer than opTimeout", async ({ nats }) => {
  await filled(nats, users(20_000));
  await using link = await Link.to(nats);
  await using store = await openJetStream({ ...nats, servers: link.proxy.url, opTimeout: 4000 });
  link.delay = 40;
  const begun = performance.now();
  const first = await store.listUsers({ limit: 100 });
  assert.ok(performance.now() - begun > 4000, "it did take longer");
  link.delay = 0;
  const all = Array.from({ length: 20_000 }, (_, n) => keyOf(n)).sort();
  assert.deepEqual(first.items.map((it) => it.signPub), all.slice(0, 100));
  const page = () => store.listUsers({ limit: 100, after: all[9_999]! });
  assert.ok(await link.cost(page) < 100_000, "a later page costs a page");
  assert.deepEqual((await page()).items.map((it) => it.signPub), all.slice(10_000, 10_100));
  await using other = await openJetStream(nats);
  const added = await Promise.all(Array.from({ length: 200 }, () => other.addUser(newUser())));
  assert.ok(await link.cost(page) < 400_000, "what has changed is read, not all");
  const now = [...all, ...added.map((it) => it.signPub)].sort();
  const found = await everyPage((request) => store.listUsers(request), 3000);
  assert.deepEqual(found.map((it) => it.signPub), now);
});

test("one read of a thousand records may take longer than opTimeout, as long as they come", async ({ nats }) => {
  await filled(nats, users(1000));
  await using link = await Link.to(nats);
  // Without a cache, whose own messages would wait in the link before the answer.
  const { bucket, end } = await openBucket({ ...nats, servers: link.proxy.url, create: false });
  try {
    const keys = Array.from({ length: 1000 }, (_, n) => `users.${keyOf(n)}`);
    // The answers to pings wait behind it: not for longer than the client bears.
    link.delay = 300;
    const begun = performance.now();
    assert.equal((await bucket.getMany(keys, 0, Date.now() + 1500)).size, 1000);
    assert.ok(performance.now() - begun > 1500, "it did take longer");
  } finally {
    await end();
  }
});

test("a page of a few among many may take longer than opTimeout, as long as reads are answered", async ({ nats }) => {
  await filled(
    nats,
    rooms(Array.from({ length: 2500 }, (_, n) => ({ id: roomId(n), members: [1, 0] }))),
  );
  const { servers, ...place } = nats;
  await using nc = await connect({ servers });
  const connection = publishing(nc, (subject, ...rest) => {
    const isRead = subject.startsWith("$JS.API.DIRECT.GET.");
    setTimeout(() => nc.publish(subject, ...rest), isRead ? 400 : 0);
  });
  await using store = await openJetStream({ ...place, connection, opTimeout: 1500 });
  const begun = performance.now();
  const { items } = await store.listRoomsForEndpoint(keyOf(0), { accepted: false });
  assert.deepEqual(items, []);
  assert.ok(performance.now() - begun > 1500, "it did take longer");
});

test("a list that was interrupted keeps what it has and goes on", async ({ nats }) => {
  await filled(nats, users(20_000));
  await using link = await Link.to(nats);
  await using store = await openJetStream({ ...nats, servers: link.proxy.url, opTimeout: 2000 });
  const list = () => store.listUsers({ limit: 10 });
  link.limit = link.bytes + 4_000_000;
  await fails("unavailable", list());
  link.limit = Infinity;
  const items = (await list()).items.map((it) => it.signPub);
  const all = Array.from({ length: 20_000 }, (_, n) => keyOf(n)).sort();
  assert.deepEqual(items, all.slice(0, 10));
  assert.equal((await everyPage((request) => store.listUsers(request), 5000)).length, 20_000);
  const [first, second] = [...link.first.values()];
  assert.equal(first, 1);
  assert.ok(second! > 2000, `from ${second} on`);
});

/** All pages of a list on two stores. */
async function same<T>(
  stores: Store[],
  list: (store: Store, request: PageRequest) => Promise<Page<T>>,
  size: number,
): Promise<T[]> {
  const [a, b] = await Promise.all(
    stores.map((store) => everyPage((request) => list(store, request), size)),
  );
  assert.deepEqual(a, b);
  return a!;
}

test("a page of the rooms of a user who is in 2,500 costs a page, accepted, offered or all", async ({ nats }) => {
  const of = Array.from({ length: 2500 }, (_, n) => ({ id: roomId(n), members: [1, 0] }));
  await filled(nats, rooms(of));
  await using writer = await openJetStream(nats);
  await inDir(async (dir) => {
    await using sqlite = openSqlite(`${dir}/it.db`);
    await sqlite.restore(writer.records());
    const endpoint = keyOf(0);
    for (const store of [writer, sqlite]) {
      for (const n of [3, 700, 2499]) {
        await store.removeMember(roomId(n), endpoint);
        await store.addMember(roomId(n), { endpoint, kexPub: endpoint, accepted: false });
      }
      await store.removeMember(roomId(5), endpoint);
      await store.deleteRoom(roomId(6));
    }
    await using link = await Link.to(nats);
    await using store = await openJetStream({ ...nats, servers: link.proxy.url });
    for (const accepted of [undefined, true, false]) {
      const list = (it: Store, request: PageRequest) =>
        it.listRoomsForEndpoint(endpoint, {
          ...request,
          ...accepted !== undefined && { accepted },
        });
      const found = await same([store, sqlite], list, 600);
      assert.equal(found.length, accepted === undefined ? 2498 : accepted ? 2495 : 3);
    }
    const page = () => store.listRoomsForEndpoint(endpoint, { limit: 20, after: roomId(1200) });
    assert.ok(await link.cost(page) < 40_000, "a page");
    assert.equal((await page()).items[0]!.id, roomId(1201));
  });
});

test("pages of the members and the sealed keys of a room of 2,000", async ({ nats }) => {
  await using writer = await openJetStream(nats);
  const members = newMembers(2000);
  const room = newRoom("r", { members });
  await writer.createRoom(room);
  await writer.rekeyRoom("r", { epoch: 2, sealedKeys: keysFor([room.owner, ...members]) });
  await writer.removeMember("r", members[7]!.endpoint);
  await inDir(async (dir) => {
    await using sqlite = openSqlite(`${dir}/it.db`);
    await sqlite.restore(writer.records());
    await using link = await Link.to(nats);
    await using store = await openJetStream({ ...nats, servers: link.proxy.url });
    const stores = [store, sqlite];
    assert.equal(
      (await same(stores, (it, request) => it.listMembers("r", request), 700)).length,
      2000,
    );
    for (const epoch of [undefined, 1, 2, 3]) {
      const list = (it: Store, request: PageRequest) =>
        it.listSealedKeys("r", { ...request, ...epoch !== undefined && { epoch } });
      const count = (await same(stores, list, 900)).length;
      assert.equal(count, epoch === undefined ? 4002 : epoch === 3 ? 0 : 2001);
    }
    const page = await link.cost(() => store.listMembers("r", { limit: 20 }));
    assert.ok(page < 40_000, `${page} bytes for a page`);
    // Deleted and made again: none of those before.
    await writer.deleteRoom("r");
    await fails("not_found", store.listMembers("r"));
    await fails("not_found", store.listSealedKeys("r"));
    await writer.createRoom(newRoom("r", { members: members.slice(0, 1200), encrypted: false }));
    assert.equal((await store.listMembers("r", { limit: 10_000 })).items.length, 1201);
  });
});

/** An encrypted room at an epoch, and a key for each epoch up to one, for the n-th users. */
function* rekeyed(epoch: number, upTo: Record<number, number>): Generator<StoreRecord> {
  for (const it of rooms([{ id: "r", members: Object.keys(upTo).map(Number) }])) {
    if (it.kind !== "rooms") yield it;
    else yield { kind: "rooms", record: { ...it.record, encrypted: true, epoch } };
  }
  for (const [n, last] of Object.entries(upTo)) {
    for (let at = 1; at <= last; at++) {
      const sealedKey = new Uint8Array(80).fill(at);
      const record = { roomId: "r", epoch: at, endpoint: keyOf(Number(n)), sealedKey };
      yield { kind: "room_keys", record: { ...record, createdAt: "2026-01-02T03:04:05.006Z" } };
    }
  }
}

test("a sealed key of a room rekeyed 1,100 times is read alone, and of who left the latest", async ({ nats }) => {
  await filled(nats, rekeyed(1100, { 0: 1100, 1: 1059, 2: 1098 }));
  await using writer = await openJetStream(nats);
  const [endpoint, gone, some] = [keyOf(0), keyOf(1), keyOf(2)] as [string, string, string];
  await writer.removeMember("r", gone);
  await writer.removeMember("r", some);
  const late = newMember();
  await writer.addMember("r", late);
  await using link = await Link.to(nats);
  await using store = await openJetStream({ ...nats, servers: link.proxy.url });
  let epoch = 0;
  const cost = await link.cost(async () => epoch = (await store.getSealedKey("r", endpoint)).epoch);
  assert.equal(epoch, 1100);
  assert.ok(cost < 6000, `${cost} bytes for one key`);
  assert.equal((await store.getSealedKey("r", gone)).epoch, 1059);
  assert.equal((await store.getSealedKey("r", some)).epoch, 1098);
  assert.equal((await store.getSealedKey("r", endpoint, 77)).epoch, 77);
  await fails("not_found", store.getSealedKey("r", late.endpoint));
  await fails("not_found", store.getSealedKey("r", endpoint, 1101));
  await fails("not_found", store.getSealedKey("none", endpoint));
  await writer.rekeyRoom("r", { epoch: 1101, sealedKeys: keysFor([endpoint, late]) });
  assert.equal((await store.getSealedKey("r", late.endpoint)).epoch, 1101);
});
