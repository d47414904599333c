/** Invites to a room over HTTP: the owner and admins see the users who wait, others do not. */

import assert from "node:assert/strict";
import { isProblem, sealedFor, someone, testPlane } from "../kit.ts";

Deno.test("one link brings a user to a room: its owner sees who waits, and adds it", async () => {
  await using it = await testPlane();
  const [admin, owner, other] = [await it.user("admin"), await it.user(), await it.user()];
  const bob = someone();
  const room = { id: "r", sealedKeys: sealedFor(owner) };
  assert.equal((await it.ask("POST /v1/rooms", { as: owner, body: room })).status, 201);
  const make = (to: string) => it.ask("POST /v1/invites", { as: admin, body: { room: to } });
  isProblem(await make("none"), 404, "not_found");
  const made = await make("r");
  assert.deepEqual([made.status, made.json.invite.room], [201, "r"]);
  const claim = { token: made.json.token, kexPub: bob.kexPub, handle: "bob" };
  const joined = await it.ask("POST /v1/register", { as: bob, body: claim });
  assert.deepEqual([joined.status, joined.json.invitedTo], [201, "r"]);
  const me = async () => (await it.ask("GET /v1/me", { as: bob })).json;
  assert.deepEqual((await me()).waitingFor, ["r"]);
  assert.deepEqual((await it.ask("GET /v1/me", { as: owner })).json.waitingFor, []);

  const line = "GET /v1/rooms/r/waiting";
  for (const as of [owner, admin]) {
    const { json } = await it.ask(line, { as });
    assert.deepEqual(json, { items: [joined.json], next: null });
  }
  // A user who waits is in no room yet, and others do not learn of the room.
  for (const as of [bob, other]) isProblem(await it.ask(line, { as }), 404, "not_found");
  isProblem(await it.ask("GET /v1/rooms/r", { as: bob }), 404, "not_found");
  isProblem(await it.ask("GET /v1/rooms/none/waiting", { as: admin }), 404, "not_found");
  const seenBy = async (as: typeof bob) =>
    (await it.ask(`GET /v1/users/${bob.signPub}`, { as })).json.invitedTo;
  assert.deepEqual([await seenBy(bob), await seenBy(admin), await seenBy(other)], [
    "r",
    "r",
    undefined,
  ]);

  const { sealedKey } = sealedFor(bob)[0] as { sealedKey: string };
  const body = { endpoint: bob.signPub, kexPub: bob.kexPub, key: { epoch: 1, sealedKey } };
  const added = await it.ask("POST /v1/rooms/r/members", { as: owner, body });
  assert.deepEqual([added.status, added.json.accepted], [201, false]);
  assert.deepEqual((await it.ask(line, { as: owner })).json.items, []);
  assert.deepEqual((await me()).waitingFor, []);
  isProblem(await it.ask(line, { as: bob }), 403, "forbidden");
  // It declines, and does not come back into the list.
  const path = `/v1/rooms/r/members/${bob.signPub}`;
  assert.equal((await it.ask(`DELETE ${path}`, { as: bob })).status, 204);
  assert.deepEqual((await it.ask(line, { as: owner })).json.items, []);
});

Deno.test("no user waits for a room that is gone, and a revoked user for none", async () => {
  await using it = await testPlane();
  const [owner, bob] = [await it.user(), someone()];
  await it.store.createRoom({ id: "r", subject: "room.r", owner, encrypted: false });
  const { token } = await it.store.createInvite({ createdBy: "cli", room: "r" });
  await it.store.consumeInvite(token, { ...bob, handle: "bob" });
  const listed = async () =>
    (await it.ask("GET /v1/rooms/r/waiting", { as: owner })).json.items.length;
  assert.equal(await listed(), 1);
  await it.store.revokeUser(bob.signPub);
  assert.equal(await listed(), 0);
  await it.store.restoreUser(bob.signPub);
  assert.equal(await listed(), 1);
  await it.store.deleteRoom("r");
  assert.deepEqual((await it.ask("GET /v1/me", { as: bob })).json.waitingFor, []);
});

Deno.test("a user who creates a room by the id of a deleted one is shown none of those invited to that", async () => {
  const clock = { now: Date.now() };
  await using it = await testPlane({ clock: () => new Date(clock.now) });
  const [owner, mallory, bob] = [await it.user(), await it.user(), someone()];
  await it.store.createRoom({ id: "r", subject: "room.r", owner, encrypted: false });
  const inviteTo = () => it.store.createInvite({ createdBy: "cli", room: "r" });
  const check = async (token: string) =>
    (await it.ask("POST /v1/register/check", { body: { token } })).json.room;
  const [used, open] = [await inviteTo(), await inviteTo()];
  await it.store.consumeInvite(used.token, { ...bob, handle: "bob" });
  assert.equal(await check(open.token), "r");
  await it.store.deleteRoom("r");
  assert.equal(await check(open.token), undefined);
  clock.now += 61_000;
  const body = { id: "r", sealedKeys: sealedFor(mallory) };
  const created = new Date(clock.now);
  assert.equal((await it.ask("POST /v1/rooms", { as: mallory, body, created })).status, 201);
  assert.equal(await check(open.token), undefined);
  const me = await it.ask("GET /v1/me", { as: bob, created });
  assert.deepEqual(me.json.waitingFor, []);
  const waiting = await it.ask("GET /v1/rooms/r/waiting", { as: mallory, created });
  assert.deepEqual(waiting.json.items, []);
});
