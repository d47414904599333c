/** The verdict on a soak is shown to tell growth from noise. */

import assert from "node:assert/strict";
import { quantile } from "./sample.ts";
import { judge } from "./verdict.ts";

const MEMORY = { what: "memory", share: 0.1, least: 12 };
const MINUTES = Array.from({ length: 60 }, (_, i) => i);
/** Up and down by up to `n`, always the same. */
const noise = (i: number, n: number) => ((i * 7919) % 101) / 50 * n - n;

Deno.test("figures that go up and down are flat", () => {
  const found = judge(MEMORY, MINUTES.map((i) => 150 + noise(i, 20)));
  assert.ok(found.isFlat, JSON.stringify(found));
});

Deno.test("warming up in the first quarter is no growth", () => {
  assert.ok(judge(MEMORY, MINUTES.map((i) => 150 - 100 * Math.exp(-i / 4))).isFlat);
});

Deno.test("a leak of half a megabyte a minute is growth, in the noise as well", () => {
  const found = judge(MEMORY, MINUTES.map((i) => 150 + i / 2 + noise(i, 5)));
  assert.ok(!found.isFlat, JSON.stringify(found));
  assert.ok(found.rise > 15 && found.rise < 30, JSON.stringify(found));
});

Deno.test("a step up that stays is growth, a spike is none", () => {
  assert.ok(!judge(MEMORY, MINUTES.map((i) => i < 40 ? 150 : 180)).isFlat);
  assert.ok(judge(MEMORY, MINUTES.map((i) => i === 50 ? 900 : 150)).isFlat);
});

Deno.test("one open file a minute is growth", () => {
  assert.ok(!judge({ what: "files", share: 0, least: 4 }, MINUTES.map((i) => 40 + i)).isFlat);
});

Deno.test("quantiles are those of what came between two looks", () => {
  const before = new Map([[0.001, 100], [0.01, 100], [Infinity, 100]]);
  const after = new Map([[0.001, 150], [0.01, 200], [Infinity, 200]]);
  assert.equal(quantile(before, after, 0.5), 1);
  assert.ok(Math.abs(quantile(before, after, 0.75) - 5.5) < 1e-9);
  assert.equal(quantile(before, before, 0.99), 0);
});
