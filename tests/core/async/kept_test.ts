import assert from "node:assert/strict";
import { kept } from "../../../src/core/async/kept.ts";
import { pause } from "../../../src/core/async/wait.ts";

Deno.test("kept() is one call for all who ask at once, and another when its time is over", async () => {
  let calls = 0;
  const { promise: open, resolve } = Promise.withResolvers<void>();
  const ask = kept(200, async () => {
    calls++;
    await open;
    return calls;
  });
  const all = [ask(), ask()];
  // Its time begins with the answer: a slow call is not made twice.
  await pause(300);
  all.push(ask());
  resolve();
  assert.deepEqual(await Promise.all(all), [1, 1, 1]);
  assert.equal(await ask(), 1);
  await pause(300);
  assert.equal(await ask(), 2);
});

Deno.test("kept() calls again after a failure, when its time is over", async () => {
  let calls = 0;
  const ask = kept(20, () => ++calls === 1 ? Promise.reject(new Error("no")) : Promise.resolve(2));
  await assert.rejects(ask(), /no/);
  await pause(40);
  assert.equal(await ask(), 2);
});
