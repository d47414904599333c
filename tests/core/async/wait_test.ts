import assert from "node:assert/strict";
import { orAbort, pause, within } from "../../../src/core/async/wait.ts";

const never = new Promise<never>(() => {});

Deno.test("within() gives what the work gives, or what late() returns or throws", async () => {
  assert.equal(await within(60_000, Promise.resolve(1), () => 2), 1);
  assert.equal(await within(1, never, () => 2), 2);
  const late = () => {
    throw new Error("late");
  };
  await assert.rejects(within(1, never, late), /^Error: late$/);
  await assert.rejects(within(60_000, Promise.reject(new Error("work")), late), /^Error: work$/);
});

Deno.test("within() ignores work that fails after its time", async () => {
  const { promise, reject } = Promise.withResolvers<never>();
  assert.equal(await within(1, promise, () => "late"), "late");
  reject(new Error("an unhandled rejection would end the process"));
});

Deno.test("orAbort() ends with the signal, and hands on what comes later", async () => {
  const end = new AbortController();
  const { promise, resolve } = Promise.withResolvers<number>();
  const discarded = Promise.withResolvers<number>();
  const waiting = orAbort(promise, end.signal, discarded.resolve);
  end.abort(new Error("enough"));
  await assert.rejects(waiting, /^Error: enough$/);
  resolve(7);
  assert.equal(await discarded.promise, 7);
  assert.equal(await orAbort(1, undefined), 1);
  assert.equal(await orAbort(Promise.resolve(2), new AbortController().signal), 2);
});

Deno.test("orAbort() with an aborted signal discards what is there already", async () => {
  const discarded: number[] = [];
  await assert.rejects(
    orAbort(Promise.resolve(1), AbortSignal.abort(new Error("enough")), (it) => discarded.push(it)),
    /^Error: enough$/,
  );
  assert.deepEqual(discarded, [1]);
});

Deno.test("pause() ends with its time, or rejects with the reason of the signal", async () => {
  const began = performance.now();
  await pause(20);
  assert.ok(performance.now() - began > 15);
  const end = new AbortController();
  const waiting = pause(60_000, end.signal);
  end.abort(new Error("enough"));
  await assert.rejects(waiting, /^Error: enough$/);
  // Without a timer that is left: the test would fail for it.
  await assert.rejects(pause(60_000, end.signal), /^Error: enough$/);
  await pause(1, new AbortController().signal);
});
