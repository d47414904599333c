/**
 * What is opened again after a repair, and when it is taken into use.
 *
 * @module
 */

import assert from "node:assert/strict";
import { StoreError } from "../../../mod.ts";
import { type Opened, Plane } from "../../../src/follower/watch/plane.ts";
import { damagedFile } from "../../../src/follower/watch/degraded.ts";
import type { Follower } from "../../../src/follower/types.ts";
import { switchOf } from "../../../src/core/store/switching.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { inDir } from "../../helpers/sqlite.ts";

const DAMAGED = damagedFile("UNIBUS", "a page");
const ALARM = new StoreError("corrupt", "It is another stream", { field: "stream" });

/** A plane whose followers and backends are told apart by their names. */
function made(dir: string, open: (signal: AbortSignal) => Promise<Opened>) {
  const path = `${dir}/f.db`;
  const closed: string[] = [];
  let renewals = 0;
  const opened = (name: string, wrong: Partial<Record<"alarm" | "degraded", StoreError>> = {}) => {
    const token = {};
    const backend = Object.create(switchOf(openSqlite(":memory:")).take(), {
      name: { value: name },
      close: {
        value: async () => {
          closed.push(name);
          await plane.end(token);
        },
      },
    });
    const state = { alarm: null, degraded: null, ...wrong };
    const follower = { path, state: () => state, alarm: state.alarm } as unknown as Follower;
    return { backend, follower, token } satisfies Opened;
  };
  const plane: Plane = new Plane(open, () => void renewals++);
  const store = openSqlite(":memory:");
  const at = switchOf(store);
  const first = opened("first");
  void at.replace(first.backend);
  plane.begin(first, at);
  return { path, plane, at, closed, opened, store, renewals: () => renewals };
}

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

for (const [what, wrong] of [["an alarm", { alarm: ALARM }], ["damage", { degraded: DAMAGED }]]) {
  Deno.test(`what has ${what} when it was opened again is closed, and all is opened once more`, () =>
    inDir(async (dir) => {
      let count = 0;
      const it = made(dir, () => {
        count++;
        return Promise.resolve(it.opened(`next ${count}`, count === 1 ? wrong as never : {}));
      });
      it.plane.raise(ALARM);
      it.plane.renewAfter(it.path, false);
      await later(100);
      assert.deepEqual([it.at.name, it.renewals(), it.plane.alarm], ["first", 0, ALARM]);
      while (it.renewals() === 0) await later(20);
      assert.deepEqual([it.at.name, it.plane.alarm], ["next 2", null]);
      assert.deepEqual(it.closed, ["next 1", "first"]);
      await it.store.close();
    }));
}

Deno.test("a store that is closed while it is opened again closes what comes", () =>
  inDir(async (dir) => {
    const coming = Promise.withResolvers<Opened>();
    let aborted = false;
    const it = made(dir, (signal) => {
      signal.addEventListener("abort", () => aborted = true);
      return coming.promise;
    });
    it.plane.renewAfter(it.path, false);
    let isClosed = false;
    const closing = it.store.close().then(() => isClosed = true);
    await later(20);
    assert.deepEqual([isClosed, aborted], [false, true]);
    coming.resolve(it.opened("late"));
    await closing;
    assert.deepEqual([it.closed, it.renewals()], [["first", "late"], 0]);
  }));

Deno.test("a store that has moved elsewhere meanwhile keeps what it moved to", () =>
  inDir(async (dir) => {
    const coming = Promise.withResolvers<Opened>();
    const it = made(dir, () => coming.promise);
    it.plane.renewAfter(it.path, false);
    const replaced = it.at.replace(switchOf(openSqlite(":memory:")).take());
    coming.resolve(it.opened("late"));
    await replaced;
    assert.deepEqual([it.at.name, it.renewals()], ["sqlite", 0]);
    assert.deepEqual(it.closed, ["first", "late"]);
    await it.store.close();
  }));
