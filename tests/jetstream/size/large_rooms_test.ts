/**
 * Rooms that no batch holds: their changes may take as long as their size needs, and what is left of
 * one that was interrupted bars nobody. UNIBUS_LONG=1 takes rooms of 100,000 and 30,000 members.
 *
 * @module
 */

import assert from "node:assert/strict";
import process from "node:process";
import { diagnose } from "../../../src/jetstream/repair/doctor.ts";
import { openJetStream } from "../../../mod.ts";
import type { Store } from "../../../src/core/store.ts";
import {
  collect,
  fails,
  keysFor,
  meanwhile,
  newMember,
  newMembers,
  newRoom,
  outcomes,
} from "../../conformance/kit/kit.ts";
import { invariantProblems } from "../../conformance/kit/invariants.ts";
import { testServer } from "../../helpers/nats.ts";
import { tampered } from "../tamper.ts";

const LONG = Boolean(process.env.UNIBUS_LONG);
/** The acknowledgement of a full batch. */
const FULL = /"count":1000[,}]/g;
const OP_TIMEOUT = 2000;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A way to the server on which each answer takes a while. */
function slow(url: string, ms: number) {
  return tampered(url, (text) => {
    const due = pause(ms);
    return (async function* () {
      await due;
      yield text;
    })();
  });
}

/** Runs a change on a connection that is lost for good with its first full batch. */
async function interrupted(
  servers: string,
  bucket: string,
  change: (store: Store) => Promise<unknown>,
): Promise<void> {
  let seen = 0;
  await using proxy = await tampered(servers, (text) => {
    seen += text.match(FULL)?.length ?? 0;
    if (seen === 0) return text;
    void proxy.cut();
    return "";
  });
  await using store = await openJetStream({ servers: proxy.url, bucket, opTimeout: OP_TIMEOUT });
  await fails("unavailable", change(store));
  assert.ok(seen > 0, "no full batch");
}

async function problems(servers: string, bucket: string): Promise<string[]> {
  const findings = await diagnose({ servers, bucket });
  return findings.filter((it) => it.level === "problem").map((it) => it.message);
}

Deno.test("a room of many batches is created, rekeyed and deleted, though that takes longer than opTimeout", async () => {
  await using server = await testServer();
  await using proxy = await slow(server.url, 350);
  await using store = await openJetStream({ servers: proxy.url, opTimeout: 4000 });
  await using other = await openJetStream({ servers: server.url });
  const long = async <T>(what: string, work: Promise<T>): Promise<T> => {
    const begun = performance.now();
    const answer = await work;
    const took = performance.now() - begun;
    assert.ok(took > 1.2 * 4000, `${what} took ${Math.round(took)} ms only`);
    return answer;
  };
  const members = newMembers(6000);
  const room = newRoom("r", { members });
  const whole = async () => {
    const [word] = await outcomes([other.getRoom("r")]);
    if (word === "not_found") return;
    assert.ok((await other.listMembers("r", { limit: 10_000 })).items.length > 6000);
  };
  const late = newMember();
  // The second waits for its turn, which takes longer than it may take itself.
  const both = Promise.all([store.createRoom(room), store.addMember("r", late)]);
  await long("creating", meanwhile(whole, both));
  members.push(late);
  assert.equal((await store.listMembers("r", { limit: 10_000 })).items.length, 6002);
  const everyone = keysFor([room.owner, ...members]);
  await store.rekeyRoom("r", { epoch: 2, sealedKeys: everyone });
  assert.equal((await other.listSealedKeys("r", { epoch: 2, limit: 10_000 })).items.length, 6002);
  await long("deleting", store.deleteRoom("r"));
  assert.deepEqual(await problems(server.url, "UNIBUS"), []);
  assert.equal((await collect(other.records())).length, 0);
});

Deno.test({
  name: "a room of 100,000 members is created, one of 30,000 with sealed keys deleted, in one call",
  ignore: !LONG,
  async fn() {
    await using server = await testServer();
    await using store = await openJetStream({ servers: server.url });
    const timed = async (what: string, work: Promise<unknown>) => {
      const begun = performance.now();
      await work;
      console.log(`${what}: ${Math.round(performance.now() - begun)} ms`);
    };
    const members = newMembers(100_000);
    const cleartext = newRoom("large", { members, encrypted: false });
    await timed("create 100,000 cleartext", store.createRoom(cleartext));
    const encrypted = newRoom("keys", { members: members.slice(0, 30_000) });
    await timed("create 30,000 encrypted", store.createRoom(encrypted));
    const everyone = keysFor([encrypted.owner, ...encrypted.members!]);
    await timed("rekey 30,000", store.rekeyRoom("keys", { epoch: 2, sealedKeys: everyone }));
    await timed("delete 30,000 encrypted", store.deleteRoom("keys"));
    await timed("remove one", store.removeMember("large", members[0]!.endpoint));
    await timed("list a page", store.listMembers("large", { limit: 10_000 }));
    await timed("delete 100,000 cleartext", store.deleteRoom("large"));
    const all = newRoom("all", { members });
    await timed("create 100,000 encrypted", store.createRoom(all));
    await timed("delete 100,000 encrypted", store.deleteRoom("all"));
    assert.deepEqual(await problems(server.url, "UNIBUS"), []);
  },
});

Deno.test("the next change of a room finishes or undoes one that was interrupted, whichever it is", async (t) => {
  await using server = await testServer();
  const { url } = server;
  const members = newMembers(1800);
  const room = newRoom("r", { members });
  const again = newRoom("r", { members: members.slice(0, 3) });
  const create = (store: Store): Promise<unknown> => store.createRoom(room);
  const whole = async (store: Store, bucket: string, records: number) => {
    assert.deepEqual(await invariantProblems(store), []);
    assert.deepEqual(await problems(url, bucket), []);
    assert.equal((await collect(store.records())).length, records);
  };
  /** A bucket with half of a change in it. */
  const half = async (
    bucket: string,
    from: (store: Store) => Promise<unknown>,
    change = create,
  ) => {
    await using store = await openJetStream({ servers: url, bucket });
    await from(store);
    await interrupted(url, bucket, change);
    assert.match((await problems(url, bucket)).join(), /1 room is unfinished/);
  };
  const nothing = () => Promise.resolve();

  await t.step("create after create", async () => {
    await half("CC", nothing);
    await using store = await openJetStream({ servers: url, bucket: "CC", opTimeout: OP_TIMEOUT });
    await fails("not_found", store.getRoom("r"));
    await store.createRoom(again);
    await whole(store, "CC", 9);
  });
  await t.step("delete after create", async () => {
    await half("CD", nothing);
    await using store = await openJetStream({ servers: url, bucket: "CD", opTimeout: OP_TIMEOUT });
    await store.deleteRoom("r");
    await whole(store, "CD", 0);
    await fails("not_found", store.deleteRoom("r"));
  });
  const remove = (store: Store) => store.deleteRoom("r");
  await t.step("create after delete", async () => {
    await half("DC", create, remove);
    await using store = await openJetStream({ servers: url, bucket: "DC", opTimeout: OP_TIMEOUT });
    await fails("not_found", store.getRoom("r"));
    await store.createRoom(again);
    await whole(store, "DC", 9);
  });
  await t.step("delete after delete: the room was gone, now all of it is", async () => {
    await half("DD", create, remove);
    await using store = await openJetStream({ servers: url, bucket: "DD", opTimeout: OP_TIMEOUT });
    await fails("not_found", store.deleteRoom("r"));
    await whole(store, "DD", 0);
  });
  const rekey = (store: Store) =>
    store.rekeyRoom("r", { epoch: 2, sealedKeys: keysFor([room.owner, ...members]) });
  await t.step("remove, then rekey after rekey: nobody who left keeps a key", async () => {
    await half("RR", create, rekey);
    await using store = await openJetStream({ servers: url, bucket: "RR", opTimeout: OP_TIMEOUT });
    assert.equal((await store.getRoom("r")).epoch, 1);
    const [gone, ...stay] = members;
    await store.removeMember("r", gone!.endpoint);
    const sealedKeys = keysFor([room.owner, ...stay]);
    assert.equal((await store.rekeyRoom("r", { epoch: 2, sealedKeys })).epoch, 2);
    await fails("not_found", store.getSealedKey("r", gone!.endpoint, 2));
    await whole(store, "RR", 1 + 1800 + 1801 + 1800);
  });
  await t.step("delete after rekey", async () => {
    await half("RD", create, rekey);
    await using store = await openJetStream({ servers: url, bucket: "RD", opTimeout: OP_TIMEOUT });
    await store.deleteRoom("r");
    await whole(store, "RD", 0);
  });
  await t.step("doctor --repair", async () => {
    for (
      const [bucket, from, change, left] of [
        ["XC", nothing, create, 0],
        ["XD", create, remove, 0],
        ["XR", create, rekey, 1 + 2 * 1801],
      ] as const
    ) {
      await half(bucket, from, change);
      await diagnose({ servers: url, bucket, repair: true, opTimeout: OP_TIMEOUT });
      await using store = await openJetStream({ servers: url, bucket });
      await whole(store, bucket, left);
    }
  });
});

Deno.test("two that create a large room at once, or clean up and create: one wins, nobody waits for ever", async () => {
  await using server = await testServer();
  await using proxy = await slow(server.url, 40);
  // Half of it without a batch, and a change counts as abandoned.
  const opTimeout = 4000;
  await using here = await openJetStream({ servers: proxy.url, opTimeout });
  await using there = await openJetStream({ servers: server.url, opTimeout });
  const members = newMembers(6000);
  const rooms = [1, 2].map((n) => newRoom("r", { encrypted: false, members: members.slice(n) }));
  const slower = here.createRoom(rooms[0]!);
  // Its claim is there.
  let claimed = "";
  while (claimed === "") claimed = (await problems(server.url, "UNIBUS")).join();
  // One that deletes waits for what is under way too, and the doctor lets it be.
  const repair = diagnose({ servers: server.url, repair: true });
  const ended = await outcomes([slower, there.createRoom(rooms[1]!)]);
  assert.deepEqual(ended, ["ok", "room_exists"]);
  await repair;
  assert.equal((await there.listMembers("r", { limit: 10_000 })).items.length, 6000);
  const [deleted, created] = await outcomes([
    here.deleteRoom("r"),
    (async () => {
      for (;;) {
        const [word] = await outcomes([there.createRoom(rooms[1]!)]);
        if (word !== "room_exists") return assert.equal(word, "ok");
      }
    })(),
  ]);
  assert.deepEqual([deleted, created], ["ok", "ok"]);
  assert.equal((await here.listMembers("r", { limit: 10_000 })).items.length, 5999);
  assert.deepEqual(await problems(server.url, "UNIBUS"), []);
});
