/** Rooms under a control plane that lies over a real port, and programs that are careless with them. */

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  cardOf,
  type Client,
  createClient,
  createIdentity,
  fileMemory,
  isSealingError,
  isStoreError,
  type RoomMemory,
  type SealingReason,
} from "../../../src/client/mod.ts";
import { membersOf } from "../../../src/client/rooms/membership.ts";
import { Outbox } from "../../../src/client/rooms/outbox.ts";
import { Trust } from "../../../src/client/rooms/trust.ts";
import { createControlPlane } from "../../../src/http/control_plane.ts";
import { MessageSealer, readHeader } from "../../../src/sealing/message.ts";
import { nodePrimitives } from "../../../src/sealing/primitives_node.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { testServer } from "../../helpers/nats.ts";
import { Heard, type Person, personOf, until } from "./village.ts";

const named = (reason: SealingReason) => (error: unknown) => {
  assert.ok(isSealingError(error, reason), String(error));
  return true;
};

/** What a lying control plane answers; `undefined`: the truth. */
type Answer = Response | undefined | Promise<Response | undefined>;

/** A control plane behind a port of its own, that answers as it likes, and a bus. */
async function liar() {
  await using stack = new AsyncDisposableStack();
  const bus = stack.use(await testServer());
  const store = stack.use(openSqlite(":memory:"));
  const plane = createControlPlane(store);
  const asked: string[] = [];
  let answer: (request: Request, path: string) => Answer = () => undefined;
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    async (request) => {
      const path = new URL(request.url).pathname;
      asked.push(`${request.method} ${path}`);
      const found = await answer(request, path);
      if (found === undefined) return await plane.fetch(request);
      await request.body?.cancel();
      return found;
    },
  );
  stack.defer(() => server.shutdown());
  const owned = stack.move();
  return {
    store,
    bus,
    asked,
    lie: (it: typeof answer | null) => void (answer = it ?? (() => undefined)),
    async person(identity = createIdentity()): Promise<Person> {
      const { signPub, kexPub } = identity;
      await store.addUser({ signPub, kexPub, handle: "somebody" }).catch(() => {});
      const url = `http://127.0.0.1:${server.addr.port}`;
      const client = owned.use(createClient({ url, identity, retries: 0, timeout: 30_000 }));
      return personOf(identity, client, bus, owned);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function inDir(work: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "unibus-adversary-"));
  await work(dir).finally(() => rm(dir, { recursive: true }));
}

const isRemoval = ({ method }: Request, path: string) =>
  method === "DELETE" && path.includes("/members/");

Deno.test("a control plane that keeps a member who was taken out gets no key sealed for it, not even after a restart", async () => {
  await using it = await liar();
  const [ada, bob, eve] = [await it.person(), await it.person(), await it.person()];
  const members = [cardOf(bob.identity), cardOf(eve.identity)];
  const rooms = await ada.rooms();
  const room = await rooms.createRoom({ id: "kitchen", members });
  // It says done, and does nothing.
  it.lie((request, path) =>
    isRemoval(request, path) ? new Response(null, { status: 204 }) : undefined
  );
  const { signPub } = eve.identity;
  await assert.rejects(room.removeMember(signPub), named("key_changed"));
  await assert.rejects(room.rekey(), named("key_changed"));
  await rooms.close();
  const again = await (await ada.rooms()).join("kitchen");
  await assert.rejects(again.rekey(), named("key_changed"));
  assert.ok(!it.asked.some((it) => it.endsWith("/rekey")), "nothing was sealed for it");
  // Once it does as it is told, the room goes on; and who comes back is in again.
  it.lie(null);
  await again.removeMember(signPub);
  assert.equal(again.epoch, 2);
  await again.addMember(cardOf(eve.identity));
  assert.equal(await again.rekey(), 3);
  assert.deepEqual(await again.lacking(), []);
});

Deno.test("who was taken out and is invited again in the same epoch is in", async () => {
  await using it = await liar();
  const [ada, eve] = [await it.person(), await it.person()];
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(eve.identity)],
  });
  // Cut off between the removal and the new key.
  it.lie((_, path) => path.endsWith("/rekey") ? new Response(null, { status: 500 }) : undefined);
  await assert.rejects(room.removeMember(eve.identity.signPub));
  it.lie(null);
  await room.addMember(cardOf(eve.identity));
  assert.ok(await room.rekey() >= 2);
  assert.deepEqual(await room.lacking(), []);
});

Deno.test("a control plane cannot pass off another room for the one that is made", async () => {
  await using it = await liar();
  const [ada, bob, eve] = [await it.person(), await it.person(), await it.person()];
  const rooms = await ada.rooms();
  await rooms.createRoom({ id: "public", members: [cardOf(eve.identity)] });
  const asPublic = async () => Response.json(await it.store.getRoom("public"), { status: 201 });
  it.lie(({ method }, path) => method === "POST" && path === "/v1/rooms" ? asPublic() : undefined);
  const making = rooms.createRoom({ id: "private", members: [cardOf(bob.identity)] });
  await assert.rejects(making, (error) => isStoreError(error, "unsupported"));
  for (const answer of [null, 7, [], {}, { id: "private" }]) {
    it.lie(({ method }, path) =>
      method === "POST" && path === "/v1/rooms" ? Response.json(answer, { status: 201 }) : undefined
    );
    await assert.rejects(
      rooms.createRoom({ id: "private" }),
      (error) => isStoreError(error, "unsupported"),
      JSON.stringify(answer),
    );
  }
});

Deno.test("the id of a room that was is not used again: what its owner signed then would fit once more", async () => {
  await using it = await liar();
  const [ada, eve] = [await it.person(), await it.person()];
  const rooms = await ada.rooms();
  const room = await rooms.createRoom({ id: "kitchen", members: [cardOf(eve.identity)] });
  const isTaken = (error: unknown) => isStoreError(error, "room_exists");
  await ada.client.deleteRoom("kitchen");
  await assert.rejects(rooms.createRoom({ id: "kitchen" }), isTaken, "open");
  await room.close();
  await assert.rejects(rooms.createRoom({ id: "kitchen" }), isTaken, "closed");
  await rooms.close();
  await assert.rejects((await ada.rooms()).createRoom({ id: "kitchen" }), isTaken, "restarted");
  // Nor that of one whose owner is known: that would be made, and could not be opened.
  const others = await ada.rooms();
  const owner = eve.identity.signPub;
  await assert.rejects(others.join("hall", { owner }), (error) => isStoreError(error, "not_found"));
  await assert.rejects(others.createRoom({ id: "hall" }), isTaken);
  assert.equal(it.asked.filter((it) => it === "POST /v1/rooms").length, 1);
});

Deno.test("an epoch that nobody proved is not remembered: one lie does not shut a member out for good", async () => {
  await using it = await liar();
  const [ada, bob] = [await it.person(), await it.person()];
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  const joined = await (await bob.rooms()).join("kitchen");
  const told = await it.store.getRoom("kitchen");
  it.lie((_, path) =>
    path === "/v1/rooms/kitchen" ? Response.json({ ...told, epoch: 2 ** 31 - 1 }) : undefined
  );
  await assert.rejects((await bob.rooms()).join("kitchen"), named("unknown_epoch"));
  it.lie(null);
  assert.equal((await (await bob.rooms()).join("kitchen")).epoch, 1);
  await room.rekey();
  await until(() => joined.epoch === 2, "the new key");
  assert.equal(bob.memory.get("epoch kitchen"), "2");
});

Deno.test("a list without an end takes no memory, and holds nothing but what it is a list of", async () => {
  let asked = 0;
  const page = () => {
    asked++;
    return Promise.resolve({ items: new Array(300_000).fill(7), next: `${asked}` });
  };
  const endless = { listMembers: page } as unknown as Client;
  await assert.rejects(
    membersOf(endless, "kitchen"),
    (error) => isStoreError(error, "unsupported"),
  );
  assert.ok(asked < 10, `${asked} pages`);

  await using it = await liar();
  const [ada, bob] = [await it.person(), await it.person()];
  const rooms = await ada.rooms();
  const room = await rooms.createRoom({ id: "kitchen" });
  const { signPub: endpoint } = bob.identity;
  for (const items of [[null], [7], [{}], [{ endpoint: "x" }], [[]]]) {
    it.lie((_, path) =>
      /\/(members|keys)$/.test(path) ? Response.json({ items, next: null }) : undefined
    );
    const odd = (error: unknown) => isStoreError(error, "unsupported");
    await assert.rejects(room.members(), odd, JSON.stringify(items));
    await assert.rejects(room.lacking(), odd, JSON.stringify(items));
    await assert.rejects(room.rekey(), odd, JSON.stringify(items));
  }
  for (const user of [null, 7, {}, { signPub: endpoint, kexPub: 7 }]) {
    it.lie((_, path) => path.includes("/users/") ? Response.json(user) : undefined);
    await assert.rejects(room.addMember(endpoint), (error) => isStoreError(error));
  }
  assert.equal(ada.memory.has(`kex ${endpoint}`), false);
});

Deno.test("what is said of a member that nobody asked about is not remembered", async () => {
  await using it = await liar();
  const [ada, bob, carol] = [await it.person(), await it.person(), await it.person()];
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  const { signPub } = carol.identity;
  const other = { endpoint: signPub, signPub, kexPub: createIdentity().kexPub };
  it.lie(({ method }, path) =>
    method === "GET" && path.includes("/members/") ? Response.json(other) : undefined
  );
  await assert.rejects(
    room.addMember(cardOf(bob.identity)),
    (error) => isStoreError(error, "unsupported"),
  );
  it.lie(null);
  await room.addMember(cardOf(carol.identity));
  assert.equal((await room.members()).length, 3);
});

Deno.test("a room that has grown to 4,000 members can still be given a new key", async () => {
  await using it = await liar();
  const ada = await it.person();
  const { signPub: endpoint, kexPub } = ada.identity;
  const members = Array.from({ length: 4000 }, (_, i) => {
    const it = `${i + 0x10000}`.padStart(64, "f");
    return { endpoint: it, kexPub: it };
  });
  const keys = [{ endpoint }, ...members].map(({ endpoint }) => ({
    endpoint,
    sealedKey: new Uint8Array(177).fill(1),
  }));
  const owner = { endpoint, kexPub };
  await it.store.createRoom({ id: "town", subject: "town", owner, members, sealedKeys: keys });
  const { epoch } = await ada.client.rekeyRoom("town", { epoch: 2, sealedKeys: keys });
  assert.equal(epoch, 2);
});

Deno.test("rooms that cannot be opened leave no connection behind", async () => {
  await using it = await liar();
  const ada = await it.person();
  // It is not even asked for one.
  const nats = { servers: "nats://127.0.0.1:1", bootstrapTimeout: 0 };
  // Timers that long would end at once.
  for (const odd of [{ sendTimeout: Infinity }, { refreshInterval: 2 ** 31 }, { maxAge: NaN }]) {
    const [field] = Object.keys(odd);
    await assert.rejects(ada.rooms({ nats, ...odd }), { code: "invalid", field });
  }
  const memory = { get: () => undefined, set: () => Promise.reject(new Error("full")) };
  await assert.rejects(ada.rooms({ nats, memory }), { message: "full" });
});

Deno.test("a room that is closed while it is joined is not given out as if it were open", async () => {
  await using it = await liar();
  const ada = await it.person();
  const first = await ada.rooms();
  await first.createRoom({ id: "kitchen" });
  const rooms = await ada.rooms();
  let closing: Promise<void> | undefined;
  it.lie((_, path) => {
    if (path.endsWith("/members")) closing ??= rooms.close();
    return undefined;
  });
  await assert.rejects(rooms.join("kitchen"), { code: "closed" });
  await closing;
});

Deno.test("what is sent is what was given at the call, and bytes or text", async () => {
  await using it = await liar();
  const [ada, bob] = [await it.person(), await it.person()];
  const room = await (await ada.rooms()).createRoom({
    id: "kitchen",
    members: [cardOf(bob.identity)],
  });
  const heard = new Heard(await (await bob.rooms()).join("kitchen"));
  const data = new TextEncoder().encode("soup is ready");
  const sending = room.send(data);
  data.fill(0x2e);
  await sending;
  await heard.heard("soup is ready");
  for (const odd of [7, null, undefined, [1, 2], new ArrayBuffer(3), { length: 3 }]) {
    await assert.rejects(
      room.send(odd as unknown as string),
      (error) => isStoreError(error, "invalid"),
      String(odd),
    );
  }
});

Deno.test("whoever waits behind others to send can still give up", async () => {
  const sealer = new MessageSealer(nodePrimitives, createIdentity(), {
    roomId: "kitchen",
    epoch: 1,
  }, new Uint8Array(32));
  const published: Uint8Array[] = [];
  const box = new Outbox({
    seal: async (data, use) => use(await sealer.seal(data)),
    publish: (bytes) => void published.push(bytes),
    timeout: 60_000,
  });
  const others = Array.from({ length: 260 }, () => box.send(new Uint8Array(1)));
  const controller = new AbortController();
  const last = box.send(new Uint8Array([7]), controller.signal);
  const after = box.send(new Uint8Array([8]));
  const left = [...others, after].map((it) => it.catch((error) => error));
  controller.abort();
  await assert.rejects(last, { code: "aborted" });
  // Nobody came before its turn for it.
  for (let at = 0; at < 261; await new Promise((resolve) => setTimeout(resolve, 0))) {
    assert.ok(published.length - at <= 256);
    for (const it of published.slice(at)) box.seen(readHeader(it), it), at++;
  }
  const sent = await Promise.all(left);
  assert.deepEqual(sent.map((it) => it.seq), sent.map((_, i) => i));
  box.end(new Error("over"));
});

Deno.test("an end of a room takes its hands off the caller's signal", async () => {
  await using it = await liar();
  const ada = await it.person();
  const rooms = await ada.rooms();
  const controller = new AbortController();
  const { signal } = controller;
  let listeners = 0;
  const [add, remove] = [signal.addEventListener, signal.removeEventListener];
  signal.addEventListener = function (...args: unknown[]) {
    listeners++;
    return Reflect.apply(add, this, args);
  };
  signal.removeEventListener = function (...args: unknown[]) {
    listeners--;
    return Reflect.apply(remove, this, args);
  };
  const room = await rooms.createRoom({ id: "kitchen" });
  const [messages, left] = [room.messages({ signal }), room.messages({ signal })];
  await left.return!();
  assert.equal(listeners, 1);
  await room.close();
  assert.equal((await messages.next()).done, true);
  assert.equal(listeners, 0);
});

Deno.test("what is remembered is right however slow the memory is, and whoever asks at once", async () => {
  const known = new Map<string, string>();
  const slow = () => new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
  const memory: RoomMemory = {
    get: async (key) => {
      await slow();
      return known.get(key);
    },
    set: async (key, value) => {
      await slow();
      known.set(key, value);
    },
  };
  const trust = new Trust(memory);
  const epochs = Array.from({ length: 20 }, (_, i) => i + 1).sort(() => Math.random() - 0.5);
  await Promise.allSettled(epochs.map((it) => trust.reached("kitchen", it)));
  assert.equal(known.get("epoch kitchen"), "20");
  const keys = Array.from({ length: 10 }, () => createIdentity().kexPub);
  const said = await Promise.allSettled(keys.map((it) => trust.kexPub("a", it)));
  assert.equal(said.filter((it) => it.status === "fulfilled").length, 1);
});

Deno.test("a memory that is damaged inside is named, not taken for empty", async () => {
  for (const value of ["", "x", "-1", "1.5", "NaN", "9".repeat(30)]) {
    const trust = new Trust(new Map([["epoch kitchen", value]]));
    await assert.rejects(
      trust.epochOf("kitchen"),
      (error) => isStoreError(error, "corrupt"),
      JSON.stringify(value),
    );
  }
});

Deno.test("a file keeps ten thousand peers in one go, and what could not be written is written the next time", () =>
  inDir(async (dir) => {
    const path = join(dir, "known.json");
    const trust = new Trust(fileMemory(path));
    const keys = Array.from({ length: 10_000 }, (_, i) => i.toString(16).padStart(64, "0"));
    const began = performance.now();
    await Promise.all(keys.map((it) => trust.kexPub(it, it)));
    const ms = performance.now() - began;
    assert.ok(ms < 10_000, `${ms} ms`);
    assert.equal(Object.keys(JSON.parse(await readFile(path, "utf8")).known).length, 10_000);

    const gone = join(dir, "gone");
    const memory = fileMemory(join(gone, "known.json"));
    await assert.rejects(async () => await memory.set("epoch kitchen", "7"));
    // It is not taken for remembered.
    await assert.rejects(async () => await memory.get("epoch kitchen"), { code: "unavailable" });
    await mkdir(gone);
    assert.equal(await memory.get("epoch kitchen"), "7");
    assert.equal(await fileMemory(join(gone, "known.json")).get("epoch kitchen"), "7");
    await rm(gone, { recursive: true });
    await assert.rejects(async () => await memory.set("epoch kitchen", "8"));
    await mkdir(gone);
    await memory.set("epoch kitchen", "7");
    assert.equal(await fileMemory(join(gone, "known.json")).get("epoch kitchen"), "7");
  }));
