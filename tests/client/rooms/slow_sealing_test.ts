/** Sealing that takes a while, as in browsers: the order stays, and no old key is used too late. */

import assert from "node:assert/strict";
import { cardOf } from "../../../src/client/mod.ts";
import { openRoomsWith } from "../../../src/client/rooms/rooms.ts";
import type { Rooms } from "../../../src/client/rooms/types.ts";
import { readHeader } from "../../../src/sealing/message.ts";
import { nodePrimitives, roomKeysOf } from "../../../src/sealing/primitives_node.ts";
import { Heard, type Person, until, type Village, village } from "./village.ts";

/** Opens the rooms of somebody whose messages are signed when `before` has resolved. */
async function slowRooms(
  it: Village,
  { identity, client }: Person,
  before: () => Promise<unknown>,
): Promise<Rooms> {
  return await openRoomsWith({
    client,
    keys: {
      ...roomKeysOf(identity),
      async signMessage(data) {
        await before();
        return identity.signMessage(data);
      },
    },
    primitives: nodePrimitives,
    connect: async () => {
      const connection = await it.wire();
      return { connection, close: () => connection.close() };
    },
    sendTimeout: 60_000,
  });
}

/** The headers of all messages of a subject, as they come. */
async function tapped(it: Village, subject: string) {
  const headers: ReturnType<typeof readHeader>[] = [];
  const wire = await it.wire();
  wire.subscribe(subject, { callback: (_, { data }) => void headers.push(readHeader(data)) });
  await wire.flush();
  return headers;
}

Deno.test("messages are published in the order of their calls, however long each takes to seal", async () => {
  await using it = await village();
  const [ada, bob] = [await it.person(), await it.person()];
  let wait = 20;
  await using rooms = await slowRooms(it, ada, async () => {
    await new Promise((resolve) => setTimeout(resolve, wait = (wait * 7) % 23));
  });
  const room = await rooms.createRoom({ id: "kitchen", members: [cardOf(bob.identity)] });
  const heard = new Heard(await (await bob.rooms()).join("kitchen"));
  const texts = Array.from({ length: 12 }, (_, i) => `${i}`);
  const sending = texts.slice(0, 6).map((text) => room.send(text));
  const rekeying = room.rekey();
  sending.push(...texts.slice(6).map((text) => room.send(text)));
  await Promise.all([...sending, rekeying]);
  await heard.heard("11");
  assert.deepEqual(heard.texts, texts);
  assert.ok(heard.all.every((it) => it.missed === 0 && !it.late));
  assert.deepEqual(bob.problems, []);
});

Deno.test("a message that was being sealed when a member was removed is sealed with the new key", async () => {
  await using it = await village();
  const [ada, bob, eve] = [await it.person(), await it.person(), await it.person()];
  const gate = Promise.withResolvers<void>();
  let begun = 0;
  await using rooms = await slowRooms(it, ada, () => {
    begun++;
    return gate.promise;
  });
  const members = [cardOf(bob.identity), cardOf(eve.identity)];
  const room = await rooms.createRoom({ id: "kitchen", members });
  const heard = new Heard(await (await bob.rooms()).join("kitchen"));
  const published = await tapped(it, room.subject);
  const sending = room.send("she is gone");
  await until(() => begun === 1, "the first signature");
  const removing = room.removeMember(eve.identity.signPub);
  await until(() => room.epoch === 2, "the new key");
  gate.resolve();
  await Promise.all([sending, removing]);
  await heard.heard("she is gone");
  await until(() => published.length === 2, "the message and the announcement");
  assert.deepEqual(published.map((it) => [it.kind, it.epoch, it.seq]), [
    ["content", 2, 0],
    ["rekeyed", 2, 1],
  ]);
});

Deno.test("a message that was being sealed when the room was closed, or given up, is not published", async () => {
  await using it = await village();
  const ada = await it.person();
  const gate = Promise.withResolvers<void>();
  let begun = 0;
  await using rooms = await slowRooms(it, ada, () => {
    begun++;
    return gate.promise;
  });
  const room = await rooms.createRoom({ id: "kitchen" });
  const published = await tapped(it, room.subject);
  const controller = new AbortController();
  const givenUp = assert.rejects(room.send("no", { signal: controller.signal }), {
    code: "aborted",
  });
  const closed = assert.rejects(room.send("neither"), { code: "closed" });
  await until(() => begun === 1, "the first signature");
  controller.abort();
  await room.close();
  gate.resolve();
  await Promise.all([givenUp, closed]);
  // What had been published would have come meanwhile.
  await assert.rejects(rooms.join("nowhere"), { code: "not_found" });
  await (await it.wire()).flush();
  assert.deepEqual(published, []);
});
