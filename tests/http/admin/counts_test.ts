/** How many users, rooms, invites, connections and changes admins are told of. */

import assert from "node:assert/strict";
import { openSqlite } from "@unibus/membership";
import type { BusConnections } from "@unibus/membership/client";
import { openJetStream } from "../../../src/jetstream/mod.ts";
import { dayOf } from "../../../src/http/admin/counts.ts";
import { Seen } from "../../../src/http/admin/operations.ts";
import { OPERATION_ANSWER } from "../../../src/http/admin/shapes.ts";
import { testServer } from "../../helpers/nats.ts";
import { person } from "../../helpers/sqlite.ts";
import { type Someone, someone, testPlane } from "../kit.ts";

const HOUR = 3_600_000;

Deno.test("counts are those of the store, at this time, with the changes of the last day only", async () => {
  let now = Date.now() - 30 * HOUR;
  const clock = () => new Date(now);
  const store = openSqlite(":memory:", { clock });
  const asked: (string | undefined)[] = [];
  await using it = await testPlane({
    store,
    clock,
    connections: (endpoint) => {
      asked.push(endpoint);
      return { open: 5, users: 3 };
    },
  });
  const ada = await it.user("admin");
  const bob = await it.user();
  const gone = await it.user("admin");
  await store.revokeUser(gone.signPub);
  await store.createInvite({ createdBy: "cli", expiresIn: HOUR });
  now += 29 * HOUR;
  const used = await store.createInvite({ createdBy: "cli" });
  const eve = someone();
  await store.consumeInvite(used.token, {
    signPub: eve.signPub,
    kexPub: eve.kexPub,
    handle: "eve",
  });
  const canceled = await store.createInvite({ createdBy: "cli" });
  await store.cancelInvite(canceled.invite.id);
  await store.createInvite({ createdBy: "cli" });
  await store.createInvite({ createdBy: "cli", expiresIn: 2 * HOUR });
  await store.createRoom({
    id: "ops",
    subject: "room.ops",
    encrypted: false,
    owner: { endpoint: bob.signPub, kexPub: bob.kexPub },
  });
  now += HOUR;
  const { status, json } = await it.ask("GET /v1/counts", { as: ada });
  assert.equal(status, 200);
  OPERATION_ANSWER.counts.read("", json);
  assert.deepEqual(json, {
    users: { total: 4, revoked: 1, admins: 1 },
    rooms: 1,
    invites: { open: 2, more: false },
    connections: { open: 5, users: 3 },
    day: {
      changes: 7,
      more: false,
      actions: {
        "invite.created": 4,
        "invite.claimed": 1,
        "invite.canceled": 1,
        "room.created": 1,
      },
    },
    at: clock().toISOString(),
  });
  assert.deepEqual(asked, [undefined]);
  assert.equal((await it.ask("GET /v1/counts", { as: bob })).status, 403);
});

Deno.test("what cannot be counted is null, and the rest is told: no follower, no history, no bus", async () => {
  await using server = await testServer();
  const store = await openJetStream({ servers: server.url, history: false });
  await using it = await testPlane({ store });
  const ada = await it.user("admin");
  await store.createInvite({ createdBy: "cli" });
  const { json } = await it.ask("GET /v1/counts", { as: ada });
  OPERATION_ANSWER.counts.read("", json);
  const { at: _, ...counts } = json;
  assert.deepEqual(counts, {
    users: null,
    rooms: null,
    invites: { open: 1, more: false },
    connections: null,
    day: null,
  });
});

Deno.test("a user's activity is its connections and its last request since the start", async () => {
  let now = Date.parse("2026-11-22T08:00:00.000Z");
  const clock = () => new Date(now);
  const since = clock().toISOString();
  await using it = await testPlane({
    clock,
    connections: (endpoint) =>
      endpoint === bob.signPub ? { open: 2, users: 1, closedAt: since } : null,
  });
  const ada = await it.user("admin");
  const bob = await it.user();
  const of = async (signPub: string) => {
    const { json } = await it.ask(`GET /v1/users/${signPub}/activity`, {
      as: ada,
      created: clock(),
    });
    OPERATION_ANSWER.activity.read("", json);
    return json;
  };
  assert.deepEqual(await of(bob.signPub), {
    connections: 2,
    lastConnection: since,
    lastRequest: null,
    since,
  });
  now += HOUR;
  await it.ask("GET /v1/me", { as: bob, created: clock() });
  const seen = clock().toISOString();
  now += HOUR;
  // Refused: not his signature, and not his to ask.
  await it.ask("GET /v1/me", { as: { ...bob, signRequest: ada.signRequest }, created: clock() });
  await it.ask("GET /v1/users", { as: bob, created: clock() });
  assert.deepEqual(await of(bob.signPub.toUpperCase()), {
    connections: 2,
    lastConnection: since,
    lastRequest: seen,
    since,
  });
  const other = await of(ada.signPub);
  assert.deepEqual([other.connections, other.lastRequest], [null, clock().toISOString()]);
  assert.equal(
    (await it.ask("GET /v1/users/x/activity", { as: ada, created: clock() })).status,
    400,
  );
});

Deno.test("of too many users those that were seen longest ago are forgotten", () => {
  let now = 0;
  const seen = new Seen(() => new Date(++now), 2);
  for (const it of ["a", "b", "a", "c"]) seen.note(it);
  const at = (ms: number) => new Date(ms).toISOString();
  assert.deepEqual(["a", "b", "c", "d"].map((it) => seen.of(it)), [at(3), null, at(4), null]);
});

Deno.test("each change of a day is read once, and of too many the newest are counted", async () => {
  let now = Date.parse("2026-11-22T08:00:00.000Z");
  await using store = openSqlite(":memory:", { clock: () => new Date(now) });
  let read = 0;
  const count = dayOf({
    async history(query) {
      const page = await store.history(query);
      read += page.items.length;
      return page;
    },
  }, 1100);
  const day = () => count(now);
  const added = (changes: number, revoked = 0) => ({
    "user.added": changes - revoked,
    ...revoked > 0 && { "user.revoked": revoked },
  });
  assert.deepEqual(await day(), { changes: 0, more: false, actions: {} });
  for (let i = 0; i < 1050; i++) await store.addUser(person(i));
  assert.deepEqual(await day(), { changes: 1050, more: false, actions: added(1050) });
  now += HOUR;
  for (let i = 0; i < 50; i++) await store.revokeUser(person(i).signPub);
  assert.deepEqual(await day(), { changes: 1100, more: false, actions: added(1100, 50) });
  assert.equal(read, 1100);
  await store.restoreUser(person(0).signPub);
  assert.deepEqual(await day(), {
    changes: 1100,
    more: true,
    actions: { ...added(1099, 50), "user.restored": 1 },
  });
  // The oldest, of which some were not counted, are no longer of this day.
  now += 23.5 * HOUR;
  assert.deepEqual(await day(), {
    changes: 51,
    more: false,
    actions: { "user.revoked": 50, "user.restored": 1 },
  });
  assert.equal(read, 1101);
});

Deno.test("users are found of whom nothing was seen since a time, on pages that lose none", async () => {
  let now = Date.parse("2026-11-22T08:00:00.000Z");
  const clock = () => new Date(now);
  const iso = () => clock().toISOString();
  const bus = new Map<string, BusConnections>();
  await using it = await testPlane({
    clock,
    connections: (endpoint = "") => bus.get(endpoint) ?? { open: 0, users: 0, closedAt: null },
  });
  const ada = await it.user("admin");
  const [asks, asked, listens, left, never] = await Promise.all(
    Array.from({ length: 5 }, () => it.user()),
  ) as [Someone, Someone, Someone, Someone, Someone];
  const me = (as: Someone) => it.ask("GET /v1/me", { as, created: clock() });
  await me(asked);
  bus.set(left.signPub, { open: 0, users: 0, closedAt: iso() });
  bus.set(listens.signPub, { open: 1, users: 1, closedAt: null });
  now += HOUR;
  const since = iso();
  await me(asks);
  const found = async (since: string, more = "") => {
    const ids: string[] = [];
    for (let after = "";;) {
      const path = `GET /v1/users?unseenSince=${since}${more}${after}`;
      const { status, json, text } = await it.ask(path, { as: ada, created: clock() });
      assert.equal(status, 200, text);
      assert.equal(json.total, undefined);
      ids.push(...json.items.map((it: Someone) => it.signPub));
      if (json.next === null) return ids.sort();
      after = `&after=${encodeURIComponent(json.next)}`;
    }
  };
  const keys = (...of: Someone[]) => of.map((it) => it.signPub).sort();
  for (const more of ["", "&limit=1", "&limit=2&sort=handle", "&limit=4&sort=created&total=true"]) {
    assert.deepEqual(await found(since, more), keys(asked, left, never), more);
  }
  assert.deepEqual(await found(new Date(now - HOUR).toISOString()), keys(never));
  assert.deepEqual(await found(since, "&role=admin"), []);
  const bad = await it.ask("GET /v1/users?unseenSince=yesterday", { as: ada, created: clock() });
  assert.equal(bad.status, 400);
});
