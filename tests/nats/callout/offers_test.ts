/** Offers and the bus: nobody else changes what a connection may do. */

import assert from "node:assert/strict";
import { admitted, enrol, eventually, openRoom, testBus } from "./bus.ts";

Deno.test("an offer neither gives rights nor ends a connection; joining gives them", async () => {
  await using bus = await testBus();
  const { server, store, events } = bus;
  const [ada, bob] = [await enrol(store), await enrol(store)];
  await openRoom(store, "own", bob);
  await using open = await admitted(server.port, bob);
  assert.ok(await open.maySubscribe("room.own"));
  const { signPub, kexPub } = bob;
  const offer = { endpoint: signPub, kexPub, accepted: false };
  for (let i = 0; i < 5; i++) await openRoom(store, `r${i}`, ada);
  for (let i = 0; i < 5; i++) await store.addMember(`r${i}`, offer);
  await store.createRoom({
    id: "made",
    subject: "room.made",
    encrypted: false,
    owner: { endpoint: ada.signPub, kexPub: ada.kexPub },
    members: [offer],
  });
  // Somebody whose access does change comes behind these changes.
  const cy = await enrol(store);
  await openRoom(store, "cys", cy);
  await using third = await admitted(server.port, cy);
  await store.revokeUser(cy.signPub, { force: true });
  await eventually(() => third.ended);
  assert.deepEqual(events.filter((it) => it.kind === "kicked" && it.endpoint === signPub), []);
  assert.ok(!open.ended);
  await using fresh = await admitted(server.port, bob);
  for (const client of [open, fresh]) {
    assert.ok(!await client.maySubscribe("room.r0"));
    assert.ok(!await client.mayPublish("room.made"));
    assert.ok(await client.mayPublish("room.own"));
  }

  await store.joinRoom("r0", signPub);
  await eventually(() => open.ended && fresh.ended);
  await using joined = await admitted(server.port, bob);
  assert.ok(await joined.maySubscribe("room.r0"));
  assert.ok(!await joined.maySubscribe("room.r1"));
  // The others go, declined or withdrawn: nothing changes for what is open.
  for (let i = 1; i < 5; i++) await store.removeMember(`r${i}`, signPub);
  await store.deleteRoom("made");
  await store.removeMember("r0", signPub);
  await eventually(() => joined.ended);
  const kicks = () => events.filter((it) => it.kind === "kicked" && it.endpoint === signPub);
  await eventually(() => kicks().length >= 3);
  assert.equal(kicks().length, 3);
});
