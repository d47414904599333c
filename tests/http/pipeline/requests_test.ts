/** How requests are taken and answered: signatures, modes, bodies, problems, pages. */

import assert from "node:assert/strict";
import { createSigner, httpbis } from "http-message-signatures";
import { openSqlite, StoreError } from "@unibus/membership";
import { groupOf } from "../../../src/http/pipeline/limits.ts";
import { ROUTES } from "../../../src/http/routes.ts";
import { subjectOf } from "../../../src/http/routes/subject.ts";
import { digestOf } from "../../../src/signature/mod.ts";
import {
  answerOf,
  isProblem,
  ORIGIN,
  recordsOf,
  requestOf,
  sealedFor,
  someone,
  testPlane,
} from "../kit.ts";

Deno.test("a signer that is not ours is understood", async () => {
  await using it = await testPlane();
  const user = await it.user();
  const body = JSON.stringify({ id: "r", encrypted: false });
  const digest = digestOf(new TextEncoder().encode(body));
  const message = await httpbis.signMessage({
    key: { ...createSigner(user.privateKey, "ed25519", user.signPub), alg: "ed25519" },
    fields: ["@method", "@authority", "@path", "@query", "content-digest"],
    params: ["created", "nonce", "keyid", "alg"],
    paramValues: { nonce: "one of a kind" },
  }, {
    method: "POST",
    url: `${ORIGIN}/v1/rooms`,
    headers: { "content-type": "application/json", "content-digest": digest },
  });
  const headers = new Headers(message.headers as Record<string, string>);
  const request = new Request(message.url as string, { method: "POST", headers, body });
  const answer = await answerOf(await it.plane.fetch(request));
  assert.equal(answer.status, 201, answer.text);
  assert.equal(answer.json.owner, user.signPub);
});

Deno.test("a request that was seen is refused, and leaves no second trace", async () => {
  await using it = await testPlane();
  const user = await it.user();
  const request = await requestOf("POST /v1/rooms", {
    as: user,
    body: { id: "r", encrypted: false },
  });
  const again = request.clone();
  assert.equal((await it.plane.fetch(request)).status, 201);
  const answer = await answerOf(await it.plane.fetch(again));
  isProblem(answer, 401, "unauthenticated");
  assert.equal(answer.json.reason, "nonce");
  assert.match(answer.headers.get("accept-signature") ?? "", /created;nonce;keyid/);
});

Deno.test("a request is good for 60 seconds, at most 5 ahead of its time, and not from before the start", async () => {
  let now = Date.parse("2026-11-21T10:00:00Z");
  await using it = await testPlane({ clock: () => new Date(now) });
  const user = await it.user();
  const at = (seconds: number) => ({ as: user, created: new Date(now + seconds * 1000) });
  isProblem(await it.ask("GET /v1/me", at(-1)), 401, "unauthenticated");
  now += 120_000;
  assert.equal((await it.ask("GET /v1/me", at(-60))).status, 200);
  for (const off of [-61, 6, 55]) {
    const answer = await it.ask("GET /v1/me", at(off));
    isProblem(answer, 401, "unauthenticated");
    assert.equal(answer.json.reason, "created");
  }
});

Deno.test("a request ahead of its time is obeyed when it has come, and never again after a restart", async () => {
  const store = openSqlite(":memory:");
  await using before = await testPlane({ store });
  const user = await before.user();
  const ahead = 3;
  const created = new Date(Math.ceil(Date.now() / 1000 + ahead) * 1000);
  const request = await requestOf("POST /v1/rooms", {
    as: user,
    created,
    body: { id: "kitchen", encrypted: false, kexPub: user.kexPub },
  });
  const again = request.clone();
  const answer = before.plane.fetch(request);
  // It is remembered at once, whatever it waits for.
  isProblem(await answerOf(await before.plane.fetch(again.clone())), 401, "unauthenticated");
  await assert.rejects(store.getRoom("kitchen"), { code: "not_found" });
  assert.equal((await answer).status, 201);
  assert.ok(Date.now() >= created.getTime());
  await store.deleteRoom("kitchen");
  // The next process starts a second later at the earliest.
  const startedAt = created.getTime() + 1000;
  const clock = () => new Date(Math.max(Date.now(), startedAt));
  await using after = await testPlane({ store, clock });
  const replayed = await answerOf(await after.plane.fetch(again));
  isProblem(replayed, 401, "unauthenticated");
  assert.equal(replayed.json.reason, "created");
});

Deno.test("whoever loses access while a request waits for its time is refused", async () => {
  await using it = await testPlane();
  const [user, other] = [await it.user("admin"), await it.user("admin")];
  const created = new Date(Math.ceil(Date.now() / 1000 + 2) * 1000);
  const answer = it.ask("GET /v1/users", { as: user, created });
  await it.store.revokeUser(user.signPub);
  isProblem(await answer, 403, "forbidden");
  assert.equal((await it.ask("GET /v1/users", { as: other })).status, 200);
});

Deno.test("what was signed for another server, or changed on its way, is refused", async () => {
  await using it = await testPlane({ authorities: ["bus.example:8470"] });
  const user = await it.user();
  const changed = (
    part: Partial<{ url: string; method: string; body: string; query: string }>,
  ) => ({
    as: user,
    body: { id: "r", encrypted: false },
    tamper: (request: Request) =>
      new Request(part.url ?? request.url, {
        method: part.method ?? request.method,
        headers: request.headers,
        body: part.body ?? request.body,
      }),
  });
  assert.equal((await it.ask("GET /v1/me", { as: user })).status, 200);
  for (
    const part of [
      { url: "http://other.example:8470/v1/rooms" },
      { url: `${ORIGIN}/v1/rooms?all=true` },
      { url: `${ORIGIN}/v1/users` },
      { method: "PUT" },
      { body: JSON.stringify({ id: "r", encrypted: true }) },
    ]
  ) {
    const answer = await it.ask("POST /v1/rooms", changed(part));
    assert.ok([401, 405].includes(answer.status), answer.text);
  }
  const elsewhere = await requestOf("GET /v1/me", { as: user });
  const relayed = new Request("http://other.example/v1/me", elsewhere);
  isProblem(await answerOf(await it.plane.fetch(relayed)), 401, "unauthenticated");
  assert.equal((await it.store.listRooms()).items.length, 0);
});

Deno.test("a body that no signature covers is refused", async () => {
  await using it = await testPlane();
  const user = await it.user();
  const bare = await requestOf("POST /v1/rooms", { as: user });
  const request = new Request(bare.url, {
    method: "POST",
    headers: { ...Object.fromEntries(bare.headers), "content-type": "application/json" },
    body: JSON.stringify({ id: "r" }),
  });
  const answer = await answerOf(await it.plane.fetch(request));
  isProblem(answer, 401, "unauthenticated");
  assert.equal(answer.json.reason, "content-digest");
});

Deno.test("off does not look: whoever asks may, signed or not", async () => {
  await using it = await testPlane({ busAuth: "off" });
  const nobody = someone();
  assert.equal((await it.ask("GET /v1/users")).status, 200);
  assert.equal((await it.ask("GET /v1/users", { as: nobody })).status, 200);
  const room = { id: "r", subject: "any.subject", kexPub: nobody.kexPub, encrypted: false };
  isProblem(await it.ask("POST /v1/rooms", { body: room }), 401, "unauthenticated");
  const made = await it.ask("POST /v1/rooms", { as: nobody, body: room });
  assert.equal(made.json.subject, "any.subject");
  assert.deepEqual(it.events.filter((event) => event.event !== "request"), []);
});

Deno.test("soft lets pass what enforce refuses, and tells of each", async () => {
  await using it = await testPlane({ busAuth: "soft" });
  const [admin, user, stranger] = [await it.user("admin"), await it.user(), someone()];
  const told = () => it.events.splice(0).filter((event) => event.event === "would_refuse");
  assert.equal((await it.ask("GET /v1/users", { as: admin })).status, 200);
  assert.deepEqual(told(), []);
  assert.equal((await it.ask("GET /v1/users")).status, 200);
  assert.deepEqual(told().map(({ code }) => code), ["unauthenticated"]);
  for (const as of [user, stranger]) {
    assert.equal((await it.ask("GET /v1/users", { as })).status, 200);
    assert.deepEqual(told().map((event) => [event.code, event.endpoint]), [
      ["forbidden", as.signPub],
    ]);
  }
  const room = { id: "r", subject: "free.choice", encrypted: false };
  assert.equal((await it.ask("POST /v1/rooms", { as: user, body: room })).status, 201);
  assert.deepEqual(told().map(({ reason }) => /subject/.test(String(reason))), [true]);
});

Deno.test("a newcomer registers with an invite, once, and the token is told to nobody", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  const { json } = await it.ask("POST /v1/invites", { as: admin, body: { role: "user" } });
  assert.equal(json.invite.createdBy, admin.signPub);
  const [first, second] = [someone(), someone()];
  const claim = (who: typeof first) => ({
    as: who,
    body: { token: json.token, kexPub: who.kexPub, handle: "New" },
  });
  const made = await it.ask("POST /v1/register", claim(first));
  assert.equal(made.status, 201, made.text);
  assert.deepEqual(made.json, { ...await it.store.getUser(first.signPub) });
  isProblem(await it.ask("POST /v1/register", claim(second)), 410, "invite_used");
  assert.equal((await it.ask("GET /v1/me", { as: first })).json.user.handle, "New");
  const said = JSON.stringify(it.events) + JSON.stringify(await recordsOf(it.store));
  assert.ok(!said.includes(json.token));
});

Deno.test("a token is never in an error, wherever it is put", async () => {
  await using it = await testPlane();
  const user = await it.user("admin");
  const token = "ab".repeat(32);
  const wrong: [string, unknown][] = [
    ["POST /v1/register", { token: token + "x", kexPub: user.kexPub, handle: "New" }],
    ["POST /v1/register", { token, kexPub: "zz", handle: "New" }],
    ["POST /v1/register", `{"token":"${token}"`],
    ["POST /v1/register", { token, kexPub: someone().kexPub, handle: "New" }],
    ["POST /v1/rooms", {
      id: "r",
      sealedKeys: [{ endpoint: user.signPub, sealedKey: token + "=" }],
    }],
  ];
  for (const [line, body] of wrong) {
    const headers = { "content-type": "application/json" };
    const answer = await it.ask(line, { as: user, body, headers });
    assert.ok(answer.status >= 400 && answer.status < 500, answer.text);
    assert.ok(!answer.text.includes(token), answer.text);
  }
  assert.ok(!JSON.stringify(it.events).includes(token));
});

Deno.test("a room's subject is made from its id; none but an admin chooses, and no room's own", async () => {
  await using it = await testPlane();
  const [user, admin] = [await it.user(), await it.user("admin")];
  const make = (as: typeof user, id: string, subject?: string) =>
    it.ask("POST /v1/rooms", {
      as,
      body: { id, encrypted: false, ...(subject === undefined ? {} : { subject }) },
    });
  assert.equal((await make(user, "a.b")).json.subject, "room.a%2Eb");
  assert.equal((await make(user, "b", "room.b")).status, 201);
  isProblem(await make(user, "c", "free"), 403, "forbidden", "subject");
  isProblem(await make(user, "d", "room.b"), 403, "forbidden", "subject");
  assert.equal((await make(admin, "e", "free")).json.subject, "free");
  for (const subject of ["room.b", "room", "room.b.c", "_R_.x"]) {
    isProblem(await make(admin, "f", subject), 400, "invalid", "subject");
  }
});

Deno.test("no two ids have one subject, or one below another's", () => {
  const ids = ["a", "a.b", "a%2Eb", "a%2eb", "a%", "%", "a/b", "ü", "房间", "x".repeat(256), "."];
  const long = ["é".repeat(128), ".%".repeat(64) + "a", ".%".repeat(64) + "b"];
  const subjects = [...ids, ...long].map(subjectOf);
  assert.equal(new Set(subjects).size, subjects.length);
  for (const it of subjects) {
    assert.equal(it.split(".").length, 2, it);
    assert.ok(Buffer.byteLength(it) <= 256, it);
  }
});

Deno.test("cleartext rooms are refused where they are not wanted", async () => {
  await using it = await testPlane({ requireEncrypted: true });
  const user = await it.user();
  const make = (body: object) => it.ask("POST /v1/rooms", { as: user, body });
  isProblem(await make({ id: "r", encrypted: false }), 409, "refused", "encrypted");
  const made = await make({ id: "r", sealedKeys: sealedFor(user) });
  assert.equal(made.status, 201, made.text);
  const key = await it.ask("GET /v1/rooms/r/key", { as: user });
  assert.equal(
    Buffer.from(key.json.sealedKey, "base64url").toString(),
    `sealed for ${user.signPub}`,
  );
});

Deno.test("the owner's key is the registered one", async () => {
  await using it = await testPlane();
  const user = await it.user();
  const body = { id: "r", encrypted: false, kexPub: someone().kexPub };
  isProblem(await it.ask("POST /v1/rooms", { as: user, body }), 400, "invalid", "kexPub");
});

Deno.test("bad bodies and queries are named by field", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  const key = "11".repeat(32);
  const cases: [string, unknown, number, string | undefined][] = [
    ["POST /v1/users", { signPub: "no", kexPub: key, handle: "a" }, 400, "signPub"],
    ["POST /v1/users", { signPub: key, kexPub: key, handle: " a" }, 400, "handle"],
    ["POST /v1/users", { signPub: key, kexPub: key, handle: "a", rôle: "admin" }, 400, "rôle"],
    ["POST /v1/users", [], 400, "body"],
    ["POST /v1/users", "null", 400, "body"],
    ["POST /v1/users", "{", 400, undefined],
    ["POST /v1/users", new Uint8Array([0xff, 0xfe]), 400, undefined],
    ["POST /v1/rooms", { id: "r", members: [{ endpoint: key }] }, 400, "members[0].kexPub"],
    [
      "POST /v1/rooms",
      { id: "r", sealedKeys: [{ endpoint: key, sealedKey: "+" }] },
      400,
      "sealedKeys[0].sealedKey",
    ],
    ["POST /v1/rooms", { id: "a..b" }, 400, "id"],
    ["POST /v1/invites", { expiresIn: 1.5 }, 400, "expiresIn"],
    ["GET /v1/users?limit=0", undefined, 400, "limit"],
    ["GET /v1/users?limit=1e3", undefined, 400, "limit"],
    ["GET /v1/users?limti=1", undefined, 400, "limti"],
    ["GET /v1/users?limit=1&limit=2", undefined, 400, "limit"],
    ["GET /v1/users?after=zz", undefined, 400, "after"],
    ["GET /v1/users/zz", undefined, 400, "signPub"],
    [`DELETE /v1/users/${key}?force=yes`, undefined, 400, "force"],
    [`POST /v1/users/${key}/restore`, {}, 400, undefined],
    ["GET /v1/rooms/a..b", undefined, 400, "roomId"],
  ];
  for (const [line, body, status, field] of cases) {
    const headers = { "content-type": "application/json" };
    const answer = await it.ask(line, { as: admin, body, ...(body ? { headers } : {}) });
    isProblem(answer, status, "invalid", field);
  }
  const typed = await it.ask("POST /v1/users", {
    as: admin,
    body: "{}",
    headers: { "content-type": "text/plain" },
  });
  isProblem(typed, 415, "invalid", "content-type");
});

Deno.test("a body over the limit is refused, whether it says its length or not", async () => {
  await using it = await testPlane({ maxJsonBytes: 1000 });
  const admin = await it.user("admin");
  const body = { note: "x".repeat(2000) };
  const headers = { "content-type": "application/json" };
  isProblem(await it.ask("POST /v1/invites", { as: admin, body, headers }), 413, "too_large");
  const unsaid = (request: Request) => {
    const fields = new Headers(request.headers);
    fields.delete("content-length");
    return new Request(request.url, { method: "POST", headers: fields, body: request.body });
  };
  isProblem(
    await it.ask("POST /v1/invites", { as: admin, body, headers, tamper: unsaid }),
    413,
    "too_large",
  );
});

Deno.test("unknown paths and methods are told apart", async () => {
  await using it = await testPlane();
  isProblem(await it.ask("GET /v2/me"), 404, "not_found");
  const answer = await it.ask("PATCH /v1/rooms/r");
  isProblem(answer, 405, "invalid", "method");
  assert.equal(answer.headers.get("allow"), "GET, HEAD, DELETE");
  const head = await it.plane.fetch(new Request(`${ORIGIN}/v1/rooms/r/rekey`, { method: "HEAD" }));
  assert.deepEqual([head.status, head.headers.get("allow")], [405, "POST"]);
  await using below = await testPlane({ basePath: "/bus" });
  isProblem(await below.ask("POST /bus/v1/me"), 405, "invalid", "method");
  isProblem(await below.ask("POST /bus/v1/you"), 404, "not_found");
});

Deno.test("a store that fails is a 503 that says nothing, and a line in the log that does", async () => {
  const store = openSqlite(":memory:");
  await using it = await testPlane({ store });
  const user = await it.user();
  store.getUser = () => Promise.reject(new StoreError("unavailable", "disk full at block 7"));
  const answer = await it.ask("GET /v1/me", { as: user });
  isProblem(answer, 503, "unavailable");
  assert.equal(answer.headers.get("retry-after"), "1");
  assert.ok(!answer.text.includes("block 7"));
  store.getUser = () => Promise.reject(new Error("a fault of ours"));
  const fault = await it.ask("GET /v1/me", { as: user });
  assert.equal(fault.status, 500);
  assert.ok(!fault.text.includes("a fault"));
  const failed = it.events.filter(({ event }) => event === "failed");
  assert.deepEqual(failed.map(({ reason }) => /block 7|a fault of ours/.test(String(reason))), [
    true,
    true,
  ]);
});

Deno.test("a doubt about who is authorized lets nobody in, and is no revocation", async () => {
  const store = openSqlite(":memory:");
  await using it = await testPlane({ store });
  const user = await it.user();
  store.isAuthorized = () => Promise.resolve(false);
  isProblem(await it.ask("GET /v1/me", { as: user }), 503, "unavailable");
  isProblem(await it.ask("GET /v1/me", { as: someone() }), 403, "forbidden");
});

Deno.test("failed authentications and registrations are limited by address", async () => {
  await using it = await testPlane({ failuresPerMinute: 3, registrationsPerMinute: 2 });
  const user = await it.user();
  const statuses = async (line: string, count: number, address: string) => {
    const found: number[] = [];
    for (let i = 0; i < count; i++) found.push((await it.ask(line, { address })).status);
    return found;
  };
  assert.deepEqual(await statuses("GET /v1/me", 5, "192.0.2.1"), [401, 401, 401, 429, 429]);
  assert.equal((await it.ask("GET /v1/me", { as: user, address: "192.0.2.1" })).status, 200);
  assert.deepEqual(await statuses("GET /v1/me", 1, "192.0.2.2"), [401]);
  assert.deepEqual(await statuses("POST /v1/register", 3, "2001:db8::1"), [401, 401, 429]);
  const answer = await it.ask("POST /v1/register", { address: "2001:db8::2:1" });
  isProblem(answer, 429, "rate_limited");
  assert.ok(Number(answer.headers.get("retry-after")) >= 1);
  // What is beyond the limit is no line in the log.
  assert.equal(it.events.filter(({ event }) => event === "refused").length, 6);
});

Deno.test("an address counts as its /64, an IPv4 address as itself", () => {
  assert.equal(groupOf("192.0.2.1"), "192.0.2.1");
  assert.equal(groupOf("::ffff:192.0.2.1"), "192.0.2.1");
  assert.equal(groupOf("2001:db8:0:1::5"), groupOf("2001:0DB8::1:9:9:9:9"));
  assert.equal(groupOf("2001:db8::1"), "2001:db8:0:0");
  assert.equal(groupOf("fe80::1%eth0"), "fe80:0:0:0");
  assert.equal(groupOf(""), "");
});

Deno.test("the pages answer everybody; the metrics only this machine", async () => {
  await using it = await testPlane();
  const far = { address: "192.0.2.9" };
  assert.deepEqual((await it.ask("GET /healthz", far)).json, { ok: true });
  const ready = await it.ask("GET /readyz", far);
  assert.equal(ready.status, 200, ready.text);
  assert.ok(ready.json.checks.length > 0);
  assert.ok(!ready.text.includes("detail"), ready.text);
  assert.ok((await it.ask("GET /readyz")).json.checks.every((check: object) => "detail" in check));
  isProblem(await it.ask("GET /metrics", far), 403, "forbidden");
  const metrics = await it.ask("GET /metrics");
  assert.match(
    metrics.text,
    /unibus_http_requests_total\{method="GET",route="\/healthz",status="200"\} 1/,
  );
  const { json } = await it.ask("GET /openapi.json", far);
  assert.equal(json.openapi, "3.1.0");
  const operations = Object.values(json.paths as Record<string, object>)
    .flatMap((path) => Object.keys(path));
  assert.equal(operations.length, ROUTES.length);
  const docs = await it.ask("GET /docs", far);
  assert.match(docs.headers.get("content-security-policy") ?? "", /default-src 'none'/);
  for (const { path, id } of ROUTES) assert.ok(docs.text.includes(`id="${id}"`), path);
  assert.equal((await it.ask("HEAD /docs", far)).text, "");
});

Deno.test("readiness is no when a part is not ready, hangs or throws", async () => {
  const found = async (readiness: () => Promise<[]>) => {
    await using it = await testPlane({ readiness });
    return await it.ask("GET /readyz");
  };
  const no = await testPlane({
    readiness: () => Promise.resolve([{ name: "nats", ok: false, detail: "restarting" }]),
  });
  const answer = await no.ask("GET /readyz");
  assert.equal(answer.status, 503);
  assert.ok(answer.json.checks.some((it: { name: string }) => it.name === "nats"));
  await no[Symbol.asyncDispose]();
  assert.equal((await found(() => Promise.reject(new Error("secret")))).status, 503);
  assert.ok(!(await found(() => Promise.reject(new Error("secret")))).text.includes("secret"));
  assert.equal((await found(() => new Promise(() => {}))).status, 503);
});

Deno.test("a request keeps a harmless id of its own, and gets one otherwise", async () => {
  await using it = await testPlane();
  const idOf = async (given: string) => {
    const answer = await it.ask("GET /healthz", { headers: { "x-request-id": given } });
    return answer.headers.get("x-request-id");
  };
  assert.equal(await idOf("trace-1.2_3"), "trace-1.2_3");
  assert.match(await idOf("<script>") ?? "", /^[0-9a-f-]{36}$/);
  assert.match(await idOf("x".repeat(65)) ?? "", /^[0-9a-f-]{36}$/);
});

Deno.test("room ids of every kind go through the path", async () => {
  await using it = await testPlane();
  const user = await it.user();
  for (
    const id of ["a/b", "a%2Fb", "%", "ü/é", "房间", "a?b#c", "a.b", "a+b", "a&b=c", "\\", "a:b"]
  ) {
    const made = await it.ask("POST /v1/rooms", { as: user, body: { id, encrypted: false } });
    assert.equal(made.status, 201, made.text);
    const read = await it.ask(`GET /v1/rooms/${encodeURIComponent(id)}`, { as: user });
    assert.equal(read.json?.id, id, read.text);
    const members = await it.ask(`GET /v1/rooms/${encodeURIComponent(id)}/members`, { as: user });
    assert.equal(members.json.items[0].roomId, id);
  }
});

Deno.test("strangers who sign cannot fill the memory of requests that were seen", async () => {
  await using it = await testPlane({ failuresPerMinute: 1e6 });
  const [user, stranger] = [await it.user(), someone()];
  const request = await requestOf("GET /v1/me", { as: stranger });
  for (const again of [request, request.clone()]) {
    // Not "seen before": who may not is refused before anything is remembered.
    isProblem(await answerOf(await it.plane.fetch(again.clone())), 403, "forbidden");
  }
  const mine = await requestOf("GET /v1/me", { as: user });
  const copy = mine.clone();
  assert.equal((await it.plane.fetch(mine)).status, 200);
  isProblem(await answerOf(await it.plane.fetch(copy)), 401, "unauthenticated");
});

Deno.test("one user owns at most so many rooms", async () => {
  await using it = await testPlane({ maxRoomsPerOwner: 2 });
  const [user, other] = [await it.user(), await it.user()];
  const make = (as: typeof user, id: string) =>
    it.ask("POST /v1/rooms", { as, body: { id, encrypted: false } });
  assert.equal((await make(user, "a")).status, 201);
  assert.equal((await make(user, "b")).status, 201);
  isProblem(await make(user, "c"), 413, "quota_exceeded", "maxRoomsPerOwner");
  assert.equal((await make(other, "c")).status, 201);
  assert.equal((await it.ask("DELETE /v1/rooms/a", { as: user })).status, 204);
  assert.equal((await make(user, "d")).status, 201);
});

Deno.test("where nobody signs, no web page of elsewhere can ask", async () => {
  for (const busAuth of ["off", "soft"] as const) {
    await using it = await testPlane({ busAuth, authorities: ["bus.example:8470"] });
    const ask = (headers: Record<string, string>) => it.ask("POST /v1/invites", { headers });
    assert.equal((await ask({})).status, 201);
    assert.equal((await ask({ origin: ORIGIN })).status, 201);
    // A page of elsewhere; one without an origin; and one whose name was made to lead here.
    isProblem(await ask({ origin: "https://evil.example" }), 403, "forbidden", "origin");
    isProblem(await ask({ origin: "null" }), 403, "forbidden", "origin");
    const rebound = new Request("http://evil.example:8470/v1/users");
    isProblem(await answerOf(await it.plane.fetch(rebound)), 403, "forbidden", "host");
  }
});
