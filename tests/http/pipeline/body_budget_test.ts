/** What request bodies may take of the memory, all together and of one user. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { openDiskBlobs } from "../../../src/blobs/mod.ts";
import { BodyBudget, isLarge } from "../../../src/http/pipeline/body_budget.ts";
import { digestOf, type Signer, signRequest } from "../../../src/signature/mod.ts";
import { answerOf, isProblem, ORIGIN, someone, type TestPlane, testPlane } from "../kit.ts";

const KB = 1024;
const MB = 1024 * KB;

/** A request whose body comes when it is told. */
async function slowly(
  it: TestPlane,
  line: string,
  as: Signer,
  { declared, address = "127.0.0.1" }: { declared?: number; address?: string } = {},
) {
  const [method = "", path = ""] = line.split(" ");
  const url = ORIGIN + path;
  const signed = await signRequest({ method, url, digest: digestOf(new Uint8Array()) }, as, {});
  const headers = new Headers({ ...signed, "content-type": "application/json" });
  if (declared !== undefined) headers.set("content-length", String(declared));
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>(
    {},
    { highWaterMark: 64 },
    { highWaterMark: 64 },
  );
  const writer = writable.getWriter();
  const init = { method, headers, body: readable, duplex: "half" } as RequestInit;
  let isDone = false;
  const answer = it.plane.fetch(new Request(url, init), { address })
    .then(answerOf)
    .finally(() => isDone = true);
  return {
    answer,
    isDone: () => isDone,
    send: (bytes: number) => void writer.write(new Uint8Array(bytes).fill(32)).catch(() => {}),
    end: () => void writer.close().catch(() => {}),
  };
}

/** Bytes that bodies take now, as operators see it. */
async function taken(it: TestPlane): Promise<number> {
  const { text } = await it.ask("GET /metrics");
  return Number(/^unibus_http_body_bytes (\d+)/m.exec(text)?.[1]);
}

async function until(check: () => Promise<boolean> | boolean): Promise<void> {
  for (const end = Date.now() + 60_000; !(await check());) {
    assert.ok(Date.now() < end, "Not within 60 s");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

Deno.test("bodies of many users take no more memory than all may", async () => {
  await using it = await testPlane({ maxBodyMemory: 2 * MB });
  const users = await Promise.all(Array.from({ length: 12 }, () => it.user()));
  const bodies = await Promise.all(users.map((as) => slowly(it, "POST /v1/rooms", as)));
  for (const body of bodies) body.send(200 * KB);
  await until(() => bodies.some((body) => body.isDone()));
  const refused = bodies.filter((body) => body.isDone());
  for (const body of refused) {
    const answer = await body.answer;
    isProblem(answer, 503, "unavailable");
    assert.equal(answer.json.reason, "overloaded");
    assert.equal(answer.headers.get("retry-after"), "1");
  }
  assert.ok(refused.length < 12 && await taken(it) <= 2 * MB);
  for (const body of bodies) body.end();
  await Promise.all(bodies.map((body) => body.answer));
  assert.equal(await taken(it), 0);
});

Deno.test("one user sends two large bodies at once, and another a third", async () => {
  await using it = await testPlane();
  const [user, other] = [await it.user(), await it.user()];
  const declared = 900 * KB;
  const first = await slowly(it, "POST /v1/rooms", user, { declared });
  // One that does not say how long it is counts when it has grown.
  const second = await slowly(it, "POST /v1/rooms", user);
  second.send(300 * KB);
  await until(async () => await taken(it) >= 300 * KB);
  const third = await (await slowly(it, "POST /v1/rooms", user, { declared })).answer;
  isProblem(third, 429, "rate_limited");
  assert.match(third.json.detail, /2 bodies of more than 262144 bytes/);
  assert.equal(third.headers.get("retry-after"), "1");
  const theirs = await slowly(it, "POST /v1/rooms", other, { declared });
  const small = await it.ask("POST /v1/rooms", { as: user, body: { id: "a", encrypted: false } });
  assert.equal(small.status, 201);
  assert.ok(!theirs.isDone());
  for (const body of [first, second, theirs]) body.end();
  await Promise.all([first, second, theirs].map((body) => body.answer));
  const again = await slowly(it, "POST /v1/rooms", user, { declared });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(!again.isDone());
  again.end();
  await again.answer;
});

Deno.test("many small bodies of one user leave three quarters to the others", async () => {
  await using it = await testPlane({ maxBodyMemory: MB });
  const [user, other] = [await it.user(), await it.user()];
  const bodies = await Promise.all(
    Array.from({ length: 20 }, () => slowly(it, "POST /v1/rooms", user)),
  );
  for (const body of bodies) body.send(20 * KB);
  await until(() => bodies.some((body) => body.isDone()));
  isProblem(await bodies.find((body) => body.isDone())!.answer, 429, "rate_limited");
  assert.ok(await taken(it) <= MB / 4);
  const body = { id: "a", encrypted: false, subject: undefined, more: "x".repeat(100 * KB) };
  const theirs = await it.ask("POST /v1/rooms", { as: other, body });
  isProblem(theirs, 400, "invalid");
  for (const it of bodies) it.end();
  await Promise.all(bodies.map((it) => it.answer));
});

Deno.test("a body of one byte takes no 64 KiB", async () => {
  await using it = await testPlane();
  const user = await it.user();
  const bodies = await Promise.all(
    Array.from({ length: 100 }, () => slowly(it, "POST /v1/rooms", user)),
  );
  for (const body of bodies) body.send(1);
  await until(async () => await taken(it) === 100 * 4 * KB);
  for (const body of bodies) body.end();
  await Promise.all(bodies.map((body) => body.answer));
});

Deno.test("who is no user yet sends small bodies only, whatever keys they make", async () => {
  await using it = await testPlane();
  const large = await it.ask("POST /v1/register", {
    as: someone(),
    body: { token: "x".repeat(20 * KB) },
  });
  isProblem(large, 413, "too_large");
  await using small = await testPlane({ maxBodyMemory: 64 * KB });
  const bodies = await Promise.all(
    Array.from({ length: 10 }, () => slowly(small, "POST /v1/register", someone())),
  );
  for (const body of bodies) body.send(KB);
  await until(() => bodies.filter((body) => body.isDone()).length === 6);
  for (const body of bodies.filter((it) => it.isDone())) {
    isProblem(await body.answer, 429, "rate_limited");
  }
  // Of another address they are taken.
  const there = await slowly(small, "POST /v1/register", someone(), { address: "10.1.2.3" });
  there.send(1);
  await until(async () => await taken(small) === 5 * 4 * KB);
  for (const body of [...bodies, there]) body.end();
  await Promise.all([...bodies, there].map((body) => body.answer));
});

Deno.test("a blob on its way is a large body", async () => {
  const directory = await Deno.makeTempDir();
  try {
    await using blobs = await openDiskBlobs(directory);
    await using it = await testPlane({ blobs });
    const user = await it.user();
    const [first, second] = [
      await slowly(it, "PUT /v1/blobs", user),
      await slowly(it, "PUT /v1/blobs", user),
    ];
    await until(async () => await taken(it) === 2 * MB);
    const third = await it.ask("PUT /v1/blobs", {
      as: user,
      body: new Uint8Array(randomBytes(10)),
    });
    isProblem(third, 429, "rate_limited");
    for (const body of [first, second]) body.end();
    await Promise.all([first, second].map((body) => body.answer));
    assert.equal(await taken(it), 0);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a body of exactly 256 KiB is not large yet", () => {
  const of = (length: number) => isLarge(new Headers({ "content-length": String(length) }));
  assert.deepEqual([of(256 * KB), of(256 * KB + 1)], [false, true]);
  assert.equal(isLarge(new Headers()), false);
});

Deno.test("what is held is given back once, and counted where nobody is known", () => {
  const budget = new BodyBudget(MB);
  const share = budget.open(null);
  share.hold(500 * KB);
  share.hold(300 * KB);
  assert.equal(budget.bytes, 500 * KB);
  assert.throws(
    () => budget.open(null).hold(600 * KB),
    /Request bodies already use the maximum of 1048576 bytes/,
  );
  share.close();
  share.close();
  assert.equal(budget.bytes, 0);
});
