/** Attacks on the pages and on what admins are told: each was possible once. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { openSqlite } from "@unibus/membership";
import { createClient, createIdentity } from "@unibus/membership/client";
import { rosterOf } from "../../../src/http/routes/roster.ts";
import { serve } from "../../../src/http/serve/serve.ts";
import { Gate, Overloaded, type Slot } from "../../../src/http/pipeline/shed.ts";
import { callsOf } from "../../../src/client/http/client.ts";
import { callerOf } from "../../../src/web/shared/api.ts";
import { sealedFor, someone, testPlane } from "../kit.ts";
import { until } from "../../cli/serve/kit.ts";

/** What a proxy on this machine adds to what it hands on for others. */
const PASSED_ON = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

Deno.test("who comes through a proxy on this machine is not on this machine", async () => {
  await using it = await testPlane();
  await using soft = await testPlane({ busAuth: "soft" });
  const ask = async (plane: typeof it, path: string, headers: Record<string, string> = {}) =>
    await plane.ask(`GET ${path}`, { headers });
  for (const name of PASSED_ON) {
    const headers = { [name]: "203.0.113.7" };
    assert.equal((await ask(it, "/metrics", headers)).status, 403, name);
    const { checks } = (await ask(it, "/readyz", headers)).json;
    assert.ok(checks.length > 0 && checks.every((it: object) => !("detail" in it)), name);
    assert.equal((await ask(soft, "/console", headers)).status, 403, name);
    assert.equal((await ask(it, "/console", headers)).status, 200, name);
  }
  assert.equal((await ask(it, "/metrics")).status, 200);
  assert.equal((await ask(soft, "/console")).status, 200);
});

Deno.test("a page whose name was made to lead here reads no particulars of this machine", async () => {
  for (const busAuth of ["off", "soft", "enforce"] as const) {
    await using it = await testPlane({
      busAuth,
      authorities: ["bus.example.org", "127.0.0.1:8470"],
    });
    const ask = async (path: string, host: string) => {
      const request = new Request(`http://${host}${path}`, { headers: { host } });
      const answer = await it.plane.fetch(request, { address: "127.0.0.1" });
      return { status: answer.status, text: await answer.text() };
    };
    for (const host of ["evil.example:8470", "127.0.0.1.evil.example", "localhost.evil.example"]) {
      assert.equal((await ask("/metrics", host)).status, 403, host);
      const ready = await ask("/readyz", host);
      assert.equal(ready.status, 200);
      assert.doesNotMatch(ready.text, /detail/, host);
    }
    const own = [
      "bus.example.org",
      "127.0.0.1:8470",
      "127.0.0.1:9999",
      "[::1]:1",
      "localhost:8470",
    ];
    for (const host of own) {
      assert.equal((await ask("/metrics", host)).status, 200, host);
      assert.match((await ask("/readyz", host)).text, /detail/, host);
    }
  }
});

Deno.test("what a page asks for by a key out of an address is that, and nothing else", async () => {
  await using it = await testPlane();
  await using listening = await serve(it.plane, { hardened: true });
  const [admin, victim] = [await it.user("admin"), await it.user("admin")];
  const id = createHash("sha256").update("x").digest("hex");
  const api = callsOf(callerOf(admin, listening.url));
  const { signPub } = victim;
  assert.equal((await api.getUser(signPub)).signPub, signPub);
  const hostile = [
    `../blobs/${id}`,
    `..\\blobs\\${id}`,
    `%2e%2e/blobs/${id}`,
    `${someone().signPub}/../${signPub}`,
    `${signPub}#`,
    `${signPub}?x=`,
    `./${signPub}`,
    `${signPub}\t`,
  ];
  const asked = () => it.events.filter((it) => it.event === "request").length;
  const before = asked();
  for (const key of hostile) {
    await assert.rejects(api.getUser(key), { code: "invalid" }, key);
    await assert.rejects(api.setUserRole(key, "user"), { code: "invalid" }, key);
    await assert.rejects(api.deleteUser(key), { code: "invalid" }, key);
    await assert.rejects(api.getInvite(key), { code: "invalid" }, key);
  }
  for (const room of [".", "..", "../users"]) {
    await assert.rejects(api.roomRoster(room), { code: "invalid" }, room);
  }
  assert.equal(asked(), before, "none of it was sent");
  // A room's id may be nearly anything.
  const room = "ops/ü's~room!(#1)?&%2f.;x";
  const body = { id: room, sealedKeys: sealedFor(admin) };
  assert.equal((await it.ask("POST /v1/rooms", { as: admin, body })).status, 201);
  assert.equal((await api.roomRoster(room)).room.id, room);
});

Deno.test("a client that goes while it waits for changes is no failure of the server", async () => {
  await using it = await testPlane();
  await using listening = await serve(it.plane, { hardened: true });
  const identity = createIdentity();
  const { signPub, kexPub } = identity;
  await it.store.addUser({ signPub, kexPub, handle: "Ada", role: "admin" });
  using client = createClient({ url: listening.url, identity, retries: 0 });
  const { items } = await client.changes();
  const end = new AbortController();
  const after = items.at(-1)!.revision;
  const polling = client.changes({ after, wait: 25, signal: end.signal });
  const polls = () =>
    it.events.filter((it) => it.event === "request" && it.route === "/v1/changes").length;
  await until(async () => /^unibus_http_waiting 1$/m.test(await client.metrics()), "it waits");
  end.abort();
  await assert.rejects(polling);
  await until(() => Promise.resolve(polls() === 2), "its end is noted");
  assert.deepEqual(it.events.filter((it) => it.level === "error"), []);
});

/** How often the event loop goes round while something is done. */
async function turnsOf(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let isOver = false;
  const count = (): void => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  await work();
  isOver = true;
  return turns;
}

Deno.test("a room of very many members is read a part at a time: others are answered in between", async () => {
  await using store = openSqlite(":memory:");
  const keyOf = (i: number) => `9${i.toString(16).padStart(63, "0")}`;
  const owner = { endpoint: keyOf(0), kexPub: keyOf(1) };
  const members = Array.from({ length: 25_000 }, (_, i) => ({ ...owner, endpoint: keyOf(i + 1) }));
  await store.createRoom({ id: "r", subject: "r", encrypted: false, owner, members });
  let members_ = 0;
  const turns = await turnsOf(async () => {
    members_ = (await rosterOf(store, "r", { limit: 1 })).members;
  });
  assert.equal(members_, 25_001);
  assert.ok(turns >= 3, `${turns} turns`);
});

/** Lets in whoever may come. */
function filled(gate: Gate): Slot[] {
  const slots: Slot[] = [];
  for (let it = gate.enter(); it !== null; it = gate.enter()) slots.push(it);
  return slots;
}

Deno.test("who sends bodies slowly keeps nobody out, and gets no place that others have taken", async () => {
  const lateness = () => ({ now: 0, before: 0, turn: 0 });
  const gate = new Gate({ maxInFlight: 8, maxDelay: 60_000, lateness });
  const slow = filled(gate);
  assert.equal(slow.length, 8);
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<string>();
  const bodies = slow.map((it) => it.waitForBody(() => arrived));
  const began = performance.now();
  await until(() => Promise.resolve(gate.inFlight === 0), "they are not counted any more");
  assert.ok(performance.now() - began < 40_000, "long before an answer would be late");
  const others = filled(gate);
  assert.equal(others.length, 8);
  // One of them is done by the time the bodies are there.
  others.pop()!.leave();
  arrive("body");
  const ends = await Promise.allSettled(bodies);
  assert.equal(ends.filter((it) => it.status === "fulfilled" && it.value === "body").length, 1);
  const refused = ends.filter((it) => it.status === "rejected" && it.reason instanceof Overloaded);
  assert.equal(refused.length, 7);
  assert.equal(gate.inFlight, 8);
  for (const it of [...slow, ...others]) it.leave();
  assert.equal(gate.inFlight, 0);
  // One that never comes leaves nothing behind either.
  const [slot] = filled(gate);
  await assert.rejects(slot!.waitForBody(() => Promise.reject(new Error("cut"))), /cut/);
  slot!.leave();
});

Deno.test("a request whose place was taken while its body came is refused as overloaded, and nothing was done", async () => {
  await using it = await testPlane({ maxInFlight: 1, maxDelay: 100 });
  const admin = await it.user("admin");
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  let isAwaited = false;
  const bodyOf = async function* (): AsyncGenerator<Uint8Array> {
    isAwaited = true;
    await arrived;
    yield new TextEncoder().encode("{}");
  };
  const slowly = (request: Request): Request =>
    new Request(request.url, {
      method: "POST",
      headers: request.headers,
      body: ReadableStream.from(bodyOf()),
      duplex: "half",
    } as RequestInit);
  const creating = it.ask("POST /v1/invites", { as: admin, body: {}, tamper: slowly });
  await until(() => Promise.resolve(isAwaited), "the body is waited for");
  let isHeld = false;
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const holding = it.store.getUser.bind(it.store);
  it.store.getUser = async (signPub) => {
    isHeld = true;
    await released;
    return await holding(signPub);
  };
  let held: ReturnType<typeof it.ask> | undefined;
  await until(async () => {
    const asked = it.ask("GET /v1/me", { as: admin });
    const first = await Promise.race([asked, delay(20).then(() => null)]);
    if (first === null) held = asked;
    return isHeld;
  }, "another has the place");
  arrive();
  const answer = await creating;
  assert.equal(answer.status, 503, answer.text);
  assert.equal(answer.json.reason, "overloaded");
  assert.match(answer.headers.get("retry-after")!, /^[123]$/);
  release();
  assert.equal((await held!).status, 200);
  assert.deepEqual((await it.store.listInvites()).items, []);
  assert.deepEqual(it.events.filter((it) => it.level === "error"), []);
});
