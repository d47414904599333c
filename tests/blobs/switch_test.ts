/**
 * Blobs whose store is replaced while they are used: nothing acknowledged is missing, nothing deleted
 * comes back.
 *
 * @module
 */

import assert from "node:assert/strict";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { type BlobStore, openDiskBlobs, openObjectBlobs } from "../../src/blobs/mod.ts";
import { freezeObjectBlobs } from "../../src/blobs/objects/freeze.ts";
import { SwitchingBlobs } from "../../src/blobs/switch/switching.ts";
import { StoreError } from "../../src/core/errors.ts";
import { type TestServer, testServer } from "../helpers/nats.ts";
import { failsWith, inDir } from "../helpers/sqlite.ts";
import { owner, putBy } from "./holders.ts";
import { bodyOf, bytesOf, chunks, idOf } from "./kit.ts";

let server: TestServer;
let connection: NatsConnection;
let buckets = 0;

Deno.test.beforeAll(async () => {
  server = await testServer();
  connection = await connect({ servers: server.url });
});
Deno.test.afterAll(async () => {
  await connection.close();
  await server[Symbol.asyncDispose]();
});

interface Places {
  blobs: SwitchingBlobs;
  disk: BlobStore;
  objects: BlobStore;
}

/** Blobs on disk, and an empty object store to go to. */
async function places(work: (places: Places) => Promise<void>): Promise<void> {
  await inDir(async (dir) => {
    const disk = await openDiskBlobs(`${dir}/blobs`);
    const options = { connection, bucket: `SWITCH_${++buckets}`, opTimeout: 60_000 };
    await using objects = await openObjectBlobs(options);
    await using blobs = new SwitchingBlobs(disk);
    await work({ blobs, disk, objects });
  });
}

/** All blobs with their holders, and their bytes checked. */
async function contents(blobs: BlobStore): Promise<Record<string, unknown>> {
  const found: [string, unknown][] = [];
  for await (const { id, size } of blobs.list()) {
    const bytes = await bodyOf(await blobs.get(id));
    assert.deepEqual([idOf(bytes), bytes.length], [id, size]);
    found.push([id, await blobs.holders(id)]);
  }
  return Object.fromEntries(found.sort());
}

/** A store whose `put` tells that it has begun, and then waits for `resolve`. */
function waitingPut(store: BlobStore) {
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const { promise: go, resolve } = Promise.withResolvers<void>();
  const slow = new Proxy(store, {
    get(target, name) {
      const found = Reflect.get(target, name);
      if (name !== "put") return typeof found === "function" ? found.bind(target) : found;
      return (...of: Parameters<BlobStore["put"]>) => {
        begin();
        return go.then(() => target.put(...of));
      };
    },
  });
  return { slow, begun, resolve };
}

Deno.test("what is put and deleted while everything is copied ends equal in both stores", async () => {
  await places(async ({ blobs, disk, objects }) => {
    const people = [owner(), owner(), owner()];
    const ids: string[] = [];
    for (let i = 0; i < 60; i++) {
      ids.push((await putBy(blobs, bytesOf(1000 * i), people[i % 3]!)).id);
    }
    const mirror = blobs.mirror(objects);
    let running = true;
    const busy = Promise.all([0, 1, 2, 3].map(async (worker) => {
      for (let i = 0; running || i < 30; i++) {
        const by = people[i % 3]!;
        const bytes = bytesOf(500 + i);
        const { id } = await putBy(blobs, bytes, by);
        await putBy(blobs, bytes, people[(i + 1) % 3]!);
        await blobs.addHolders(id, { owners: [people[(i + 2) % 3]!], unowned: false });
        assert.equal(await blobs.delete(id, by), false);
        if (i % 2 === 0) assert.equal(await blobs.delete(id), true);
        const old = ids[worker + 4 * i];
        if (old !== undefined) await blobs.delete(old);
      }
    }));
    // Heard of at the end: what fails first is told, also when the store is closed behind it.
    busy.catch(() => {});
    const { count } = await mirror.all();
    running = false;
    await busy;
    assert.ok(count >= 20, `${count} were copied`);
    assert.deepEqual([...mirror.owed], []);
    const held = await contents(objects);
    assert.deepEqual(held, await contents(disk));
    assert.ok(Object.keys(held).length >= 60);
    // What deleted them is the store, not the test.
    assert.ok(ids.some((it) => !(it in held)));
  });
});

Deno.test("the copy removes blobs and holders that only the second store has, and copies only what is missing", async () => {
  await places(async ({ blobs, disk, objects }) => {
    const [a, b] = [owner(), owner()];
    const shared = bytesOf(5000);
    const unowned = bytesOf(6000);
    for (const it of [disk, objects]) await putBy(it, shared, a);
    await putBy(objects, shared, b);
    await putBy(disk, unowned, a);
    await objects.put(chunks(unowned), { maxBytes: 1e7 });
    await putBy(objects, bytesOf(10), b);
    await putBy(disk, bytesOf(7000), b);
    const mirror = blobs.mirror(objects);
    const report = await mirror.all();
    assert.deepEqual([report.count, report.copied], [3, 2]);
    assert.deepEqual(await contents(objects), await contents(disk));
    assert.equal((await mirror.all()).copied, 0);
  });
});

Deno.test("a change that fails in the second store while everything is copied is made at the end of the copy", async () => {
  await places(async ({ blobs, disk, objects }) => {
    let broken = false;
    let late = "";
    const fragile: BlobStore = new Proxy(objects, {
      get(target, key: keyof BlobStore) {
        if (key === "put" && broken) {
          return () => Promise.reject(new StoreError("unavailable", "No leader"));
        }
        // The blobs of the first store have been copied by now.
        if (key === "list") {
          return async function* () {
            broken = true;
            late = (await putBy(blobs, bytesOf(1000), owner())).id;
            broken = false;
            yield* target.list();
          };
        }
        const value = target[key] as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const { count } = await blobs.mirror(fragile).all();
    assert.equal(count, 0);
    assert.deepEqual(Object.keys(await contents(objects)), [late]);
    assert.deepEqual(await contents(objects), await contents(disk));
  });
});

Deno.test("a change that fails in the second store succeeds, and is made there before the switch", async () => {
  await places(async ({ blobs, disk, objects }) => {
    let broken = true;
    const fragile = new Proxy(objects, {
      get(target, key: keyof BlobStore) {
        if (broken && ["put", "delete", "stat"].includes(String(key))) {
          return () => Promise.reject(new StoreError("unavailable", "No leader"));
        }
        const value = target[key] as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const { id: before } = await putBy(blobs, bytesOf(2000), owner());
    await objects.put(chunks(await bodyOf(await disk.get(before))), { maxBytes: 1e7 });
    const mirror = blobs.mirror(fragile);
    const { id } = await putBy(blobs, bytesOf(1000), owner());
    await blobs.delete(before);
    assert.deepEqual([...mirror.owed].sort(), [before, id].sort());
    await failsWith("unavailable", () => mirror.settle());
    assert.equal(mirror.owed.size, 2);
    broken = false;
    await mirror.settle();
    assert.equal(mirror.owed.size, 0);
    assert.deepEqual(await contents(objects), await contents(disk));
  });
});

Deno.test("changes wait for the switch, and what began before it is in the next store too", async () => {
  await places(async ({ blobs, disk, objects }) => {
    const by = owner();
    const read = bytesOf(3_000_000);
    const doomed = await putBy(blobs, bytesOf(100), by);
    const given = await putBy(blobs, bytesOf(200), by);
    const { id: whole } = await putBy(blobs, read, by);
    const mirror = blobs.mirror(objects);
    await mirror.all();
    // A reader and an upload are half-way.
    const reader = (await blobs.get(whole))!.body.getReader();
    const first = (await reader.read()).value!;
    const { promise: go, resolve } = Promise.withResolvers<void>();
    const slow = bytesOf(10_000);
    const uploading = blobs.put(
      (async function* () {
        yield slow.subarray(0, 5000);
        await go;
        yield slow.subarray(5000);
      })(),
      { maxBytes: 1e7, holders: { owners: [by], unowned: false } },
    );
    await blobs.hold();
    const late = bytesOf(300);
    let answered = 0;
    const waiting = [
      putBy(blobs, late, by),
      blobs.delete(doomed.id, by),
      blobs.addHolders(given.id, { owners: [], unowned: true }),
    ].map((it) => it.finally(() => answered++));
    resolve();
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(answered, 0);
    assert.equal(await disk.stat(idOf(late)), null);
    assert.equal((await blobs.stat(whole))?.size, read.length);
    blobs.replace(objects);
    await Promise.all([...waiting, uploading]);
    assert.equal(blobs.current, objects);
    const held = await contents(blobs);
    assert.deepEqual(Object.keys(held).sort(), [given.id, whole, idOf(slow), idOf(late)].sort());
    assert.deepEqual(held[idOf(slow)], { owners: [by], unowned: false });
    assert.deepEqual(held[given.id], { owners: [by], unowned: true });
    // Nothing more goes to the former one.
    assert.equal(await disk.stat(idOf(late)), null);
    assert.equal((await disk.stat(doomed.id))?.id, doomed.id);
    const rest: Uint8Array[] = [first];
    for (let it = await reader.read(); !it.done; it = await reader.read()) rest.push(it.value);
    assert.equal(idOf(Uint8Array.from(rest.flatMap((it) => [...it]))), whole);
    assert.equal(await blobs.usage(by), await objects.usage(by));
    assert.equal((await blobs.health()).ok, true);
  });
});

Deno.test("a blob that is deleted while it is being copied is not in the second store in the end", async () => {
  await places(async ({ blobs, disk, objects }) => {
    const { slow, begun, resolve } = waitingPut(objects);
    blobs.mirror(slow);
    const bytes = bytesOf(100);
    const putting = putBy(blobs, bytes, owner());
    await begun;
    const deleting = blobs.delete(idOf(bytes));
    while (await disk.stat(idOf(bytes)) !== null) await new Promise((next) => setTimeout(next, 5));
    // Time for a copy that does not wait for its turn.
    await new Promise((next) => setTimeout(next, 100));
    resolve();
    await Promise.all([putting, deleting]);
    assert.equal(await objects.stat(idOf(bytes)), null);
  });
});

Deno.test("a blob or holder that the second store has lost already is no failure of the copy", async () => {
  await places(async ({ blobs, disk, objects }) => {
    const [a, b] = [owner(), owner()];
    const { id } = await putBy(blobs, bytesOf(100), a);
    // What a replica that is behind says.
    const late: BlobStore = new Proxy(objects, {
      get(target, key: keyof BlobStore) {
        if (key === "holders") return () => Promise.resolve({ owners: [a, b], unowned: false });
        const value = target[key] as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const mirror = blobs.mirror(late);
    assert.equal(await mirror.sync(id), true);
    assert.equal(await mirror.sync("0".repeat(64)), null);
    assert.deepEqual(await contents(objects), await contents(disk));
  });
});

Deno.test("an upload that ends while changes are held is made in the store that is used then", async () => {
  await places(async ({ blobs, disk, objects }) => {
    const broken = new Proxy(objects, {
      get(target, key: keyof BlobStore) {
        if (key === "put") return () => Promise.reject(new StoreError("unavailable", "No leader"));
        const value = target[key] as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    blobs.mirror(broken);
    const { promise: go, resolve } = Promise.withResolvers<void>();
    const bytes = bytesOf(1000);
    const uploading = blobs.put(
      (async function* () {
        yield bytes.subarray(0, 500);
        await go;
        yield bytes.subarray(500);
      })(),
      { maxBytes: 1e7, holders: { owners: [owner()], unowned: false } },
    );
    await blobs.hold();
    resolve();
    while (await disk.stat(idOf(bytes)) === null) await new Promise((next) => setTimeout(next, 5));
    // Time for a copy that does not wait.
    await new Promise((next) => setTimeout(next, 100));
    blobs.replace(objects);
    await uploading;
    assert.equal((await objects.stat(idOf(bytes)))?.size, 1000);
  });
});

Deno.test("an upload whose bytes the former store does not give back as they were is not acknowledged", async () => {
  await places(async ({ disk, objects }) => {
    const other = bytesOf(1000);
    const damaged: BlobStore = new Proxy(disk, {
      get(target, key: keyof BlobStore) {
        if (key === "get") {
          return () =>
            Promise.resolve({ size: other.length, body: new Response(new Uint8Array(other)).body });
        }
        const value = target[key] as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const blobs = new SwitchingBlobs(damaged);
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const { promise: go, resolve } = Promise.withResolvers<void>();
    const slow = async function* () {
      begin();
      await go;
      yield bytesOf(1000);
    };
    const holders = { owners: [owner()], unowned: false };
    const putting = blobs.put(slow(), { maxBytes: 1e7, holders });
    await begun;
    blobs.replace(objects);
    resolve();
    await failsWith("invalid", () => putting);
    assert.deepEqual(await contents(objects), {});
  });
});

Deno.test("a switch waits for a change that is being made in the second store", async () => {
  await places(async ({ blobs, objects }) => {
    const { slow, begun, resolve } = waitingPut(objects);
    blobs.mirror(slow);
    const putting = putBy(blobs, bytesOf(100), owner());
    await begun;
    let held = false;
    const holding = blobs.hold().then(() => held = true);
    // Longer than it waits for changes of the first store.
    await new Promise((resolve) => setTimeout(resolve, 400));
    assert.equal(held, false);
    resolve();
    await holding;
    blobs.replace(objects);
    assert.ok(await objects.stat((await putting).id));
  });
});

Deno.test("what was deleted while the switch was made is deleted in the next store too, and both are closed", async () => {
  await places(async ({ disk, objects }) => {
    const { promise: go, resolve } = Promise.withResolvers<void>();
    const closed: BlobStore[] = [];
    const slowly = (store: BlobStore) =>
      new Proxy(store, {
        get(target, name) {
          const found = Reflect.get(target, name);
          if (name === "close") return () => target.close().then(() => closed.push(target));
          if (name !== "delete" || target !== disk) {
            return typeof found === "function" ? found.bind(target) : found;
          }
          return (...of: [string, string]) => go.then(() => target.delete(...of));
        },
      });
    const blobs = new SwitchingBlobs(slowly(disk));
    const by = owner();
    const bytes = bytesOf(100);
    const both = await putBy(blobs, bytes, by);
    await putBy(objects, bytes, by);
    // Nobody copied it.
    const one = await putBy(blobs, bytesOf(200), by);
    const deleting = [both, one].map(({ id }) => blobs.delete(id, by));
    await blobs.hold();
    blobs.replace(slowly(objects));
    resolve();
    assert.deepEqual(await Promise.all(deleting), [true, true]);
    for (const store of [disk, objects]) assert.deepEqual(await contents(store), {});
    await blobs.close();
    assert.deepEqual(new Set(closed), new Set([disk, objects]));
  });
});

Deno.test("a change that had begun is made before the writers of its store are stopped", async () => {
  const place = { connection, bucket: `SWITCH_${++buckets}` };
  await inDir(async (dir) => {
    const disk = await openDiskBlobs(`${dir}/blobs`);
    await using objects = await openObjectBlobs(place);
    await using blobs = new SwitchingBlobs(objects);
    const mirror = blobs.mirror(disk);
    const putting = Array.from({ length: 20 }, () => putBy(blobs, bytesOf(1000), owner()));
    // In the object store by now; each takes several messages.
    await new Promise((resolve) => setImmediate(resolve));
    await blobs.hold();
    await freezeObjectBlobs(place);
    const began = performance.now();
    await mirror.settle();
    blobs.replace(disk);
    for (const put of await Promise.all(putting)) assert.ok(await disk.stat(put.id));
    assert.ok(performance.now() - began < 3000, "a change met the stopped store");
  });
});

Deno.test("a switch that is called off lets changes continue in the first store; one that lasts too long does not hold them", async () => {
  await places(async ({ blobs, disk, objects }) => {
    blobs.mirror(objects);
    await blobs.hold();
    const waiting = putBy(blobs, bytesOf(100), owner());
    await blobs.hold();
    blobs.release();
    const { id } = await waiting;
    assert.ok(await disk.stat(id) !== null && await objects.stat(id) !== null);
    await blobs.hold();
    await failsWith("unavailable", () => putBy(blobs, bytesOf(1), owner()), /while their store/);
    const freed = putBy(blobs, bytesOf(200), owner());
    blobs.unmirror();
    const alone = await freed;
    assert.ok(await disk.stat(alone.id) !== null);
    assert.equal(await objects.stat(alone.id), null);
  });
});
