/** Who changed what: what is told and what is not, and the requests that wait for it. */

import assert from "node:assert/strict";
import { openSqlite } from "@unibus/membership";
import { type Changes, createClient, createIdentity } from "@unibus/membership/client";
import { OPERATION_ANSWER } from "../../../src/http/admin/shapes.ts";
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
import { daemon, until } from "../../cli/serve/kit.ts";

async function read(it: TestPlane, as: Someone, query = ""): Promise<Changes> {
  const { status, json, text } = await it.ask(`GET /v1/changes${query}`, { as });
  assert.equal(status, 200, text);
  OPERATION_ANSWER.changes.read("", json);
  return json;
}

/** The revision of the newest change. */
async function newest(it: TestPlane, as: Someone): Promise<string> {
  return (await read(it, as, "?newest=true&limit=1")).items[0]!.revision;
}

async function waiting({ plane }: TestPlane): Promise<number> {
  const response = await plane.fetch(new Request("http://x/metrics"), { address: "127.0.0.1" });
  return Number(/^unibus_http_waiting (\d+)$/m.exec(await response.text())?.[1]);
}

const invite = async (it: TestPlane, as: Someone) =>
  (await it.ask("POST /v1/invites", { as, body: {} })).json.invite.id as string;

Deno.test("who did what is told in order, with names, and nothing of what must stay secret", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  const [owner, member, joining] = [await it.user(), await it.user(), someone()];
  const after = await newest(it, admin);
  const ask = async (line: string, as: Someone, body?: unknown) =>
    await it.ask(line, { as, ...body === undefined ? {} : { body } });
  const note = "a note for nobody else";
  const created = await ask("POST /v1/invites", admin, { note });
  const { token, invite: { id } } = created.json;
  const { signPub, kexPub } = joining;
  await ask("POST /v1/register", joining, { token, kexPub, handle: "Ada" });
  const members = [{ endpoint: member.signPub, kexPub: member.kexPub }];
  const keys = { sealedKeys: sealedFor(owner, member) };
  await ask("POST /v1/rooms", owner, { id: "r", members, ...keys });
  await ask("POST /v1/rooms/r/rekey", owner, { epoch: 2, ...keys });
  await ask(`DELETE /v1/rooms/r/members/${member.signPub}`, member);
  await ask(`POST /v1/users/${signPub}/role`, admin, { role: "admin" });
  await ask(`POST /v1/users/${signPub}/revoke`, admin, {});
  await ask("DELETE /v1/rooms/r", owner);
  // What changes nothing, and what is refused.
  await ask("GET /v1/me", owner);
  await ask(`POST /v1/users/${signPub}/revoke`, admin, {});
  await ask(`POST /v1/users/${admin.signPub}/revoke`, admin, {});
  await ask("POST /v1/users", owner, {});
  const found = await it.ask(`GET /v1/changes?after=${after}`, { as: admin });
  const { items, next, handles } = found.json as Changes;
  assert.deepEqual(
    items.map(({ action, by, user, room, invite }) => [action, by, user, room, invite]),
    [
      ["invite.created", admin.signPub, null, null, id],
      ["invite.claimed", signPub, signPub, null, id],
      ["room.created", owner.signPub, owner.signPub, "r", null],
      ["room.rekeyed", owner.signPub, null, "r", null],
      ["member.removed", member.signPub, member.signPub, "r", null],
      ["user.role_changed", admin.signPub, signPub, null, null],
      ["user.revoked", admin.signPub, signPub, null, null],
      ["room.deleted", owner.signPub, null, "r", null],
    ],
  );
  assert.equal(next, null);
  assert.deepEqual([items[3]!.before, items[3]!.after], [{ epoch: 1 }, { epoch: 2 }]);
  assert.deepEqual(handles, {
    [admin.signPub]: "admin",
    [owner.signPub]: "user",
    [member.signPub]: "user",
    [signPub]: "Ada",
  });
  const sealed = Buffer.from(`sealed for ${owner.signPub}`).toString("base64url");
  for (const secret of [token, note, kexPub, sealed]) assert.ok(!found.text.includes(secret));
  // A name that nobody has any more is left out.
  await ask(`DELETE /v1/users/${signPub}`, admin);
  const gone = await read(it, admin, `?user=${signPub}&newest=true&limit=1`);
  assert.equal(gone.items[0]!.before!.handle, "Ada");
  assert.deepEqual(Object.keys(gone.handles), [admin.signPub]);
});

Deno.test("changes are filtered and paged, both ways", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) ids.push(await invite(it, admin));
  const ofInvites = async (query: string) => {
    const { items, next } = await read(it, admin, `?action=invite.created&${query}`);
    return { found: items.map((it) => ids.indexOf(it.invite!)), next, items };
  };
  const first = await ofInvites("limit=2");
  assert.deepEqual(first.found, [0, 1]);
  assert.equal(first.next, first.items[1]!.revision);
  assert.deepEqual((await ofInvites(`limit=3&after=${first.next}`)).found, [2, 3, 4]);
  const back = await ofInvites("limit=2&newest=true");
  assert.deepEqual(back.found, [4, 3]);
  assert.deepEqual((await ofInvites(`newest=true&before=${back.next}`)).found, [2, 1, 0]);
  assert.deepEqual((await ofInvites(`invite=${ids[3]!.toUpperCase()}`)).found, [3]);
  assert.deepEqual((await ofInvites(`by=${admin.signPub}`)).found, [0, 1, 2, 3, 4]);
  assert.deepEqual((await ofInvites(`by=library`)).found, []);
  assert.deepEqual((await ofInvites(`user=${admin.signPub}`)).found, []);
  assert.deepEqual((await ofInvites("since=2999-01-01T00:00:00.000Z")).found, []);
  for (
    const query of [
      "after=",
      "after=12",
      "before=x",
      "newest=1",
      "user=x",
      "room=*",
      "invite=12",
      "by=",
      "action=user.hacked",
      "since=yesterday",
      "limit=1001",
      "limit=0",
      "wait=26",
      "wait=1&newest=true",
      "wait=1&before=0.3",
      "unknown=1",
    ]
  ) isProblem(await it.ask(`GET /v1/changes?${query}`, { as: admin }), 400, "invalid");
});

Deno.test("what was pruned is too old, and a store without a history says so", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  await invite(it, admin);
  await it.store.pruneHistory({ keep: 1 });
  for (const query of ["after=0.0", "after=0.0&wait=5"]) {
    isProblem(await it.ask(`GET /v1/changes?${query}`, { as: admin }), 410, "too_old");
  }
  assert.equal((await read(it, admin)).items.at(-1)!.action, "history.pruned");
  await using none = await testPlane({ store: openSqlite(":memory:", { history: false }) });
  const other = await none.user("admin");
  for (const query of ["", "?after=0.0&wait=5"]) {
    const answer = await none.ask(`GET /v1/changes${query}`, { as: other });
    isProblem(answer, 400, "unsupported");
    assert.match(answer.json.hint, /--no-history/);
  }
});

Deno.test("a request waits for the next change that matches, and an empty answer comes in time", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  // What came before is not what is waited for.
  await invite(it, admin);
  const after = await newest(it, admin);
  const began = performance.now();
  assert.deepEqual(await read(it, admin, `?after=${after}&wait=1`), {
    items: [],
    next: null,
    handles: {},
  });
  assert.ok(performance.now() - began > 950);
  const any = read(it, admin, `?after=${after}&wait=25`);
  const rooms = read(it, admin, `?after=${after}&wait=25&action=room.deleted`);
  const ofRoom = read(it, admin, `?wait=25&room=r`);
  await until(async () => await waiting(it) === 3, "three wait");
  await invite(it, admin);
  assert.deepEqual((await any).items.map((it) => it.action), ["invite.created"]);
  assert.equal(await waiting(it), 2);
  await it.ask("POST /v1/rooms", { as: admin, body: { id: "r", sealedKeys: sealedFor(admin) } });
  assert.deepEqual((await ofRoom).items.map((it) => it.action), ["room.created"]);
  // Another process on the same store is told too.
  await it.store.deleteRoom("r");
  assert.deepEqual((await rooms).items.map(({ by }) => by), ["library"]);
  assert.equal(await waiting(it), 0);
  // What is there already is not waited for.
  const asked = performance.now();
  assert.equal((await read(it, admin, `?after=${after}&wait=25`)).items.length, 3);
  assert.ok(performance.now() - asked < 20_000);
});

Deno.test("the first change of an empty history is waited for too", async () => {
  await using it = await testPlane({ busAuth: "off" });
  const polling = it.ask("GET /v1/changes?wait=25");
  await until(async () => await waiting(it) === 1, "one waits");
  await it.user();
  assert.equal((await polling).json.items[0].action, "user.added");
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
    const line = `GET /v1/changes?after=${await newest(it, admin)}&action=room.created`;
    const polling = it.ask(`${line}&wait=25`, { as: admin });
    const staying = it.ask(`${line}&wait=5`, { as: other });
    await until(async () => await waiting(it) === 2, "both wait");
    const began = performance.now();
    await take(it, admin);
    isProblem(await polling, 403, "forbidden");
    assert.ok(performance.now() - began < 20_000, "not only when its time is over");
    assert.equal((await staying).status, 200);
    assert.equal(await waiting(it), 0);
  });
}

Deno.test("so many wait of one key, and so many in all; the next is told when to come again", async () => {
  await using it = await testPlane();
  const admins = await Promise.all(Array.from({ length: 9 }, () => it.user("admin")));
  const line = `GET /v1/changes?after=${await newest(it, admins[0]!)}&wait=25`;
  const polls: Promise<Answer>[] = [];
  for (const as of admins.slice(0, 8)) {
    for (let i = 0; i < 8; i++) polls.push(it.ask(line, { as }));
    if (polls.length > 8) continue;
    await until(async () => await waiting(it) === 8, "8 wait");
    isProblem(await it.ask(line, { as }), 429, "rate_limited");
  }
  await until(async () => await waiting(it) === 64, "64 wait");
  for (const [as, whose] of [[admins[0]!, /by this key/], [admins[8]!, /in total/]] as const) {
    const refused = await it.ask(line, { as });
    isProblem(refused, 429, "rate_limited");
    assert.match(refused.json.detail, whose);
    assert.equal(refused.headers.get("retry-after"), "5");
  }
  // Those that do not wait are answered all the same.
  assert.equal((await it.ask("GET /v1/changes", { as: admins[8]! })).status, 200);
  await invite(it, admins[0]!);
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
  const { items } = await client.changes();
  const after = items[0]!.revision;
  for (let round = 0; round < 4; round++) {
    const end = new AbortController();
    const polls = Array.from(
      { length: 8 },
      () =>
        client.changes({ after, wait: 25, signal: end.signal })
          .then(() => "answered", (error) => error.code),
    );
    await until(async () => await waiting(it) === 8, `round ${round}: eight wait`);
    end.abort();
    assert.deepEqual(await Promise.all(polls), Array(8).fill("aborted"));
    await until(async () => await waiting(it) === 0, `round ${round}: nobody waits`);
  }
  const polling = client.changes({ after, wait: 25 });
  await until(async () => await waiting(it) === 1, "one waits");
  await client.createInvite();
  assert.deepEqual((await polling).items.map((it) => it.action), ["invite.created"]);
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
    const { items } = await client.changes();
    const after = items[0]!.revision;
    const polls = [1, 2, 3].map(() => client.changes({ after, wait: 25 }));
    await until(async () => await waiting(it) === 3, "three wait");
    it.plane.close();
    // One that comes late is not held.
    const began = performance.now();
    assert.deepEqual((await client.changes({ after, wait: 25 })).items, []);
    assert.ok(performance.now() - began < 20_000);
    await listening.close(20_000);
    for (const answer of await Promise.all(polls)) assert.deepEqual(answer.items, []);
  });
}

Deno.test("membershipd ends the waits when it is told to stop, and answers them", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await using it = await daemon(dir, ["--bus-auth", "off"]);
    using client = createClient({ url: it.http, identity: createIdentity(), retries: 0 });
    const { items } = await client.changes({ newest: true });
    const polling = client.changes({ after: items[0]?.revision ?? null, wait: 25 });
    const outcome = polling.then(({ items }) => items, (error) => error);
    await until(async () => /^unibus_http_waiting 1$/m.test(await client.metrics()), "one waits");
    const { code } = await it.stop();
    assert.equal(code, 0);
    assert.deepEqual(await outcome, []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
