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

Deno.test("the first failure is the answer", async () => {
  const work = (item: number) => {
    if (item === 20) throw new Error("twenty");
  };
  await assert.rejects(mapInTurns(items, work), /twenty/);
});
