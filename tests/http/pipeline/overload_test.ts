/** More requests than the server can answer: what it does with them, and what it does right after. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { isStoreError, type Store } from "../../../mod.ts";
import { createClient } from "../../../src/client/mod.ts";
import type { ControlPlaneEvent } from "../../../src/http/events.ts";
import { createControlPlane, serve } from "../../../src/http/mod.ts";
import { Gate } from "../../../src/http/pipeline/shed.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { type Flood, type Flooded, flooder } from "../../bench/http/flood.ts";

const FLOOD = fileURLToPath(new URL("../../bench/http/flood.ts", import.meta.url));

/** Sends a flood from another process. */
async function flooded(it: Flood): Promise<Flooded> {
  const args = ["run", "-A", "--no-check", FLOOD, JSON.stringify(it)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 120_000 });
  return JSON.parse(stdout);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A store that answers one after another, each in so many milliseconds. */
function slow(store: Store, ms: number): { store: Store; queue: { now: number; most: number } } {
  const queue = { now: 0, most: 0 };
  let before: Promise<unknown> = Promise.resolve();
  const getUser: Store["getUser"] = async (signPub) => {
    queue.most = Math.max(queue.most, ++queue.now);
    const turn = before.then(() => pause(ms));
    before = turn;
    await turn;
    queue.now--;
    return await store.getUser(signPub);
  };
  return { store: withMethod(store, { getUser }), queue };
}

/** A store that keeps the processor busy for so many milliseconds each time. */
function busy(store: Store, ms: number): Store {
  const isAuthorized: Store["isAuthorized"] = (signPub) => {
    const until = performance.now() + ms;
    while (performance.now() < until);
    return store.isAuthorized(signPub);
  };
  return withMethod(store, { isAuthorized });
}

function withMethod(store: Store, methods: Partial<Store>): Store {
  return new Proxy(store, {
    get(target, name) {
      const own = (methods as Record<string | symbol, unknown>)[name];
      if (own !== undefined) return own;
      const found = Reflect.get(target, name);
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
}

/** Floods a server and looks at what came of it, and at how it serves right after. */
async function overload(store: Store, hardened: boolean, rate: number): Promise<Flooded> {
  const identity = flooder();
  const { signPub, kexPub } = identity;
  const events: ControlPlaneEvent[] = [];
  const plane = createControlPlane(store, { onEvent: (it) => events.push(it) });
  await store.addUser({ signPub, kexPub, handle: "flooder", role: "admin" });
  await using server = await serve(plane, { hardened, maxConnectionsPerAddress: 10_000 });
  const found = await flooded({
    port: server.port,
    rate,
    seconds: 1.2,
    connections: 1500,
    what: "read",
    probe: "/healthz",
  });
  // At once, each the first time.
  using client = createClient({ url: server.url, identity, retries: 0, timeout: 30_000 });
  const after = await Promise.all(Array.from({ length: 16 }, () => client.me()));
  for (const it of after) assert.equal(it.endpoint, signPub);

  assert.deepEqual(Object.keys(found.status).sort(), ["200", "503"], JSON.stringify(found));
  assert.equal(found.cut, 0, "every request was answered");
  assert.equal(found.wrong, 0, "the answers are right, and refusals say when to come back");
  assert.ok(found.accepted.n >= 30, JSON.stringify(found));
  assert.ok(found.probe.n > 0 && found.probe.failed === 0, "it answers that it lives");
  const metrics = await client.metrics();
  const shed = Number(/^unibus_http_shed_total (\d+)$/m.exec(metrics)![1]);
  // The flood's last request, which looks whether all is over, may have been refused as well.
  assert.ok(shed >= found.shed.n, `${shed} counted`);
  assert.match(metrics, /^unibus_http_in_flight 0$/m);
  const told = events.filter((it) => it.event === "overloaded");
  assert.ok(told.length > 0 && told.length < 60, `${told.length} lines`);
  assert.deepEqual(events.filter((it) => it.event === "failed"), []);
  return found;
}

Deno.test("of five times what the store can answer, the rest is refused at once", async () => {
  await using sqlite = openSqlite(":memory:");
  const { store, queue } = slow(sqlite, 4);
  await overload(store, true, 1250);
  assert.ok(queue.most <= 400, `${queue.most} waited for the store`);
  assert.equal(queue.now, 0);
});

for (const hardened of [false, true]) {
  const name = hardened ? "hardened" : "Deno.serve";

  Deno.test(`${name}: of five times what the processor can do, the rest is refused at once`, async () => {
    await using sqlite = openSqlite(":memory:");
    await overload(busy(sqlite, 4), hardened, 1250);
  });
}

Deno.test("a POST that was refused for the load is made again by the client, and done once", async () => {
  await using sqlite = openSqlite(":memory:");
  const identity = flooder();
  const { signPub, kexPub } = identity;
  await sqlite.addUser({ signPub, kexPub, handle: "flooder", role: "admin" });
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const store = withMethod(sqlite, {
    getUser: async (it) => {
      await released;
      return await sqlite.getUser(it);
    },
  });
  const plane = createControlPlane(store, { maxInFlight: 1 });
  const fetch = (request: Request) => plane.fetch(request, { address: "127.0.0.1" });
  const options = { url: "http://127.0.0.1:8470", identity, fetch };
  using first = createClient(options);
  using second = createClient({ ...options, retries: 0 });
  const held = first.me();
  await assert.rejects(second.createInvite(), (error) => {
    assert.ok(isStoreError(error, "unavailable"));
    const { status, reason, retryAfter } = error.cause as Record<string, unknown>;
    assert.deepEqual({ status, reason }, { status: 503, reason: "overloaded" });
    assert.ok((retryAfter as number) >= 1 && (retryAfter as number) <= 3);
    return true;
  });
  for (const path of ["/healthz", "/readyz", "/metrics"]) {
    assert.equal((await fetch(new Request(`http://127.0.0.1:8470${path}`))).status, 200, path);
  }
  const waiting = first.createInvite({ note: "second try" });
  await pause(50);
  release();
  assert.equal((await held).endpoint, signPub);
  assert.equal((await waiting).invite.note, "second try");
  assert.equal((await sqlite.listInvites()).items.length, 1);
});

/** A gate with a clock of its own is none: these wait for real, in tens of milliseconds. */
function gateOf(options: Partial<ConstructorParameters<typeof Gate>[0]> = {}): Gate {
  const lateness = () => ({ now: 0, before: 0, turn: 0 });
  return new Gate({ maxInFlight: 1000, maxDelay: 20, lateness, ...options });
}

function fill(gate: Gate, most = Infinity) {
  const slots = [];
  for (let it = gate.enter(); it !== null; it = gate.enter()) {
    slots.push(it);
    if (slots.length >= most) break;
  }
  return slots;
}

Deno.test("where answers take too long, so many are let in as are answered in time", async () => {
  const gate = gateOf();
  const slots = fill(gate);
  assert.equal(slots.length, 256);
  await pause(100);
  for (const it of slots) it.leave();
  assert.ok(gate.limit >= 16 && gate.limit <= 52, `${gate.limit}`);
  assert.equal(gate.inFlight, 0);
  // And more again, once they are quick.
  for (let round = 0; round < 1000 && gate.limit <= 256; round++) {
    for (const it of fill(gate)) it.leave();
  }
  assert.ok(gate.limit > 256, `${gate.limit}`);
});

Deno.test("one that is slow by itself keeps nobody out", async () => {
  const gate = gateOf();
  const [slot] = fill(gate, 1);
  await pause(60);
  slot!.leave();
  slot!.leave();
  assert.equal(gate.limit, 256);
  assert.equal(gate.inFlight, 0);
});

Deno.test("who waits for a slow client is not counted, and its time is not ours", async () => {
  const gate = gateOf({ maxInFlight: 2 });
  const slots = fill(gate);
  assert.equal(slots.length, 2);
  const { promise: body, resolve: arrived } = Promise.withResolvers<void>();
  const waiting = slots.map((it) => it.waitFor(() => body));
  assert.equal(gate.enter(), null);
  while (gate.inFlight > 0) await pause(5);
  const others = fill(gate);
  assert.equal(others.length, 2);
  for (const it of others) it.leave();
  arrived();
  await Promise.all(waiting);
  assert.equal(gate.inFlight, 2);
  for (const it of slots) it.leave();
  assert.equal(gate.limit, 2);
  assert.equal(gate.inFlight, 0);
});

Deno.test("an event loop that is late twice lets some in, late once all", () => {
  let late = { now: 300, before: 0, turn: 1 };
  const gate = gateOf({ maxDelay: 500, lateness: () => late });
  for (const it of fill(gate, 100)) it.leave();
  assert.equal(gate.shed, 0);
  late = { now: 300, before: 300, turn: 2 };
  assert.equal(fill(gate).length, 16);
  late = { now: 300, before: 300, turn: 3 };
  assert.equal(fill(gate).length, 16);
  late = { now: 0, before: 300, turn: 4 };
  assert.ok(fill(gate, 100).length === 100);
});

Deno.test("without bounds nobody is kept out", () => {
  const late = { now: 1e6, before: 1e6, turn: 0 };
  const gate = gateOf({ maxInFlight: Infinity, maxDelay: Infinity, lateness: () => late });
  assert.equal(fill(gate, 5000).length, 5000);
});
