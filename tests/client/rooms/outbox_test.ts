/** Messages on their way: in order, again until seen, and never taken for seen by something else. */

import assert from "node:assert/strict";
import { createIdentity } from "../../../src/client/mod.ts";
import { Outbox } from "../../../src/client/rooms/outbox.ts";
import { MessageSealer, readHeader } from "../../../src/sealing/message.ts";
import { nodePrimitives } from "../../../src/sealing/primitives_node.ts";
import { until } from "./village.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** An outbox of one sender, and what it published. */
function outbox(timeout = 60_000) {
  const place = { roomId: "kitchen", epoch: 1 };
  const sealer = new MessageSealer(nodePrimitives, createIdentity(), place, new Uint8Array(32));
  const published: Uint8Array[] = [];
  const times: number[] = [];
  const it = new Outbox({
    seal: async (data, use) => use(await sealer.seal(data)),
    publish(bytes) {
      published.push(bytes);
      times.push(performance.now());
    },
    timeout,
  });
  const back = (bytes: Uint8Array) => it.seen(readHeader(bytes), bytes);
  return { it, published, times, back, [Symbol.dispose]: () => it.end(new Error("over")) };
}

/** Lets what is ready happen. */
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("a message is sent when it came back, the very same, and not before", async () => {
  using box = outbox();
  let sent = false;
  const sending = box.it.send(bytesOf("soup")).then(() => sent = true);
  await turn();
  const [bytes] = box.published;
  const altered = new Uint8Array(bytes!);
  altered[altered.length - 1]! ^= 1;
  assert.equal(box.back(altered), false);
  const other = outbox();
  await Promise.all([turn(), void other.it.send(bytesOf("x")).catch(() => {})]);
  assert.equal(box.back(other.published[0]!), false);
  other.it.end(new Error("over"));
  assert.equal(sent, false);
  assert.equal(box.back(bytes!), true);
  await sending;
  assert.equal(box.back(bytes!), false, "only once");
});

Deno.test("what was not seen is sent again as it was, what was seen is not", async () => {
  using box = outbox();
  const sending = ["one", "two", "three"].map((it) => box.it.send(bytesOf(it)));
  await turn();
  const [one, two, three] = box.published;
  box.back(two!);
  box.it.resend();
  assert.deepEqual(box.published.slice(3), [one, three]);
  for (const it of [one!, three!]) box.back(it);
  assert.deepEqual((await Promise.all(sending)).map((it) => it.seq), [0, 1, 2]);
});

Deno.test("what was waiting while the computer slept is given up, not sent as news", async () => {
  using box = outbox();
  const sending = box.it.send(bytesOf("soup"));
  await turn();
  const awake = Date.now;
  // The monotonic clock stopped meanwhile.
  Date.now = () => awake() + 7_200_000;
  try {
    box.it.resend();
  } finally {
    Date.now = awake;
  }
  assert.equal(box.published.length, 1);
  await assert.rejects(sending, { code: "unavailable" });
});

Deno.test("a message is given up in its time, also when the clock is set back", async () => {
  using box = outbox();
  const sending = box.it.send(bytesOf("soup"));
  await turn();
  const { now } = Date;
  const monotonic = performance.now;
  Date.now = () => now() - 3_600_000;
  performance.now = () => monotonic.call(performance) + 60_000;
  try {
    box.it.resend();
  } finally {
    Date.now = now;
    performance.now = monotonic;
  }
  assert.equal(box.published.length, 1);
  await assert.rejects(sending, { code: "unavailable" });
});

Deno.test("many at once go in the order of their calls, so many at a time", async () => {
  using box = outbox();
  const order: number[] = [];
  const sending = Array.from(
    { length: 1000 },
    (_, i) => box.it.send(bytesOf(`${i}`)).then(({ seq }) => order.push(seq)),
  );
  let most = 0;
  for (let at = 0; at < 1000;) {
    await turn();
    most = Math.max(most, box.published.length - at);
    // In any order, as long as there are some.
    for (const it of box.published.slice(at).reverse()) box.back(it), at++;
  }
  await Promise.all(sending);
  assert.deepEqual(box.published.map((it) => readHeader(it).seq), order.map((_, i) => i));
  assert.ok(most <= 256, String(most));
});

Deno.test("what does not come back is sent again after a while, although no connection was lost", async () => {
  using box = outbox();
  const sending = ["one", "two"].map((it) => box.it.send(bytesOf(it)));
  await turn();
  const [one, two] = box.published;
  box.back(two!);
  await until(() => box.published.length === 4, "the message again, and once more");
  assert.deepEqual(box.published.slice(2), [one, one]);
  const [first, , second, third] = box.times;
  assert.ok(second! - first! > 1_000 && third! - second! > 1_000, `${box.times}: not at once`);
  box.back(one!);
  await Promise.all(sending);
});

Deno.test("calls that are given up while they wait for a place leave the others in their order", async () => {
  using box = outbox();
  const all = Array.from({ length: 256 }, () => box.it.send(bytesOf("before")));
  const [first, second] = [new AbortController(), new AbortController()];
  const waiting = box.it.send(bytesOf("first"), first.signal);
  const after = box.it.send(bytesOf("second"), second.signal);
  const rest = ["third", "fourth"].map((it) => box.it.send(bytesOf(it)));
  await turn();
  // One whose turn has not come must not let a later one overtake the one that has the turn.
  second.abort();
  await assert.rejects(after, { code: "aborted" });
  await turn();
  assert.equal(box.published.length, 256);
  first.abort();
  await assert.rejects(waiting, { code: "aborted" });
  for (let at = 0; at < 258; at++) {
    await until(() => box.published.length > at, `message ${at}`);
    box.back(box.published[at]!);
  }
  const sent = await Promise.all([...all, ...rest]);
  assert.deepEqual(sent.map((it) => it.seq), sent.map((_, i) => i));
});

Deno.test("the end reaches those that wait for a place too, and leaves no timer", {
  sanitizeOps: true,
}, async () => {
  using box = outbox();
  const all = Array.from({ length: 300 }, () => box.it.send(bytesOf("one")));
  const ended = all.map((it) => assert.rejects(it, /over/));
  await turn();
  box.it.end(new Error("over"));
  await Promise.all(ended);
});

Deno.test("it gives up in time, when told to, and at its end; a place that was waited for is passed on", async () => {
  using box = outbox(2000);
  const controller = new AbortController();
  const first = box.it.send(bytesOf("one"), controller.signal);
  const rest = Array.from({ length: 300 }, () => box.it.send(bytesOf("more")));
  const waiting = new AbortController();
  const last = box.it.send(bytesOf("last"), waiting.signal);
  for (const it of [...rest, last]) it.catch(() => {});
  await turn();
  waiting.abort();
  controller.abort();
  await assert.rejects(first, { code: "aborted" });
  await assert.rejects(rest[0]!, { code: "unavailable" });
  await assert.rejects(last, { code: "aborted" });
  const another = box.it.send(bytesOf("another"));
  await turn();
  box.it.end(new Error("over"));
  await assert.rejects(another, /over/);
  await assert.rejects(box.it.send(bytesOf("late")), /over/);
});
