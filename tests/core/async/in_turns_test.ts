/** Work through many items, in order, with turns for other work in between. */

import assert from "node:assert/strict";
import { mapInTurns } from "../../../src/core/async/in_turns.ts";

const items = Array.from({ length: 100 }, (_, i) => i);

Deno.test("every item is worked on once, with its place, and the results keep their order", async () => {
  const places: number[] = [];
  const found = await mapInTurns(items, async (item, i) => {
    places.push(i);
    await new Promise((resolve) => setTimeout(resolve, (item * 7) % 5));
    return item * 2;
  });
  assert.deepEqual(found, items.map((it) => it * 2));
  assert.deepEqual(places, items);
  assert.deepEqual(await mapInTurns([], () => assert.fail()), []);
});

Deno.test("no more than so many are worked on at the same time", async () => {
  let [now, most] = [0, 0];
  await mapInTurns(items, async () => {
    most = Math.max(most, ++now);
    await Promise.resolve();
    now--;
  }, 3);
  assert.equal(most, 3);
});

Deno.test("other work has its turn between items that take long", async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  const busy = () => {
    for (const began = performance.now(); performance.now() - began < 12;);
  };
  await mapInTurns(items.slice(0, 10), busy, 1);
  assert.ok(turns >= 5, String(turns));
  clearInterval(timer);
});

Deno.test("other work has its turn however many are worked on at the same time", async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  const busy = async () => {
    for (const began = performance.now(); performance.now() - began < 1;);
    await Promise.resolve();
  };
  await Promise.all([mapInTurns(items, busy, 100), mapInTurns(items, busy, 100)]);
  assert.ok(turns >= 10, String(turns));
  clearInterval(timer);
});

Deno.test("the first failure is the answer", async () => {
  const work = (item: number) => {
    if (item === 20) throw new Error("twenty");
  };
  await assert.rejects(mapInTurns(items, work), /twenty/);
  const begun: number[] = [];
  const failing = async (item: number) => {
    begun.push(item);
    await new Promise((resolve) => setTimeout(resolve, item));
    work(item);
  };
  await assert.rejects(mapInTurns(items.slice(20), failing, 2), /twenty/);
  const { length } = begun;
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(begun.length, length, "nothing is begun after it");
});

Deno.test("in a page out of sight, whose timers wait, work goes on", async () => {
  const { setImmediate, setTimeout } = globalThis;
  const url = new URL("../../../src/core/async/in_turns.ts?page", import.meta.url);
  Reflect.deleteProperty(globalThis, "setImmediate");
  globalThis.setTimeout = (() => 0) as unknown as typeof setTimeout;
  try {
    const page: { mapInTurns: typeof mapInTurns } = await import(url.href);
    const busy = (item: number) => {
      for (const began = performance.now(); performance.now() - began < 1;);
      return item;
    };
    assert.deepEqual(await page.mapInTurns(items, busy), items);
  } finally {
    Object.assign(globalThis, { setImmediate, setTimeout });
  }
});

Deno.test("what is done with the result of long work is a turn of its own", async () => {
  let others = 0;
  setImmediate(() => others++);
  await mapInTurns([0], () => {
    for (const end = performance.now() + 50; performance.now() < end;);
  });
  assert.equal(others, 1);
});
