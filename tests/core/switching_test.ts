/**
 * Exchanging the backend of an open store.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { AccessChange, StoreRecord } from "../../src/core/model.ts";
import type { Store } from "../../src/core/store.ts";
import { switchOf } from "../../src/core/store/switching.ts";
import { openSqlite } from "../../src/sqlite/mod.ts";
import { failsWith, hex, inDir, person } from "../helpers/sqlite.ts";

/** Runs `work` with an open store, its switch, and another store with the same user and another. */
async function withTwo(
  work: (it: { store: Store; next: Store; at: ReturnType<typeof switchOf> }) => Promise<void>,
): Promise<void> {
  await using store = openSqlite(":memory:");
  await using next = openSqlite(":memory:");
  await store.addUser(person("old"));
  await next.addUser(person("old"));
  await next.addUser(person("new"));
  await work({ store, next, at: switchOf(store) });
}

const { signPub: old } = person("old");
const { signPub: fresh } = person("new");

/** Whether a promise is still pending after all that is ready has run. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol();
  const later = new Promise((resolve) => setTimeout(() => resolve(pending), 20));
  return await Promise.race([promise.catch(() => {}), later]) === pending;
}

Deno.test("A held write waits and is made on the next backend; reads are answered meanwhile", () =>
  withTwo(async ({ store, next, at }) => {
    await at.hold();
    const writing = store.addUser(person("held"));
    assert.equal(await store.isAuthorized(old), true);
    assert.equal((await store.getUser(old)).handle, "user old");
    assert.ok(await isPending(writing));
    void at.replace(switchOf(next).take());
    assert.ok(await isPending(writing));
    at.release();
    await writing;
    assert.equal((await next.getUser(person("held").signPub)).handle, "user held");
    assert.equal(await store.isAuthorized(fresh), true);
  }));

Deno.test("A write that was held without a switch is made where it was", () =>
  withTwo(async ({ store, at }) => {
    await at.hold();
    const writes = [1, 2, 3].map((n) => store.addUser(person(n)));
    at.release();
    at.release();
    await Promise.all(writes);
    assert.equal((await store.listUsers()).items.length, 4);
  }));

Deno.test("With reads held, only authorization is answered", () =>
  withTwo(async ({ store, next, at }) => {
    await at.hold();
    await at.hold({ reads: true });
    const reading = store.listUsers();
    const streaming = Array.fromAsync(store.records());
    const searching = store.search!.users();
    for (const it of [reading, streaming, searching]) assert.ok(await isPending(it));
    assert.equal(await store.isAuthorized(old), true);
    assert.equal(await store.hasAdmin(), false);
    assert.equal((await store.health()).ok, true);
    void at.replace(switchOf(next).take());
    at.release();
    assert.equal((await reading).items.length, 2);
    assert.equal((await streaming).length, 2);
    assert.equal((await searching).items.length, 2);
  }));

Deno.test("Held reads are answered where they were asked when they are released; writes stay held", () =>
  withTwo(async ({ store, at }) => {
    await at.hold({ reads: true });
    const reading = store.listUsers();
    const writing = store.addUser(person("held"));
    at.releaseReads();
    at.releaseReads();
    assert.equal((await reading).items.length, 1);
    assert.equal((await store.listUsers()).items.length, 1);
    assert.ok(await isPending(writing));
    await at.hold({ reads: true });
    const later = store.listUsers();
    assert.ok(await isPending(later));
    at.release();
    await Promise.all([writing, later]);
  }));

Deno.test("hold() waits for the writes in progress, and gives up after its patience", () =>
  withTwo(async ({ store, at }) => {
    const gate = Promise.withResolvers<void>();
    async function* slow(): AsyncGenerator<StoreRecord> {
      await gate.promise;
      yield* [];
    }
    const restoring = store.restore(slow(), { replace: true });
    await failsWith(
      "unavailable",
      () => at.hold({ patience: 10 }),
      /1 are in progress after 10 ms/,
    );
    at.release();
    const holding = at.hold();
    assert.ok(await isPending(holding));
    gate.resolve();
    await holding;
    assert.deepEqual((await restoring).users, 0);
    at.release();
  }));

Deno.test("A switch while hold() waits: the former is closed, and hold() learns that the writes have ended", () =>
  withTwo(async ({ store, next, at }) => {
    const gate = Promise.withResolvers<void>();
    async function* slow(): AsyncGenerator<StoreRecord> {
      await gate.promise;
      yield* [];
    }
    const former = at.current;
    const restoring = store.restore(slow(), { replace: true });
    const holding = at.hold();
    const closed = at.replace(switchOf(next).take());
    assert.ok(await isPending(closed));
    gate.resolve();
    await restoring;
    await holding;
    await closed;
    await failsWith("unavailable", () => former.getUser(old), /not open/);
    at.release();
  }));

Deno.test("Calls held for 5 s are unavailable; closing the store ends them at once", () =>
  withTwo(async ({ store, at }) => {
    await at.hold();
    await failsWith("unavailable", () => store.addUser(person("late")), /being switched/);
    const writing = store.addUser(person("later"));
    await store.close();
    await failsWith("closed", () => writing);
  }));

Deno.test("A call in progress ends on the former backend, which is closed after it", () =>
  inDir(async (dir) => {
    await using store = openSqlite(`${dir}/a.db`);
    await using next = openSqlite(":memory:");
    for (const n of [1, 2, 3]) await store.addUser(person(n));
    const at = switchOf(store);
    const former = at.current;
    const stream = store.records()[Symbol.asyncIterator]();
    await stream.next();
    const closed = at.replace(switchOf(next).take());
    assert.equal((await store.listUsers()).items.length, 0);
    assert.ok(await isPending(closed));
    assert.equal((await stream.next()).done, false);
    assert.equal((await stream.next()).done, false);
    assert.equal((await stream.next()).done, true);
    await closed;
    await failsWith("unavailable", () => former.getUser(hex("any")), /it failed/);
  }));

Deno.test("close() closes a former backend whose calls are in progress", () =>
  inDir(async (dir) => {
    const store = openSqlite(`${dir}/a.db`);
    await using next = openSqlite(":memory:");
    for (const n of [1, 2]) await store.addUser(person(n));
    const at = switchOf(store);
    const former = at.current;
    const stream = store.records()[Symbol.asyncIterator]();
    await stream.next();
    const closed = at.replace(switchOf(next).take());
    await store.close();
    await failsWith("unavailable", () => former.getUser(hex("any")), /it failed/);
    await failsWith("closed", () => stream.next());
    await closed;
  }));

Deno.test("Listeners are told of a switch and of the next backend's changes, no longer of the former's", () =>
  withTwo(async ({ store, next, at }) => {
    const seen: AccessChange[] = [];
    const stop = store.watchAccess((change) => seen.push(change));
    const former = at.current;
    const coming = switchOf(next).take();
    void at.replace(coming);
    assert.deepEqual(seen, [{}]);
    await store.addUser(person("later"));
    assert.deepEqual(seen.slice(1), [{ endpoint: person("later").signPub }]);
    assert.notEqual(at.current, former);
    stop();
    await store.addUser(person("last"));
    assert.equal(seen.length, 2);
    store.watchAccess((change) => seen.push(change));
    await store.deleteUser(person("last").signPub);
    assert.equal(seen.length, 3);
  }));

Deno.test("backend, created, generation and search are those of the backend that answers", async () => {
  await inDir(async (dir) => {
    await using store = openSqlite(`${dir}/a.db`);
    const { current } = switchOf(store);
    assert.deepEqual([store.backend, store.created, store.generation], ["sqlite", true, 0]);
    const { search } = store;
    const other = Object.create(current, {
      name: { value: "other" },
      created: { value: undefined },
      generation: { value: 7 },
      search: { value: undefined },
      close: { value: () => Promise.resolve() },
    });
    void switchOf(store).replace(other);
    assert.deepEqual([store.backend, store.created, store.generation], ["other", false, 7]);
    assert.equal(store.search, undefined);
    await failsWith("unsupported", () => search!.users());
    await current.close();
  });
});

Deno.test("A backend that comes after the store was closed is closed", () =>
  withTwo(async ({ store, next, at }) => {
    const backend = switchOf(next).take();
    await store.close();
    await at.replace(backend);
    await failsWith("unavailable", () => backend.getUser(old), /it failed/);
  }));

Deno.test("A store whose backend was taken does not close it", () =>
  withTwo(async ({ next }) => {
    const backend = switchOf(next).take();
    await next.close();
    await failsWith("closed", () => next.getUser(old));
    assert.equal((await backend.getUser(old))!.handle, "user old");
    await backend.close();
  }));

Deno.test("switchOf() refuses what is not a store of this library", () =>
  withTwo(async ({ store }) => {
    await failsWith("invalid", () => switchOf({ ...store }), /store must be one/);
  }));
