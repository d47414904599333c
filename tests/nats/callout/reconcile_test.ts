/**
 * Changes in the store reach connections that are open.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { AccessChange, Store } from "../../../mod.ts";
import { OpenConnections } from "../../../src/nats/callout/connections.ts";
import { busAccounts } from "../../../src/nats/mod.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import {
  admitted,
  enforce,
  enrol,
  enter,
  eventually,
  join,
  newPeer,
  newServiceKeys,
  openRoom,
  type Peer,
  testBus,
} from "./bus.ts";
import { testCluster, testServer } from "../../helpers/nats.ts";
import type { RawClient } from "./raw_nats.ts";
import { inDir } from "../../helpers/sqlite.ts";

/**
 * A second is what is promised; a machine that is busy with other tests gets more, but less than the
 * time between two sweeps, which find every change.
 */
const SOON = 15_000;

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

Deno.test("a change takes effect on an open connection within a second", async (t) => {
  await using bus = await testBus();
  const { server: { port }, store } = bus;
  const ada = await enrol(store);
  await openRoom(store, "base", ada);

  /** Makes a change that ends a client's connection soon, for the right reason. */
  async function ends(peer: Peer, change: () => Promise<unknown>): Promise<void> {
    const kicks = () =>
      bus.events.flatMap((it) =>
        it.kind === "kicked" && it.endpoint === peer.signPub ? [it.reason] : []
      );
    const before = kicks().length;
    await using client = await admitted(port, peer);
    // A client that heard something before: the change is not merely what its first grant was.
    assert.ok(await client.flush());
    await change();
    await client.until(() => client.ended, SOON);
    await eventually(() => kicks().length > before);
    const isUser = await store.isAuthorized(peer.signPub);
    assert.deepEqual(kicks().slice(before), [isUser ? "rooms_changed" : "not_authorized"]);
  }
  const may = async (peer: Peer, subject: string) => {
    await using client = await admitted(port, peer);
    return [await client.mayPublish(subject), await client.maySubscribe(subject)];
  };

  await t.step("joining a room", async () => {
    const peer = await enrol(store);
    assert.deepEqual(await may(peer, "room.base"), [false, false]);
    await ends(peer, () => join(store, "base", peer));
    assert.deepEqual(await may(peer, "room.base"), [true, true]);
  });

  await t.step("leaving a room", async () => {
    const peer = await enrol(store);
    await join(store, "base", peer);
    await ends(peer, () => store.removeMember("base", peer.signPub));
    assert.deepEqual(await may(peer, "room.base"), [false, false]);
  });

  await t.step("being made a room, and its end, for each of its members", async () => {
    const [bob, cy] = [await enrol(store), await enrol(store)];
    await using other = await admitted(port, cy);
    await ends(bob, () => openRoom(store, "new", bob, [cy]));
    await other.until(() => other.ended, SOON);
    await using again = await admitted(port, cy);
    assert.ok(await again.mayPublish("room.new"));
    await ends(bob, () => store.deleteRoom("new"));
    await again.until(() => again.ended, SOON);
    assert.deepEqual(await may(cy, "room.new"), [false, false]);
  });

  await t.step("revoking and deleting a user", async () => {
    const [bob, cy] = [await enrol(store), await enrol(store)];
    await ends(bob, () => store.revokeUser(bob.signPub));
    await ends(cy, () => store.deleteUser(cy.signPub));
    assert.equal(await enter(port, bob), null);
    assert.equal(await enter(port, cy), null);
  });

  await t.step("a restore that replaces everything", async () => {
    const peer = await enrol(store);
    await ends(peer, () => store.restore([], { replace: true }));
    assert.equal(await enter(port, peer), null);
  });
});

Deno.test("a change that concerns nobody's permissions ends no connection", async () => {
  await using bus = await testBus();
  const { server: { port }, store } = bus;
  const [ada, bob, cy] = [await enrol(store), await enrol(store), await enrol(store)];
  await openRoom(store, "one", ada, [bob]);
  await openRoom(store, "two", bob);
  await using a = await admitted(port, ada);
  await using b = await admitted(port, bob);
  // Others come, go and are revoked; the same permissions come by another room.
  await join(store, "two", cy);
  await store.removeMember("two", cy.signPub);
  await store.revokeUser(cy.signPub);
  await openRoom(store, "twin", ada, [], "room.one");
  await openRoom(store, "below", bob, [], "room.two.below");
  await store.createInvite({ createdBy: "cli" });
  await store.rekeyRoom("one", { epoch: 2, sealedKeys: [] }).catch(() => {});
  await pause(400);
  await bus.callout.sweep();
  await bus.callout.sweep();
  assert.ok(await a.flush());
  assert.ok(await b.flush());
  assert.equal(bus.callout.counts().kicked, 0);
});

Deno.test("many changes at once end a connection a few times, not each time", async () => {
  await using bus = await testBus();
  const { server: { port }, store } = bus;
  const peer = await enrol(store);
  let client = await admitted(port, peer);
  try {
    for (let i = 0; i < 200; i++) await openRoom(store, `r${i}`, peer);
    for (;;) {
      await client.until(() => client.ended, SOON);
      client = await admitted(port, peer);
      if (await client.mayPublish("room.r199").catch(() => false)) break;
    }
    await eventually(() => bus.callout.counts().kicked > 0);
    const { kicked } = bus.callout.counts();
    assert.ok(kicked <= 5, `${kicked} times`);
  } finally {
    await client[Symbol.asyncDispose]();
  }
});

Deno.test("who is judged before a change and turns up after it is caught", async () => {
  await using store = openSqlite(":memory:");
  const peer = await enrol(store);
  await openRoom(store, "r", peer, []);
  const gate = { hold: null as Promise<void> | null, reached: () => {} };
  const delayed: Store = Object.create(store);
  delayed.isAuthorized = (it) => store.isAuthorized(it);
  delayed.listRoomsForEndpoint = async (...it) => {
    const page = await store.listRoomsForEndpoint(...it);
    const { hold } = gate;
    gate.hold = null; // Only the first that asks is slow.
    if (hold !== null) {
      gate.reached();
      await hold;
    }
    return page;
  };
  await using bus = await testBus({ callout: { store: delayed, decisionTimeout: 8_000 } });
  for (const change of ["delete", "revoke"]) {
    const reached = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    gate.reached = reached.resolve;
    gate.hold = go.promise;
    const entering = enter(bus.server.port, peer);
    await reached.promise;
    if (change === "delete") await store.deleteRoom("r");
    else await store.revokeUser(peer.signPub);
    // Long enough for the change to be looked at, and nothing found that it concerns.
    await pause(300);
    const before = change === "delete" ? 0 : 1;
    await eventually(() => bus.callout.counts().kicked >= before);
    assert.equal(bus.callout.counts().kicked, before);
    go.resolve();
    await using client = (await entering)!;
    await client.until(() => client.ended, SOON);
  }
  assert.equal(await enter(bus.server.port, peer), null);
});

Deno.test("two callouts share the work, and each ends what the other admitted", async () => {
  await inDir(async (dir) => {
    const path = `${dir}/unibus.db`;
    await using bus = await testBus({ store: () => Promise.resolve(openSqlite(path)) });
    const { server: { port }, store } = bus;
    await using elsewhere = openSqlite(path, { create: false });
    const other = await bus.another({ store: elsewhere });
    const peers = await Promise.all(Array.from({ length: 40 }, () => enrol(store)));
    const clients = await Promise.all(peers.map((it) => admitted(port, it)));
    try {
      const [a, b] = [bus.callout.counts().admitted, other.counts().admitted];
      assert.equal(a + b, 40);
      assert.ok(a > 0 && b > 0, `${a} and ${b}`);
      await openRoom(store, "r", peers[0]!);
      await clients[0]!.until(() => clients[0]!.ended, SOON);
      // The first one goes; its connections stay and are looked after.
      await bus.callout.stop();
      assert.ok(await clients[1]!.flush());
      for (const it of peers.slice(1)) await store.revokeUser(it.signPub);
      await Promise.all(clients.map((it) => it.until(() => it.ended, SOON)));
      // Nobody was ended twice: one event each, whoever was first.
      const kicked = () => bus.events.flatMap((it) => it.kind === "kicked" ? [it.cid] : []);
      await eventually(() => kicked().length >= 40);
      await pause(50);
      assert.equal(new Set(kicked()).size, kicked().length);
      assert.equal(kicked().length, 40);
    } finally {
      for (const it of clients) await it[Symbol.asyncDispose]();
    }
  });
});

/** A store that names only the room that changed, and nobody in it. */
function roomsOnly(store: Store): Store {
  return Object.assign(Object.create(store), {
    isAuthorized: (it: string) => store.isAuthorized(it),
    watchAccess: (listener: (change: AccessChange) => void) =>
      store.watchAccess(({ roomId }) => {
        if (roomId !== undefined) listener({ roomId });
      }),
  });
}

Deno.test("a store that names only the room that changed is enough", async () => {
  await using store = openSqlite(":memory:");
  await using bus = await testBus({ callout: { store: roomsOnly(store) } });
  const { port } = bus.server;
  const [ada, bob, cy] = [await enrol(store), await enrol(store), await enrol(store)];
  await using other = await admitted(port, cy);
  for (const change of [() => openRoom(store, "r", ada, [bob]), () => store.deleteRoom("r")]) {
    await using a = await admitted(port, ada);
    await using b = await admitted(port, bob);
    // What was looked at because it opened just after a change is done with.
    await pause(150);
    await change();
    await Promise.all([a, b].map((it) => it.until(() => it.ended, SOON)));
  }
  assert.ok(await other.flush());
});

Deno.test("a room's end reaches those whom another callout let in, of whom this one knows nothing", async () => {
  await using store = openSqlite(":memory:");
  // So many that the server's choice, which is random, hardly gives all of them to the other.
  const peers = await Promise.all(Array.from({ length: 30 }, () => enrol(store)));
  await openRoom(store, "r", peers[0]!, peers.slice(1));
  await using bus = await testBus({ callout: { store: roomsOnly(store) } });
  const other = await bus.another({ store: roomsOnly(store) });
  const clients = await Promise.all(peers.map((it) => admitted(bus.server.port, it)));
  try {
    assert.ok(bus.callout.counts().admitted > 0);
    await bus.callout.stop();
    await store.deleteRoom("r");
    await Promise.all(clients.map((it) => it.until(() => it.ended, SOON)));
    await eventually(() => other.counts().kicked === peers.length);
  } finally {
    for (const it of clients) await it[Symbol.asyncDispose]();
  }
});

Deno.test("a callout that starts ends what changed while there was none", async () => {
  await using bus = await testBus();
  const { server: { port }, store } = bus;
  const [ada, bob] = [await enrol(store), await enrol(store)];
  await openRoom(store, "r", ada, [bob]);
  await using a = await admitted(port, ada);
  await using b = await admitted(port, bob);
  await bus.callout.stop();
  await store.revokeUser(bob.signPub);
  await pause(100);
  assert.ok(await b.flush());
  const next = await bus.another();
  await b.until(() => b.ended);
  assert.ok(await a.flush());
  assert.equal(next.counts().kicked, 1);
});

Deno.test("from soft to enforce: who got in unlooked-at is ended", async () => {
  await using bus = await testBus({ mode: "soft" });
  const { server: { port }, store } = bus;
  const ada = await enrol(store);
  await using known = await admitted(port, ada);
  await using stranger = await admitted(port, newPeer());
  await bus.callout.stop();
  const strict = await bus.another({ mode: "enforce" });
  await known.until(() => known.ended);
  await stranger.until(() => stranger.ended);
  assert.equal(strict.counts().kicked, 2);
  assert.equal(await enter(port, newPeer()), null);
  await using again = await admitted(port, ada);
  assert.ok(!await again.mayPublish("x"));
});

Deno.test("connections that somebody else's configuration lets in are let be", async () => {
  const keys = newServiceKeys();
  const bridge = newPeer();
  const { accounts, authorization, ...rest } = busAccounts({ mode: "enforce", keys });
  await using server = await testServer({
    ...rest,
    accounts: { ...accounts, APP: { users: [{ nkey: bridge.nkey }] } },
    authorization: {
      ...authorization,
      callout: {
        ...authorization.callout!,
        authUsers: [...authorization.callout!.authUsers, bridge.nkey],
      },
    },
  });
  await using client = await admitted(server.port, bridge);
  await using store = openSqlite(":memory:");
  await using on = await enforce(server.url, keys, store);
  const { callout } = on;
  await callout.sweep();
  assert.ok(await client.mayPublish("anything"));
  assert.equal(callout.counts().kicked, 0);
});

Deno.test("lists of connections are read to the end, page by page", async () => {
  await using bus = await testBus();
  const { server: { port }, store } = bus;
  const peers = await Promise.all(Array.from({ length: 7 }, () => enrol(store)));
  const clients = await Promise.all(peers.map((it) => admitted(port, it)));
  const list = new OpenConnections(await bus.connect("system"), "APP", () => {}, 2);
  try {
    await list.refresh();
    assert.equal(list.size, 7);
    assert.deepEqual(new Set(list.endpoints()), new Set(peers.map((it) => it.signPub)));
    for (const it of clients) await it[Symbol.asyncDispose]();
    await eventually(() => list.size === 0);
  } finally {
    list.stop();
  }
});

Deno.test("in a cluster, whichever server a client is on, and whoever admitted it", async () => {
  const keys = newServiceKeys();
  await using cluster = await testCluster(3, { ...busAccounts({ mode: "enforce", keys }) });
  await using store = openSqlite(":memory:");
  await using on = await enforce(cluster.servers[0]!.url, keys, store);
  const { callout } = on;
  const peers = await Promise.all(cluster.servers.map(() => enrol(store)));
  await openRoom(store, "r", peers[0]!, peers.slice(1));
  const clients: RawClient[] = [];
  try {
    for (const [i, { port }] of cluster.servers.entries()) {
      const peer = peers[i]!;
      let client: RawClient | null = null;
      // A server that has just joined may not know yet who answers.
      await eventually(async () => (client = await enter(port, peer)) !== null);
      clients.push(client!);
    }
    assert.ok(await clients[2]!.maySubscribe("room.r"));
    // A server learns a moment later who subscribed at another.
    await eventually(async () => {
      assert.ok(await clients[1]!.mayPublish("room.r", "across"));
      return clients[2]!.messages.length > 0;
    });
    // A busy server lists its connections late.
    await eventually(async () => {
      await callout.sweep();
      return callout.status().detail.startsWith("3 open connections");
    });
    await store.deleteRoom("r");
    await Promise.all(clients.map((it) => it.until(() => it.ended, SOON)));
    await eventually(() => callout.counts().kicked === 3);
  } finally {
    for (const it of clients) await it[Symbol.asyncDispose]();
  }
});

Deno.test("open connections are counted on all servers, and for one endpoint", async () => {
  await using bus = await testBus();
  const { server: { port }, store, callout } = bus;
  const [ada, bob] = [await enrol(store), await enrol(store)];
  assert.deepEqual(callout.connections(), { open: 0, users: 0 });
  await using _one = await admitted(port, ada);
  await using _two = await admitted(port, ada);
  await using other = await admitted(port, bob);
  const is = (open: number, users: number) =>
    eventually(() => {
      const found = callout.connections()!;
      return found.open === open && found.users === users;
    });
  await is(3, 2);
  assert.deepEqual(callout.connections(ada.signPub), { open: 2, users: 1, closedAt: null });
  assert.deepEqual(callout.connections(bob.signPub), { open: 1, users: 1, closedAt: null });
  const none = { open: 0, users: 0, closedAt: null };
  assert.deepEqual(callout.connections("0".repeat(64)), none);
  const began = new Date().toISOString();
  await other[Symbol.asyncDispose]();
  await is(2, 1);
  const { closedAt, ...rest } = callout.connections(bob.signPub)!;
  assert.deepEqual(rest, { open: 0, users: 0 });
  assert.ok(closedAt! >= began && closedAt! <= new Date().toISOString());
  assert.equal(callout.connections(ada.signPub)!.closedAt, null);
  await using soft = await testBus({ mode: "soft" });
  assert.equal(soft.callout.connections(), null);
});
