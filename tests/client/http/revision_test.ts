/** A client sees its own writes on whatever node it asks. */

import assert from "node:assert/strict";
import { type Found, openJetStream, openSqlite, type Store, StoreError } from "@unibus/membership";
import { createClient, createIdentity } from "@unibus/membership/client";
import { createControlPlane, type HttpServer, serve } from "@unibus/membership/http";
import { laterOf, SeenOfNodes } from "../../../src/client/http/seen.ts";
import { testServer } from "../../helpers/nats.ts";
import { failsWith, inDir } from "../../helpers/sqlite.ts";

const HEADER = "unibus-revision";

Deno.test("a client sends the newest revision of its changes with every later call", async () => {
  await using store = openSqlite(":memory:");
  const identity = createIdentity();
  await store.addUser({ ...identity, handle: "ada", role: "admin" });
  const plane = createControlPlane(store);
  const sent: (string | null)[] = [];
  const url = "http://127.0.0.1:8470";
  const fetch = (request: Request) => {
    sent.push(request.headers.get(HEADER));
    return plane.fetch(request);
  };
  using client = createClient({ url, identity, fetch, retries: 0 });
  await client.me();
  assert.equal(client.revision, null);
  const { invite } = await client.createInvite();
  const first = client.revision!;
  await client.cancelInvite(invite.id);
  const second = client.revision!;
  assert.equal(laterOf(first, second), second);
  await client.me();
  assert.deepEqual(sent, [null, null, first, second]);
  using later = createClient({ url, identity, fetch, revision: second });
  await later.me();
  assert.equal(sent.at(-1), second);
  assert.equal(later.revision, second);
  assert.throws(() => createClient({ url, revision: "12" }), { code: "invalid" });
});

Deno.test("a node that does not have a client's change is left for one that has it, also for writes", async () => {
  await using store = openSqlite(":memory:");
  const identity = createIdentity();
  await store.addUser({ ...identity, handle: "ada", role: "admin" });
  const behind = Object.create(store, {
    reach: { value: () => Promise.reject(new StoreError("unavailable", "It is behind")) },
  });
  const servers: HttpServer[] = [];
  try {
    for (const it of [store, behind]) {
      servers.push(await serve(createControlPlane(it), { port: 0 }));
    }
    const [whole, late] = servers as [HttpServer, HttpServer];
    using alone = createClient({ url: whole.url, identity });
    await alone.createInvite();
    const revision = alone.revision!;
    // It begins with the late one, of which the other says that it is ready later.
    let asked = 0;
    using client = createClient({
      url: [late.url, whole.url],
      identity,
      revision,
      fetch: (request) => {
        const { origin, pathname } = new URL(request.url);
        const isLate = origin === new URL(late.url).origin;
        if (isLate && pathname !== "/readyz") asked++;
        const isSlow = !isLate && pathname === "/readyz" && asked === 0;
        return isSlow ? Promise.resolve(new Response("", { status: 503 })) : fetch(request);
      },
    });
    await client.createInvite();
    assert.equal(asked, 1);
    assert.equal((await store.listInvites()).items.length, 2);
    using lost = createClient({ url: late.url, identity, revision, retries: 0 });
    await failsWith("unavailable", () => lost.me(), new RegExp("behind"));
  } finally {
    for (const it of servers) await it.close(1000);
  }
});

Deno.test("on two nodes of one bucket a user sees its own changes on the other, also in what a follower finds", () =>
  inDir(async (dir) => {
    await using nats = await testServer();
    const options = { servers: nats.url, bucket: "OWN" };
    await using a = await openJetStream({ ...options, follower: `${dir}/a.db` });
    await using b = await openJetStream({ ...options, follower: `${dir}/b.db` });
    const identity = createIdentity();
    await a.addUser({ ...identity, handle: "ada", role: "admin" });
    await using one = await serving(a);
    await using two = await serving(b);
    using here = createClient({ url: one.url, identity });
    await here.me();
    for (let i = 0; i < 10; i++) {
      const { token } = await here.createInvite();
      const mine = createIdentity();
      using joining = createClient({ url: one.url, identity: mine, revision: here.revision! });
      await joining.register(token, `user-${i}`);
      await joining.createRoom({ id: `room-${i}`, encrypted: false });
      const { revision } = joining;
      using there = createClient({ url: two.url, identity: mine, revision: revision! });
      assert.equal((await there.listRooms()).items.length, 1);
      assert.equal((await there.me()).user?.handle, `user-${i}`);
      await there.deleteRoom(`room-${i}`);
      using admin = createClient({ url: two.url, identity, revision: there.revision! });
      const found = await admin.listUsers({ search: `user-${i}` });
      if (has(found, there.revision)) {
        assert.equal(found.items.filter((it) => it.handle === `user-${i}`).length, 1);
      }
      using back = createClient({ url: one.url, identity, revision: there.revision! });
      const rooms = await back.listRooms({ all: true, search: `room-${i}` });
      if (has(rooms, there.revision)) assert.deepEqual(rooms.items, []);
      const { items } = await back.changes({ newest: true, limit: 1 });
      assert.deepEqual([items[0]!.action, items[0]!.by], ["room.deleted", mine.signPub]);
    }
  }));

/** Whether a search is as new as a revision: on a busy machine it does not wait for its follower for ever. */
function has({ position }: Found<unknown>, revision: string | null): boolean {
  return position !== undefined && position >= Number(revision!.split(".")[1]);
}

/** A control plane of a store, on a port. */
async function serving(store: Store): Promise<AsyncDisposable & { url: string }> {
  const plane = createControlPlane(store);
  const server = await serve(plane, { port: 0 });
  return {
    url: server.url,
    [Symbol.asyncDispose]: async () => {
      plane.close();
      await server.close(1000);
    },
  };
}

Deno.test("what a node said that the client learned of cannot shut it out of the given ones", () => {
  const seen = new SeenOfNodes({ generation: 1, revision: "1.5" });
  seen.note(false, { generation: 9, revision: "9.9" });
  assert.deepEqual([seen.generation, seen.revision], [1, "9.9"]);
  // A given node may only be behind for a while.
  seen.doubt(1_000);
  seen.doubt(30_000);
  assert.equal(seen.revision, "9.9");
  seen.doubt(31_000);
  assert.equal(seen.revision, "1.5");
  // What a given node has said stays.
  seen.note(true, { generation: 2, revision: "2.7" });
  seen.doubt(100_000);
  seen.doubt(200_000);
  assert.deepEqual([seen.generation, seen.revision], [2, "2.7"]);
  // Doubts begin anew with each later change.
  seen.note(false, { generation: 2, revision: "2.8" });
  seen.doubt(300_000);
  seen.note(false, { generation: 2, revision: "2.9" });
  seen.doubt(340_000);
  assert.equal(seen.revision, "2.9");
});

Deno.test("the later of two revisions is by generation, then by number; what is none does not count", () => {
  assert.equal(laterOf(null, "0.0"), "0.0");
  assert.equal(laterOf("0.9", "0.10"), "0.10");
  assert.equal(laterOf("0.10", "0.9"), "0.10");
  assert.equal(laterOf("0.10", "1.9"), "1.9");
  assert.equal(laterOf("2.1", "1.9"), "2.1");
  for (const said of [null, "", "1", "x.y", "x", "0.x", "."]) {
    assert.equal(laterOf("0.1", said), "0.1");
  }
});
