/** The log of changes: what it tells and does not, and the polls that wait for it. */

import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { type Changes, createClient, createIdentity } from "@unibus/membership/client";
import { CHANGE_ROWS } from "../../../src/http/admin/change_rows.ts";
import { ROUTES } from "../../../src/http/routes.ts";
import { serve } from "../../../src/http/serve/serve.ts";
import {
  type Answer,
  isProblem,
  sealedFor,
  type Someone,
  someone,
  type TestPlane,
  testPlane,
} from "../kit.ts";
import { backends } from "../../helpers/backends.ts";
import { daemon, until } from "../../cli/serve/kit.ts";

const BACKENDS = backends();

async function read(it: TestPlane, as: Someone, query = ""): Promise<Changes> {
  const { status, json, text } = await it.ask(`GET /v1/changes${query}`, { as });
  assert.equal(status, 200, text);
  return json;
}

/** What an answer tells, oldest first: action, about, outcome. */
const told = ({ items }: Changes) =>
  items.filter((it) => it.kind !== "elsewhere").reverse()
    .map(({ action, about, outcome }) => [action, about, outcome]);

async function waiting({ plane }: TestPlane): Promise<number> {
  const response = await plane.fetch(new Request("http://x/metrics"), { address: "127.0.0.1" });
  return Number(/^unibus_http_waiting (\d+)$/m.exec(await response.text())?.[1]);
}

Deno.test("every route that changes the control plane has its row", () => {
  // The first changes nothing: it is a POST because it sends a token. The log has nothing of blobs.
  const others = ["checkInvite", "deleteBlob"];
  const changing = ROUTES.filter((it) =>
    it.method !== "GET" && !it.streams && !others.includes(it.id)
  ).map(({ id }) => id);
  assert.deepEqual(Object.keys(CHANGE_ROWS).sort(), changing.sort());
});

for (const [name, withStores] of Object.entries(BACKENDS)) {
  Deno.test(`${name}: who did what to whom is told, newest first, and nothing of what must stay secret`, () =>
    withStores(async (store) => {
      await using it = await testPlane({ store });
      const admin = await it.user("admin");
      const [owner, member, joining] = [await it.user(), await it.user(), someone()];
      await read(it, admin);
      const ask = async (line: string, as: Someone, body?: unknown) =>
        await it.ask(line, { as, ...body === undefined ? {} : { body } });
      const note = "a note for nobody else";
      const created = await ask("POST /v1/invites", admin, { note });
      const { token, invite: { id: invite } } = created.json;
      const { signPub, kexPub } = joining;
      await ask("POST /v1/register", joining, { token, kexPub, handle: "Ada" });
      await ask("POST /v1/register", someone(), { token, kexPub, handle: "Eve" });
      const room = { id: "r", members: [{ endpoint: member.signPub, kexPub: member.kexPub }] };
      await ask("POST /v1/rooms", owner, { ...room, sealedKeys: sealedFor(owner, member) });
      await ask("POST /v1/rooms/r/rekey", owner, {
        epoch: 2,
        sealedKeys: sealedFor(owner, member),
      });
      await ask("POST /v1/rooms/r/rekey", owner, {
        epoch: 2,
        sealedKeys: sealedFor(owner, member),
      });
      await ask(`DELETE /v1/rooms/r/members/${member.signPub}`, member);
      await ask(`POST /v1/users/${signPub}/role`, admin, { role: "admin" });
      await ask(`POST /v1/users/${signPub}/revoke`, admin, {});
      await ask(`POST /v1/users/${admin.signPub}/revoke`, admin, {});
      await ask(`DELETE /v1/users/${signPub}`, admin);
      await ask("DELETE /v1/rooms/r", owner);
      // What is no change, and what says nothing of what is there.
      await ask("GET /v1/me", owner);
      await ask("POST /v1/users", owner, {});
      await ask("POST /v1/users", admin, {});
      await ask("POST /v1/register", someone(), { token: "ab".repeat(32), kexPub, handle: "x" });
      await ask(`POST /v1/users/${someone().signPub}/restore`, admin);
      await ask("DELETE /v1/rooms/none", owner);
      const answer = await it.ask("GET /v1/changes", { as: admin });
      const ada = { user: signPub, handle: "Ada" };
      const late = answer.json.items.find((it: { outcome: string }) => it.outcome === "invite_used")
        .about.user;
      assert.notEqual(late, signPub);
      assert.deepEqual(told(answer.json), [
        ["createInvite", { invite, role: "user" }, "done"],
        ["register", { invite, ...ada, role: "user" }, "done"],
        ["register", { invite, user: late }, "invite_used"],
        ["createRoom", { room: "r", epoch: 1 }, "done"],
        ["rekeyRoom", { room: "r", epoch: 2 }, "done"],
        ["rekeyRoom", { room: "r", epoch: 2 }, "conflict"],
        ["removeMember", { room: "r", user: member.signPub, handle: "user" }, "done"],
        ["setUserRole", { ...ada, role: "admin" }, "done"],
        ["revokeUser", ada, "done"],
        ["revokeUser", { user: admin.signPub, handle: "admin" }, "last_admin"],
        ["deleteUser", ada, "done"],
        ["deleteRoom", { room: "r" }, "done"],
      ]);
      assert.deepEqual(answer.json.items.at(-1).by, {
        signPub: admin.signPub,
        handle: "admin",
        proved: true,
      });
      const numbers = answer.json.items.map(({ n }: { n: number }) => n);
      assert.deepEqual(numbers, [...numbers].sort((a, b) => b - a));
      const secrets = [
        token,
        note,
        kexPub,
        Buffer.from(`sealed for ${owner.signPub}`)
          .toString("base64url"),
      ];
      for (const secret of secrets) assert.ok(!answer.text.includes(secret));
      // Nothing of this came from elsewhere, whatever the store tells of it late.
      await delay(400);
      const elsewhere = (await read(it, admin)).items.filter((it) => it.kind === "elsewhere");
      assert.deepEqual(elsewhere, []);
    }));

  Deno.test(`${name}: what another handle changes is told as changed elsewhere, within a second`, () =>
    withStores(async (store, other) => {
      await using it = await testPlane({ store });
      const admin = await it.user("admin");
      await read(it, admin);
      // At its start a store may tell that anything has changed.
      await delay(2_100);
      let { next } = await read(it, admin);
      const began = performance.now();
      const polling = read(it, admin, `?after=${next}&wait=20`);
      const { signPub, kexPub } = someone();
      await other.addUser({ signPub, kexPub, handle: "from the command line" });
      const { items, reset, ...rest } = await polling;
      assert.ok(performance.now() - began < 10_000);
      assert.equal(reset, false);
      assert.equal(items.length, 1);
      const [{ kind, by, outcome, about }] = items as [Changes["items"][number]];
      assert.deepEqual([kind, by, outcome], ["elsewhere", null, "done"]);
      // SQLite only counts that somebody committed.
      const whom = { user: signPub, handle: "from the command line" };
      assert.deepEqual(about, name === "sqlite" ? {} : whom);
      next = rest.next;
      assert.deepEqual((await read(it, admin, `?after=${next}`)).items, []);
      // Who loses the right elsewhere is refused here.
      const second = await it.user("admin");
      const { next: last } = await read(it, second);
      const refused = it.ask(`GET /v1/changes?after=${last}&wait=25`, { as: second });
      await until(async () => await waiting(it) === 1, "the second admin waits");
      await other.revokeUser(second.signPub);
      isProblem(await refused, 403, "forbidden");
    }));
}

Deno.test("a poll is answered with what came since, and says when that does not join on", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  const first = await read(it, admin);
  assert.deepEqual([first.items, first.reset], [[], true]);
  const make = async (n: number) => {
    for (let i = 0; i < n; i++) await it.ask("POST /v1/invites", { as: admin, body: {} });
  };
  await make(3);
  const second = await read(it, admin, `?after=${first.next}`);
  assert.deepEqual([second.items.length, second.reset], [3, false]);
  assert.deepEqual((await read(it, admin, `?after=${second.next}`)).items, []);
  const again = await read(it, admin, `?after=${first.next}&limit=2`);
  assert.deepEqual([again.items.length, again.reset], [2, true], "one is left out");
  await make(501);
  const late = await read(it, admin, `?after=${second.next}&limit=500`);
  assert.deepEqual([late.items.length, late.reset], [500, true], "one was pushed out");
  // Of another process, of the future, and no cursor at all.
  const run = first.next.slice(0, 16);
  for (const after of [`${"0".repeat(16)}-3`, "x", "0", `${run}-`, `${run}--1`, "%00"]) {
    const { items, reset } = await read(it, admin, `?after=${after}&wait=25&limit=5`);
    assert.deepEqual([items.length, reset], [5, true], after);
  }
  const future = await read(it, admin, `?after=${run}-999999999999999`);
  assert.deepEqual([future.items, future.reset], [[], false]);
  for (const query of ["after=", `after=${"x".repeat(65)}`, "wait=26", "wait=-1", "limit=1501"]) {
    isProblem(await it.ask(`GET /v1/changes?${query}`, { as: admin }), 400, "invalid");
  }
});

Deno.test("rooms' owners cannot push what admins did out of the log, nor can failures", async () => {
  await using it = await testPlane();
  const [admin, owner] = [await it.user("admin"), await it.user()];
  await it.ask("POST /v1/invites", { as: admin, body: {} });
  await it.ask("POST /v1/rooms", { as: owner, body: { id: "r", sealedKeys: sealedFor(owner) } });
  for (let i = 0; i < 600; i++) {
    const body = { epoch: 1, ...sealedFor(owner)[0] };
    await it.ask("PUT /v1/rooms/r/keys", { as: owner, body });
  }
  for (let i = 0; i < 600; i++) {
    await it.ask("POST /v1/rooms", { as: owner, body: { id: "r", encrypted: false } });
  }
  const { items } = await read(it, admin, "?limit=1500");
  const of = (action: string, outcome = "done") =>
    items.filter((it) => it.action === action && it.outcome === outcome).length;
  assert.deepEqual(
    [of("createInvite"), of("putSealedKey"), of("createRoom", "room_exists")],
    [1, 500, 500],
  );
});

Deno.test("an empty answer comes when the time is over, and an answer at once when there is more", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  const { next } = await read(it, admin);
  const began = performance.now();
  const empty = await read(it, admin, `?after=${next}&wait=1`);
  assert.ok(performance.now() - began > 950);
  assert.deepEqual(empty, { items: [], next, reset: false });
  const polling = read(it, admin, `?after=${next}&wait=25`);
  await until(async () => await waiting(it) === 1, "a poll that waits");
  await it.ask("POST /v1/invites", { as: admin, body: {} });
  assert.equal((await polling).items[0]!.action, "createInvite");
  assert.equal(await waiting(it), 0);
});

for (
  const [how, take] of Object.entries({
    revoked: (it: TestPlane, { signPub }: Someone) => it.store.revokeUser(signPub),
    deleted: (it: TestPlane, { signPub }: Someone) => it.store.deleteUser(signPub),
    demoted: (it: TestPlane, { signPub }: Someone) => it.store.setUserRole(signPub, "user"),
  })
) {
  Deno.test(`an admin who is ${how} while it waits is refused then`, async () => {
    await using it = await testPlane();
    const [admin, other] = [await it.user("admin"), await it.user("admin")];
    const { next } = await read(it, admin);
    const polling = it.ask(`GET /v1/changes?after=${next}&wait=25`, { as: admin });
    const staying = it.ask(`GET /v1/changes?after=${next}&wait=2`, { as: other });
    await until(async () => await waiting(it) === 2, "both wait");
    const began = performance.now();
    await take(it, admin);
    isProblem(await polling, 403, "forbidden");
    assert.ok(performance.now() - began < 5_000);
    assert.equal((await staying).status, 200);
    assert.equal(await waiting(it), 0);
  });
}

Deno.test("so many wait of one key, and so many in all; the next is told when to come again", async () => {
  await using it = await testPlane();
  const admins = await Promise.all(Array.from({ length: 9 }, () => it.user("admin")));
  const { next } = await read(it, admins[0]!);
  const line = `GET /v1/changes?after=${next}&wait=25`;
  const polls: Promise<Answer>[] = [];
  for (const as of admins.slice(0, 8)) {
    for (let i = 0; i < 8; i++) polls.push(it.ask(line, { as }));
  }
  await until(async () => await waiting(it) === 64, "64 wait");
  for (const as of [admins[0]!, admins[8]!]) {
    const refused = await it.ask(line, { as });
    isProblem(refused, 429, "rate_limited");
    assert.equal(refused.headers.get("retry-after"), "5");
  }
  // Those that do not wait are answered all the same.
  assert.equal((await it.ask("GET /v1/changes", { as: admins[8]! })).status, 200);
  await it.ask("POST /v1/invites", { as: admins[0]!, body: {} });
  for (const answer of await Promise.all(polls)) {
    assert.deepEqual([answer.status, answer.json.items.length], [200, 1]);
  }
  assert.equal(await waiting(it), 0);
});

Deno.test("a client that goes ends its wait, and many that come and go leave nothing", async () => {
  await using it = await testPlane();
  await using listening = await serve(it.plane, { hardened: true });
  const identity = createIdentity();
  const { signPub, kexPub } = identity;
  await it.store.addUser({ signPub, kexPub, handle: "Ada", role: "admin" });
  using client = createClient({ url: listening.url, identity, retries: 0 });
  const { next } = await client.changes();
  for (let round = 0; round < 4; round++) {
    const end = new AbortController();
    const polls = Array.from(
      { length: 8 },
      () =>
        client.changes({ after: next, wait: 25, signal: end.signal })
          .then(() => "answered", (error) => error.code),
    );
    await until(async () => await waiting(it) === 8, `round ${round}: eight wait`);
    end.abort();
    assert.deepEqual(await Promise.all(polls), Array(8).fill("aborted"));
    await until(async () => await waiting(it) === 0, `round ${round}: nobody waits`);
  }
  const polling = client.changes({ after: next, wait: 25 });
  await until(async () => await waiting(it) === 1, "one waits");
  await it.store.addUser({ ...someone(), handle: "x" });
  await client.createInvite();
  assert.ok((await polling).items.some((it) => it.action === "createInvite"));
});

for (const hardened of [false, true]) {
  const name = hardened ? "hardened" : "Deno.serve";

  Deno.test(`${name}: closing the control plane ends the waits, so that the server stops at once`, async () => {
    await using it = await testPlane();
    const listening = await serve(it.plane, { hardened });
    const admin = createIdentity();
    await it.store.addUser({
      signPub: admin.signPub,
      kexPub: admin.kexPub,
      handle: "Ada",
      role: "admin",
    });
    using client = createClient({ url: listening.url, identity: admin, retries: 0 });
    const { next } = await client.changes();
    const polls = [1, 2, 3].map(() => client.changes({ after: next, wait: 25 }));
    await until(async () => await waiting(it) === 3, "three wait");
    const began = performance.now();
    it.plane.close();
    await listening.close(20_000);
    assert.ok(performance.now() - began < 5_000);
    for (const answer of await Promise.all(polls)) assert.deepEqual(answer.items, []);
  });
}

Deno.test("membershipd ends the waits when it is told to stop, and answers them", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await using it = await daemon(dir, ["--bus-auth", "off"]);
    using client = createClient({ url: it.http, identity: createIdentity(), retries: 0 });
    const { next } = await client.changes();
    const polling = client.changes({ after: next, wait: 25 });
    const outcome = polling.then(({ items }) => items, (error) => error);
    await until(async () => /^unibus_http_waiting 1$/m.test(await client.metrics()), "one waits");
    const began = performance.now();
    const { code } = await it.stop();
    assert.equal(code, 0);
    // The grace for what is in flight is five seconds.
    assert.ok(performance.now() - began < 4_500, `${performance.now() - began} ms`);
    assert.deepEqual(await outcome, []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
