/** What one user and one room may have, and what is removed to make room. */

import assert from "node:assert/strict";
import type { Store } from "../../../mod.ts";
import { createControlPlane } from "../../../src/http/control_plane.ts";
import { Turns } from "../../../src/core/async/turns.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { isProblem, requestOf, sealedFor, type Someone, someone, testPlane } from "../kit.ts";

/** A store whose method `name` waits, and what tells when so many requests have passed authorization. */
function heldAt(name: "addMember" | "createRoom") {
  const sqlite = openSqlite(":memory:");
  const held = Promise.withResolvers<void>();
  let asked = 0;
  const done: unknown[] = [];
  const store: Store = {
    ...sqlite,
    isAuthorized: (signPub: string) => {
      asked++;
      return sqlite.isAuthorized(signPub);
    },
    [name]: async (...given: unknown[]) => {
      done.push(given);
      await held.promise;
      // deno-lint-ignore no-explicit-any
      return await (sqlite[name] as any)(...given);
    },
    as: () => ({ ...store, revision: null }),
  } as Store;
  return {
    store,
    done,
    release: () => held.resolve(),
    /** Each is asked for before its body and after it. */
    async passed(requests: number): Promise<void> {
      do await new Promise((resolve) => setTimeout(resolve, 1)); while (asked < 2 * requests);
    },
  };
}

const memberOf = ({ signPub, kexPub }: Someone) => ({ endpoint: signPub, kexPub });

Deno.test("of rooms made at once no more come about than one user may own", async () => {
  await using it = await testPlane({ maxRoomsPerOwner: 3 });
  const user = await it.user();
  const make = (id: string) =>
    it.ask("POST /v1/rooms", { as: user, body: { id, encrypted: false } });
  const made = await Promise.all(Array.from({ length: 12 }, (_, i) => make(`room${i}`)));
  const refused = made.filter((answer) => answer.status !== 201);
  assert.equal(refused.length, 9);
  for (const answer of refused) isProblem(answer, 413, "quota_exceeded", "maxRoomsPerOwner");
  assert.match(refused[0]!.json.detail, /at most 3 rooms \(maxRoomsPerOwner\)/);
});

Deno.test("a room has no more members than it may, however they are added", async () => {
  await using it = await testPlane({ maxMembersPerRoom: 4 });
  const user = await it.user();
  const people = Array.from({ length: 12 }, () => memberOf(someone()));
  const make = (id: string, members: object[]) =>
    it.ask("POST /v1/rooms", { as: user, body: { id, encrypted: false, members } });
  isProblem(await make("a", people.slice(0, 4)), 413, "quota_exceeded", "maxMembersPerRoom");
  assert.equal((await make("a", people.slice(0, 2))).status, 201);
  const added = await Promise.all(
    people.slice(2).map((body) => it.ask("POST /v1/rooms/a/members", { as: user, body })),
  );
  const refused = added.filter((answer) => answer.status !== 201);
  assert.equal(refused.length, 9);
  for (const answer of refused) isProblem(answer, 413, "quota_exceeded", "maxMembersPerRoom");
  assert.match(refused[0]!.json.detail, /at most 4 members/);
  const { json: { items } } = await it.ask("GET /v1/rooms/a/members", { as: user });
  assert.equal(items.length, 4);
  const gone = items.find((member: { role: string }) => member.role === "member").endpoint;
  await it.ask(`DELETE /v1/rooms/a/members/${gone}`, { as: user });
  const again = await it.ask("POST /v1/rooms/a/members", { as: user, body: people.at(-1) });
  assert.ok([201, 409].includes(again.status), again.text);
});

Deno.test("a rekey never fails for a quota: the oldest epochs go, and two stay", async () => {
  for (const [keep, left] of [[2, [6, 7]], [4, [4, 5, 6, 7]]] as const) {
    await using it = await testPlane({ maxEpochsKept: keep });
    const user = await it.user();
    const body = { id: "a", sealedKeys: sealedFor(user) };
    assert.equal((await it.ask("POST /v1/rooms", { as: user, body })).status, 201);
    for (let epoch = 2; epoch <= 7; epoch++) {
      const body = { epoch, sealedKeys: sealedFor(user) };
      const answer = await it.ask("POST /v1/rooms/a/rekey", { as: user, body });
      assert.equal(answer.status, 200, answer.text);
    }
    const { json } = await it.ask("GET /v1/rooms/a/keys", { as: user });
    assert.deepEqual(json.items.map((key: { epoch: number }) => key.epoch), left);
    // Nobody fills up again what was removed.
    const put = (epoch: number) =>
      it.ask("PUT /v1/rooms/a/keys", { as: user, body: { epoch, ...sealedFor(user)[0] } });
    isProblem(await put(7 - keep), 413, "quota_exceeded", "maxEpochsKept");
    assert.equal((await put(8 - keep)).status, 200);
  }
});

Deno.test("a rekey succeeds where the old keys cannot be removed, which is told", async () => {
  const sqlite = openSqlite(":memory:");
  const store: Store = {
    ...sqlite,
    pruneSealedKeys: () => Promise.reject(new Error("out of order")),
    as: () => ({ ...store, revision: null }),
  };
  await using it = await testPlane({ store, maxEpochsKept: 2 });
  const user = await it.user();
  await it.ask("POST /v1/rooms", { as: user, body: { id: "a", sealedKeys: sealedFor(user) } });
  const body = { epoch: 2, sealedKeys: sealedFor(user) };
  assert.equal((await it.ask("POST /v1/rooms/a/rekey", { as: user, body })).status, 200);
  const told = it.events.find((event) => event.event === "failed");
  assert.equal(told?.reason, "Pruning sealed keys: out of order");
  assert.equal(told?.level, "warn");
});

Deno.test("quotas that make no sense are invalid; off has none", async () => {
  await using store = openSqlite(":memory:");
  for (
    const options of [
      { maxEpochsKept: 1 },
      { maxEpochsKept: NaN },
      { maxRoomsPerOwner: -1 },
      { maxMembersPerRoom: 1.5 },
    ]
  ) {
    const [field] = Object.keys(options);
    assert.throws(() => createControlPlane(store, options), { code: "invalid", field });
  }
  await using it = await testPlane({
    busAuth: "off",
    maxMembersPerRoom: 1,
    maxRoomsPerOwner: 0,
    maxEpochsKept: Infinity,
  });
  const user = await it.user();
  const body = { id: "a", encrypted: false, members: [memberOf(someone())] };
  assert.equal((await it.ask("POST /v1/rooms", { as: user, body })).status, 201);
});

Deno.test("requests that wait for their turn keep nobody out, and are refused once revoked", async () => {
  const { store, done, release, passed } = heldAt("addMember");
  await using it = await testPlane({ store, maxInFlight: 4 });
  const [eve, bob] = [await it.user(), await it.user()];
  await it.ask("POST /v1/rooms", { as: eve, body: { id: "a", encrypted: false } });
  const adds = Array.from(
    { length: 4 },
    () => it.ask("POST /v1/rooms/a/members", { as: eve, body: memberOf(someone()) }),
  );
  await passed(5);
  const until = performance.now() + 60_000;
  let me = await it.ask("GET /v1/me", { as: bob });
  while (me.status === 503 && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    me = await it.ask("GET /v1/me", { as: bob });
  }
  assert.equal(me.status, 200, me.text);
  assert.equal(done.length, 1);
  await it.store.revokeUser(eve.signPub);
  release();
  const statuses = (await Promise.all(adds)).map(({ status }) => status);
  assert.deepEqual(statuses.sort(), [201, 403, 403, 403]);
  assert.equal(done.length, 1);
});

Deno.test("what waited for its turn is not done for a client that has gone", async () => {
  const { store, release, passed } = heldAt("createRoom");
  await using it = await testPlane({ store });
  const user = await it.user();
  const make = async (id: string, isGone: () => boolean) => {
    const request = await requestOf("POST /v1/rooms", { as: user, body: { id, encrypted: false } });
    return await it.plane.fetch(request, { address: "127.0.0.1", isGone });
  };
  const first = make("a", () => true);
  await passed(1);
  const others = [make("b", () => true), make("c", () => false)];
  await passed(3);
  release();
  // What has begun is finished.
  const answers = await Promise.all([first, ...others]);
  assert.deepEqual(answers.map(({ status }) => status), [201, 400, 201]);
});

Deno.test("turns: one after another under a key, also after a failure; others do not wait", async () => {
  const turns = new Turns();
  const seen: string[] = [];
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  const first = turns.take("a", async () => {
    await held;
    seen.push("first");
    throw new Error("no");
  });
  const second = turns.take("a", () => Promise.resolve(void seen.push("second")));
  await turns.take("b", () => Promise.resolve(void seen.push("other")));
  release();
  await assert.rejects(first, /no/);
  await second;
  assert.deepEqual(seen, ["other", "first", "second"]);
  await turns.take("a", () => Promise.resolve());
  assert.equal(turns.isTaken("a"), false);
});

Deno.test("turns: who comes after the first has ended waits for the second", async () => {
  const turns = new Turns();
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  const first = turns.take("a", () => Promise.resolve());
  const seen: string[] = [];
  const second = turns.take("a", () => held.then(() => void seen.push("second")));
  await first;
  assert.equal(turns.isTaken("a"), true);
  const third = turns.take("a", () => Promise.resolve(void seen.push("third")));
  await Promise.resolve();
  release();
  await Promise.all([second, third]);
  assert.deepEqual(seen, ["second", "third"]);
});
