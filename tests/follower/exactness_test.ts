import assert from "node:assert/strict";
import { Digests, fenceValue, readFence } from "../../src/follower/stream/digests.ts";
import { Exactness } from "../../src/follower/stream/exactness.ts";
import { Waiters } from "../../src/follower/waiters.ts";

const part = (index: number, last: boolean) => ({ batch: "b", index, last });

Deno.test("a follower is exact while no message is missing", () => {
  const it = new Exactness(10, true);
  assert.equal(it.take(11, null), true);
  assert.deepEqual([it.exact, it.upTo], [true, 11]);
  assert.equal(it.take(12, part(1, false)), false);
  assert.deepEqual([it.exact, it.upTo, it.received], [true, 11, 12]);
  assert.equal(it.take(13, part(2, true)), true);
  assert.deepEqual([it.exact, it.upTo], [true, 13]);
});

Deno.test("after a gap it is exact again only at a fence that was written after it was seen", () => {
  const it = new Exactness(10, true);
  it.take(12, null);
  assert.equal(it.exact, false);
  // Written when the gap was not seen yet: the replacement may come behind it.
  it.await({ sequence: 13, seen: 10 });
  it.take(13, null);
  assert.equal(it.exact, false);
  it.await({ sequence: 15, seen: 13 });
  it.take(14, null);
  assert.equal(it.exact, false);
  it.take(15, null);
  assert.equal(it.exact, true);
});

Deno.test("a newer gap before the fence is waited for as well", () => {
  const it = new Exactness(10, true);
  it.take(12, null);
  it.await({ sequence: 16, seen: 12 });
  it.take(14, null);
  it.take(15, null);
  it.take(16, null);
  assert.equal(it.exact, false);
  it.await({ sequence: 18, seen: 16 });
  // The fence itself was replaced; nothing else is missing before what comes next but that.
  it.take(19, null);
  assert.equal(it.exact, false);
  it.await({ sequence: 20, seen: 19 });
  it.take(20, null);
  assert.equal(it.exact, true);
});

Deno.test("a fence counts at the end of a batch, also when it came before its acknowledgement", () => {
  const it = new Exactness(0, false);
  assert.equal(it.exact, false);
  it.take(5, null);
  it.take(6, part(1, false));
  it.await({ sequence: 6, seen: 5 });
  assert.equal(it.exact, false);
  assert.equal(it.caughtUp, false);
  it.take(7, part(2, true));
  assert.deepEqual([it.exact, it.caughtUp], [true, true]);
  const other = new Exactness(3, false);
  other.take(4, null);
  other.await({ sequence: 4, seen: 3 });
  assert.equal(other.exact, true);
});

Deno.test("those who wait are woken at their position, not before, and by a failure", async () => {
  const it = new Waiters();
  let woken = false;
  const waiting = it.wait(5).then(() => woken = true);
  it.reached(4);
  await Promise.resolve();
  assert.equal(woken, false);
  it.reached(5);
  await waiting;
  await it.wait(5);
  await it.wait(2);
  const failing = assert.rejects(it.wait(6), /gone/);
  it.fail(new Error("gone") as Parameters<Waiters["fail"]>[0]);
  await failing;
  await assert.rejects(it.wait(1), /gone/);
});

Deno.test("digests are compared at equal positions, whichever is known first", () => {
  const it = new Digests();
  assert.equal(it.note(5, "aa"), null);
  assert.equal(it.hear({ position: 5, digest: "aa" }), null);
  assert.equal(it.hear({ position: 6, digest: "bb" }), null);
  assert.deepEqual(it.note(6, "cc"), { position: 6, ours: "cc", theirs: "bb" });
  assert.equal(it.note(7, "dd"), null);
  assert.deepEqual(it.hear({ position: 7, digest: "ee" }), {
    position: 7,
    ours: "dd",
    theirs: "ee",
  });
  const text = (value: string) => new TextEncoder().encode(value);
  assert.deepEqual(readFence(text(fenceValue(it.newest))), { position: 7, digest: "dd" });
  assert.equal(readFence(text(fenceValue(null))), null);
  for (const other of ["", "W3ZXQ", "{", '{"v":1,"position":"7","digest":"dd"}']) {
    assert.equal(readFence(text(other)), null, other);
  }
});
