/** Memberships over HTTP: offered, accepted, declined, and how many may be open. */

import assert from "node:assert/strict";
import { openSqlite } from "../../../mod.ts";
import type { Store } from "../../../src/core/store.ts";
import { isProblem, sealedFor, type Someone, someone, testPlane } from "../kit.ts";

const memberOf = ({ signPub, kexPub }: Someone) => ({ endpoint: signPub, kexPub });

Deno.test("an owner's new member is an offer until the member joins", async () => {
  await using it = await testPlane();
  const [owner, late, first] = [await it.user(), await it.user(), await it.user()];
  const room = {
    id: "r",
    members: [memberOf(first)],
    sealedKeys: sealedFor(owner, first),
  };
  assert.equal((await it.ask("POST /v1/rooms", { as: owner, body: room })).status, 201);
  const { sealedKey } = sealedFor(late)[0] as { sealedKey: string };
  const body = { ...memberOf(late), key: { epoch: 1, sealedKey } };
  const added = await it.ask("POST /v1/rooms/r/members", { as: owner, body });
  assert.deepEqual([added.status, added.json.accepted], [201, false]);
  const states = async () => {
    const { json } = await it.ask("GET /v1/rooms/r/members", { as: owner });
    return json.items.filter((entry: { role: string }) => entry.role === "member")
      .map((entry: { accepted: boolean }) => entry.accepted);
  };
  assert.deepEqual(await states(), [false, false]);
  assert.equal((await it.store.getMember("r", owner.signPub)).accepted, true);
  // It reads what it is offered: the room, who is in it, and its key.
  for (const path of ["", "/members", "/key", `/members/${late.signPub}`]) {
    assert.equal((await it.ask(`GET /v1/rooms/r${path}`, { as: late })).status, 200, path);
  }
  const ids = async (query: string) => {
    const { json } = await it.ask(`GET /v1/rooms${query}`, { as: late });
    return json.items.map(({ id }: { id: string }) => id);
  };
  assert.deepEqual(await ids(""), ["r"]);
  assert.deepEqual(await ids("?accepted=true"), []);
  assert.deepEqual(await ids("?accepted=false"), ["r"]);
  for (let again = 0; again < 2; again++) {
    const joined = await it.ask("POST /v1/rooms/r/join", { as: late });
    assert.deepEqual([joined.status, joined.json.accepted], [200, true]);
  }
  assert.deepEqual(await ids("?accepted=true"), ["r"]);
  // Somebody else's offer is its own to accept or decline.
  assert.equal((await it.store.getMember("r", first.signPub)).accepted, false);
  const declined = await it.ask(`DELETE /v1/rooms/r/members/${first.signPub}`, { as: first });
  assert.equal(declined.status, 204);
  isProblem(await it.ask("POST /v1/rooms/r/join", { as: first }), 404, "not_found");
});

Deno.test("only an admin's new member has accepted; an owner cannot say so", async () => {
  await using it = await testPlane();
  const [admin, user, who] = [await it.user("admin"), await it.user(), await it.user()];
  for (const [as, id] of [[admin, "a"], [user, "u"]] as const) {
    assert.equal(
      (await it.ask("POST /v1/rooms", { as, body: { id, encrypted: false } })).status,
      201,
    );
  }
  const add = (as: Someone, id: string, more: object = {}) =>
    it.ask(`POST /v1/rooms/${id}/members`, { as, body: { ...memberOf(who), ...more } });
  isProblem(await add(user, "u", { accepted: true }), 403, "forbidden", "accepted");
  const members = [{ ...memberOf(who), accepted: true }];
  const refused = { id: "v", encrypted: false, members };
  isProblem(await it.ask("POST /v1/rooms", { as: user, body: refused }), 403, "forbidden");
  assert.equal((await add(user, "u", { accepted: false })).json.accepted, false);
  assert.equal((await add(admin, "a")).json.accepted, true);
  await it.store.removeMember("a", who.signPub);
  assert.equal((await add(admin, "a", { accepted: false })).json.accepted, false);
  const made = { id: "b", encrypted: false, members };
  assert.equal((await it.ask("POST /v1/rooms", { as: admin, body: made })).status, 201);
  assert.equal((await it.store.getMember("b", who.signPub)).accepted, true);
  const both = await it.ask("GET /v1/rooms?all=true&accepted=true", { as: admin });
  isProblem(both, 400, "invalid", "accepted");
});

Deno.test("whether an owner is an admin is read once for a new room, however many its members", async () => {
  const store = openSqlite(":memory:");
  let reads = 0;
  const counting: Store = {
    ...store,
    getUser: (signPub) => {
      reads++;
      return store.getUser(signPub);
    },
  };
  await using it = await testPlane({ store: counting });
  const owner = await it.user();
  const create = async (id: string, count: number) => {
    const members = Array.from({ length: count }, () => memberOf(someone()));
    reads = 0;
    const body = { id, encrypted: false, members };
    assert.equal((await it.ask("POST /v1/rooms", { as: owner, body })).status, 201);
    return reads;
  };
  assert.equal(await create("many", 100), await create("one", 1));
});

Deno.test("under soft, only a proved admin accepts for others; under off anybody does", async () => {
  for (const busAuth of ["soft", "off"] as const) {
    await using it = await testPlane({ busAuth });
    const [admin, who] = [await it.user("admin"), await it.user()];
    const body = { id: "r", encrypted: false };
    assert.equal((await it.ask("POST /v1/rooms", { as: admin, body })).status, 201);
    const add = async (tamper?: (it: Request) => Request) => {
      const body = memberOf(who);
      const { json } = await it.ask("POST /v1/rooms/r/members", {
        as: admin,
        body,
        ...(tamper && { tamper }),
      });
      await it.store.removeMember("r", who.signPub);
      return json.accepted;
    };
    assert.equal(await add(), true);
    // The admin's key id, without its signature.
    const forged = await add((request) => {
      const headers = new Headers(request.headers);
      headers.set("signature", `sig1=:${btoa("x".repeat(64))}:`);
      return new Request(request, { headers });
    });
    assert.equal(forged, busAuth === "off");
  }
});

Deno.test("one owner has 20 open offers to one receiver, however many it makes at once", async () => {
  await using it = await testPlane();
  const [owner, other, who] = [await it.user(), await it.user(), await it.user()];
  const make = (as: Someone, id: string) =>
    it.ask("POST /v1/rooms", {
      as,
      body: { id, encrypted: false, members: [memberOf(who), memberOf(someone())] },
    });
  const made = await Promise.all(Array.from({ length: 25 }, (_, i) => make(owner, `r${i}`)));
  const refused = made.filter(({ status }) => status !== 201);
  assert.equal(refused.length, 5);
  for (const answer of refused) isProblem(answer, 429, "rate_limited");
  assert.match(refused[0]!.json.detail, /20 open offers from this owner/);
  const empty = { id: "empty", encrypted: false };
  assert.equal((await it.ask("POST /v1/rooms", { as: owner, body: empty })).status, 201);
  const add = () => it.ask("POST /v1/rooms/empty/members", { as: owner, body: memberOf(who) });
  isProblem(await add(), 429, "rate_limited");
  // Another's offers have their own count, and one that is accepted or declined makes room.
  assert.equal((await make(other, "others")).status, 201);
  const { json } = await it.ask("GET /v1/rooms?accepted=false", { as: who });
  const [first, second] = json.items.filter((room: { owner: string }) =>
    room.owner === owner.signPub
  );
  assert.equal((await it.ask(`POST /v1/rooms/${first.id}/join`, { as: who })).status, 200);
  assert.equal((await add()).status, 201);
  isProblem(await make(owner, "more"), 429, "rate_limited");
  await it.ask(`DELETE /v1/rooms/${second.id}/members/${who.signPub}`, { as: who });
  assert.equal((await make(owner, "more")).status, 201);
  // Members who have accepted take no place.
  await Promise.all(
    Array.from({ length: 25 }, (_, i) => it.ask(`POST /v1/rooms/r${i}/join`, { as: who })),
  );
  assert.equal((await make(owner, "many")).status, 201);
});

Deno.test("one receiver has 1,000 open offers at most, from whomever", async () => {
  await using it = await testPlane();
  const [owner, who] = [await it.user(), await it.user()];
  for (let i = 0; i < 999; i++) {
    const from = someone();
    await it.store.createRoom({
      id: `r${i}`,
      subject: `room.r${i}`,
      encrypted: false,
      owner: memberOf(from),
      members: [{ ...memberOf(who), accepted: false }],
    });
  }
  const make = (id: string) =>
    it.ask("POST /v1/rooms", {
      as: owner,
      body: { id, encrypted: false, members: [memberOf(who)] },
    });
  assert.equal((await make("last")).status, 201);
  const refused = await make("one too many");
  isProblem(refused, 400, "invalid");
  const full = await make("one-too-many");
  isProblem(full, 429, "rate_limited");
  assert.match(full.json.detail, /has 1000 open offers/);
  assert.equal((await it.ask("POST /v1/rooms/r5/join", { as: who })).status, 200);
  assert.equal((await make("one-too-many")).status, 201);
});
