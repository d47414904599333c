/**
 * What memory answers is whole: a transaction shows altogether or not at all.
 *
 * @module
 */

import assert from "node:assert/strict";
import { openJetStream } from "../../mod.ts";
import type { AccessChange } from "../../src/core/model.ts";
import { type Part } from "../../src/jetstream/log/feed.ts";
import { memberKey, roomKey, userKey } from "../../src/jetstream/records/keys.ts";
import { encodeMember, encodeRoom, encodeUser } from "../../src/jetstream/records/values.ts";
import { View } from "../../src/jetstream/cache/view.ts";
import { eventually, hexKey, newMembers, newRoom } from "../conformance/kit/kit.ts";
import { rawBucket } from "../follower/kit.ts";
import { testServer } from "../helpers/nats.ts";
import { person } from "../helpers/sqlite.ts";
import { tampered } from "./tamper.ts";

const encoder = new TextEncoder();
const room = {
  id: "r",
  subject: "s",
  encrypted: false,
  owner: hexKey(),
  epoch: 1,
  createdAt: "2026-11-21T08:00:00.000Z",
};
const [ada, bob, eve] = [hexKey(), hexKey(), hexKey()];

/** A loaded view and how messages get into it. */
function loaded() {
  const told: AccessChange[] = [];
  const view = new View(100, () => {}, (it) => told.push(it));
  const probe = (sequence: number, seen = view.received) =>
    view.await({ sequence, seen, at: performance.now(), wall: Date.now() });
  const take = (key: string, revision: number, value: string | null, part: Part | null) =>
    view.take({ key, revision, data: encoder.encode(value ?? "") }, part);
  const member = (endpoint: string, revision: number, part: Part | null, gone = false) => {
    const record = {
      roomId: "r",
      endpoint,
      role: "member",
      signPub: endpoint,
      kexPub: endpoint,
      joinedAt: room.createdAt,
      accepted: true,
    } as const;
    take(memberKey("r", endpoint), revision, gone ? null : encodeMember(record), part);
  };
  const has = (...endpoints: string[]) => endpoints.map((it) => view.members!.has(it + "r"));
  probe(0);
  return { view, told, probe, take, member, has };
}

const part = (batch: string, index: number, last = false): Part => ({ batch, index, last });

Deno.test("view: the messages of a batch count together, with its last", () => {
  const { view, told, take, member, has } = loaded();
  take(roomKey("r"), 1, encodeRoom(room), part("a", 1));
  member(ada, 2, part("a", 2));
  assert.deepEqual([view.upTo, view.received, told.length], [0, 2, 0]);
  assert.deepEqual(has(ada, bob), [false, false]);
  member(bob, 3, part("a", 3, true));
  assert.deepEqual([view.upTo, view.received, told.length], [3, 3, 3]);
  assert.deepEqual(has(ada, bob), [true, true]);
  assert.equal(view.isTorn, false);
  member(eve, 4, null);
  assert.deepEqual([view.upTo, has(eve)], [4, [true]]);
});

Deno.test("view: a batch that lacks a part is torn until a probe that began later is behind it", () => {
  const tears: [string, (it: ReturnType<typeof loaded>) => void][] = [
    ["the first", ({ member }) => member(bob, 3, part("a", 2, true))],
    ["one in between", ({ member }) => {
      member(ada, 1, part("a", 1));
      member(bob, 3, part("a", 3, true));
    }],
    ["the last", ({ member }) => {
      member(ada, 1, part("a", 1));
      member(bob, 2, part("a", 2));
      assert.equal(loaded().view.isTorn, false);
      member(eve, 4, null);
    }],
    ["the last, then another batch", ({ member }) => {
      member(bob, 2, part("a", 1));
      member(eve, 4, part("b", 1, true));
    }],
    ["the last, and nothing follows", ({ member, view }) => {
      member(bob, 2, part("a", 1));
      view.advance(4);
    }],
  ];
  for (const [name, tear] of tears) {
    const it = loaded();
    const { view, probe, member, has } = it;
    const before = view.received;
    tear(it);
    assert.equal(view.isTorn, true, name);
    assert.deepEqual(has(bob), [true], `${name}: what has come counts`);
    assert.equal(view.upTo, view.received, name);
    const end = view.received;
    probe(end, before);
    assert.equal(view.isTorn, true, `${name}: that probe began before`);
    probe(end + 1);
    assert.equal(view.isTorn, true, `${name}: what replaced it has not come`);
    member(ada, end + 1, null, true);
    assert.equal(view.isTorn, false, `${name}: now it has`);
    member(eve, end + 5, null);
    assert.equal(view.isTorn, false, `${name}: what is missing altogether tears nothing`);
  }
});

Deno.test("view: while a part is missing, whatever else goes missing may have replaced it", () => {
  const { view, probe, member } = loaded();
  member(bob, 3, part("a", 2, true));
  probe(5);
  member(ada, 5, null);
  assert.equal(view.isTorn, true, "4 did not come");
  probe(6);
  member(ada, 6, null);
  assert.equal(view.isTorn, false);
});

Deno.test("view: a large change that claims a room again and again is told of once, and hides it", () => {
  const { view, told, take } = loaded();
  const claim = (op: "create" | "rekey" | "delete", revision: number) =>
    take(roomKey("r"), revision, encodeRoom(room, { op }), null);
  claim("create", 1);
  claim("create", 2);
  assert.deepEqual(told, [{ roomId: "r" }]);
  assert.equal(view.isHidden("r"), true);
  take(roomKey("r"), 3, encodeRoom(room), null);
  assert.equal(view.isHidden("r"), false);
  assert.equal(told.length, 2);
  claim("rekey", 4);
  claim("rekey", 5);
  assert.equal(view.isHidden("r"), false);
  assert.equal(told.length, 3);
  take(roomKey("r"), 6, encodeRoom({ ...room, epoch: 2 }), null);
  assert.equal(told.length, 3, "a rekey changes nobody's access");
  claim("delete", 7);
  assert.equal(view.isHidden("r"), true);
  take(roomKey("r"), 8, null, null);
  assert.equal(view.isHidden("r"), false);
  assert.equal(told.length, 5);
});

Deno.test("view: an invalid member is none, and an invalid room is hidden until it is valid again", () => {
  const { view, told, take, member, has } = loaded();
  take(roomKey("r"), 1, encodeRoom(room), null);
  member(ada, 2, null);
  member(bob, 3, null);
  told.length = 0;
  for (const [i, bad] of ["{}", "not JSON", '"v":1'].entries()) {
    take(memberKey("r", ada), 4 + i, bad, null);
    assert.deepEqual([has(ada, bob), view.sizes.get("r")], [[false, true], 1]);
  }
  assert.deepEqual(told, Array(3).fill({ endpoint: ada }));
  member(ada, 7, null);
  assert.deepEqual([has(ada), view.sizes.get("r")], [[true], 2]);
  told.length = 0;
  take(roomKey("r"), 8, "{}", null);
  take(roomKey("r"), 9, "not JSON", null);
  assert.deepEqual([view.isHidden("r"), told], [true, [{ roomId: "r" }]]);
  take(roomKey("r"), 10, encodeRoom({ ...room, epoch: 2 }), null);
  assert.deepEqual([view.isHidden("r"), told.length], [false, 2]);
  take(roomKey("r"), 11, "{}", null);
  take(roomKey("r"), 12, null, null);
  assert.equal(view.isHidden("r"), false);
});

Deno.test("view: users are known by the room of their invite until it is another, or none", () => {
  const view = new View(10);
  const [ada, bob] = [hexKey(), hexKey()].sort() as [string, string];
  let revision = 0;
  const put = (signPub: string, invitedTo?: string) => {
    const user = { ...person("x"), signPub, role: "user", status: "active" } as const;
    const record = { ...user, createdAt: room.createdAt, revokedAt: null, invitedTo };
    const data = encoder.encode(encodeUser(record));
    view.take({ key: userKey(signPub), revision: ++revision, data }, null);
  };
  const invited = () => ["r", "s"].map((it) => view.invited.to(it));
  put(bob, "r");
  put(ada, "r");
  assert.deepEqual(invited(), [[ada, bob], []]);
  put(bob, "s");
  assert.deepEqual(invited(), [[ada], [bob]]);
  put(ada);
  view.take({ key: userKey(bob), revision: ++revision, data: new Uint8Array() }, null);
  assert.deepEqual(invited(), [[], []]);
});

Deno.test("view: a record of a newer version ends it, because it may take access away", () => {
  const { take } = loaded();
  for (const key of [memberKey("r", ada), roomKey("r"), userKey(ada)]) {
    assert.throws(() => take(key, 1, '{"v":2}', null), { code: "unsupported" });
  }
});

for (const what of ["user", "member", "room"] as const) {
  Deno.test(`an invalid ${what} in the bucket keeps nobody else from being admitted from memory`, async () => {
    await using server = await testServer();
    await using store = await openJetStream({ servers: server.url });
    await using raw = await rawBucket(server.url);
    const { signPub } = await store.addUser({ ...person("ada"), role: "admin" });
    await store.createRoom(newRoom("r", { encrypted: false, members: newMembers(2) }));
    const key = { user: userKey(eve), member: memberKey("r", eve), room: roomKey("r") }[what];
    // Before it is loaded, and after.
    await raw.put(key, "{}");
    await eventually("loaded", async () => (await store.health()).ok);
    const told: AccessChange[] = [];
    const unwatch = store.watchAccess((it) => told.push(it));
    await raw.put(key, "not JSON");
    await store.addUser(person("bob"));
    assert.equal(await store.isAuthorized(signPub), true);
    // A feed that ended would be said to have missed anything.
    const isTold = () => told.some((it) => it.endpoint === person("bob").signPub);
    await eventually("told", () => Promise.resolve(isTold()));
    assert.deepEqual(told.filter((it) => Object.keys(it).length === 0), []);
    assert.equal((await store.health()).ok, true);
    unwatch();
  });
}

Deno.test("getMember() of another handle shows all of a transaction or nothing, however it is delivered", async () => {
  await using server = await testServer();
  let count = 0;
  let go = () => {};
  const released = new Promise<void>((resolve) => go = resolve);
  const { promise: held, resolve: hold } = Promise.withResolvers<void>();
  await using proxy = await tampered(server.url, async function* (text) {
    for (const { index } of text.matchAll(/HMSG \$KV\.UNIBUS\.members\.r\./g)) {
      if (++count !== 20) continue;
      yield text.slice(0, index);
      hold();
      await released;
      yield text.slice(index);
      return;
    }
    yield text;
  });
  await using here = await openJetStream({ servers: server.url });
  await using there = await openJetStream({ servers: proxy.url, maxStaleness: 20_000 });
  await eventually("loaded", async () => (await there.health()).ok);
  const members = newMembers(40);
  await here.createRoom(newRoom("r", { encrypted: false, members }));
  const found = async () => {
    const all = await Promise.all(
      members.map((it) => there.getMember("r", it.endpoint).catch(() => null)),
    );
    return all.filter((it) => it !== null).length;
  };
  await held;
  for (let i = 0; i < 50; i++) {
    assert.equal(await found(), 0, "half of a batch has come");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  go();
  await eventually("all of it", async () => await found() === 40);
});
