/** Revisions: the answer of each write, what a request may demand of a store, and who a change is told of. */

import assert from "node:assert/strict";
import { openSqlite, type Store, StoreError } from "@unibus/membership";
import { isProblem, someone, testPlane } from "../kit.ts";

const HEADER = "unibus-revision";

/** A store of which a test says what it has. */
function withReach(reach: Store["reach"]): Store {
  return Object.create(openSqlite(":memory:"), { reach: { value: reach } });
}

Deno.test("each response to a change has its revision, and no other response has one", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  const user = await it.user();
  const revisionOf = async (line: string, body?: unknown) => {
    const answer = await it.ask(line, { as: admin, ...body === undefined ? {} : { body } });
    return answer.headers.get(HEADER);
  };
  const newest = async () =>
    (await it.store.history({ newest: true, limit: 1 })).items[0]!.revision;
  assert.equal(await revisionOf("POST /v1/invites", {}), await newest());
  assert.equal(await revisionOf(`POST /v1/users/${user.signPub}/revoke`, {}), await newest());
  assert.equal(await revisionOf(`POST /v1/users/${user.signPub}/revoke`, {}), null, "no change");
  assert.equal(await revisionOf(`POST /v1/users/${admin.signPub}/revoke`, {}), null, "refused");
  assert.equal(await revisionOf("GET /v1/users"), null);
  const member = { endpoint: user.signPub, kexPub: user.kexPub };
  await revisionOf("POST /v1/rooms", { id: "r", encrypted: false, members: [member] });
  // Several changes: that of the last one.
  assert.equal(await revisionOf(`DELETE /v1/users/${user.signPub}`), await newest());
});

Deno.test("a request waits until the store has the revision it names", async () => {
  const asked: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const store = withReach(async (revision) => {
    asked.push(revision);
    begun.resolve();
    await promise;
  });
  await using it = await testPlane({ store });
  const user = await it.user();
  const asking = it.ask("GET /v1/me", { as: user, headers: { [HEADER]: "3.14" } });
  await begun.promise;
  // What it may do is looked up when the store has it.
  await store.revokeUser(user.signPub);
  resolve();
  isProblem(await asking, 403, "forbidden");
  assert.deepEqual(asked, ["3.14"]);
});

Deno.test("a revision that the store does not have is not waited for long, and another node may have it", async () => {
  await using it = await testPlane({
    store: withReach((revision) =>
      Promise.reject(new StoreError("unavailable", `Nothing is known of ${revision}`))
    ),
  });
  let aborted = false;
  const hanging = withReach((_, options) => {
    options?.signal?.addEventListener("abort", () => aborted = true);
    return new Promise<void>(() => {});
  });
  await using slow = await testPlane({ store: hanging });
  for (const plane of [it, slow]) {
    const admin = await plane.user("admin");
    for (const line of ["GET /v1/me", "POST /v1/invites"]) {
      const body = line.startsWith("POST") ? { body: {} } : {};
      const answer = await plane.ask(line, { as: admin, ...body, headers: { [HEADER]: "0.99" } });
      isProblem(answer, 503, "unavailable", HEADER);
      assert.equal(answer.json.reason, "not_ready");
      assert.equal(answer.headers.get("retry-after"), "1");
      assert.match(answer.json.detail, /0\.99/);
    }
    // Nothing was done.
    assert.deepEqual((await plane.store.listInvites()).items, []);
  }
  assert.equal(aborted, true);
});

Deno.test("one key cannot fill the server with requests for revisions that do not exist", async () => {
  await using it = await testPlane({ store: withReach(() => new Promise<void>(() => {})) });
  const [mallory, bob] = [await it.user(), await it.user()];
  const ask = async (as: typeof bob) =>
    (await it.ask("GET /v1/me", { as, headers: { [HEADER]: "0.99" } })).json;
  const answers = await Promise.all([...Array(20).fill(mallory), bob].map(ask));
  const isTooMany = answers.map((it) => /^Too many requests of this key/.test(it.detail));
  assert.equal(isTooMany.filter(Boolean).length, 4);
  assert.equal(isTooMany.at(-1), false);
  assert.ok(answers.every((it) => it.reason === "not_ready"));
  assert.match((await ask(mallory)).detail, /0\.99/);
});

Deno.test("a file has every revision that it has answered, and no later one", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  const { headers } = await it.ask("POST /v1/invites", { as: admin, body: {} });
  const revision = headers.get(HEADER)!;
  const ask = (given: string) => it.ask("GET /v1/me", { as: admin, headers: { [HEADER]: given } });
  assert.equal((await ask(revision)).status, 200);
  isProblem(await ask("0.999999"), 503, "unavailable", HEADER);
  assert.equal((await ask(revision)).status, 200, "it did no harm");
  for (const bad of ["1", "x", "1.", "-1.2", "1.2.3", "1.9999999999999999"]) {
    isProblem(await ask(bad), 400, "invalid", HEADER);
  }
});

Deno.test("only users make the server wait: not strangers, not who was revoked, not newcomers", async () => {
  let waits = 0;
  const store = withReach(() => {
    waits++;
    return new Promise<void>(() => {});
  });
  await using it = await testPlane({ store });
  const revoked = await it.user();
  await store.revokeUser(revoked.signPub);
  const headers = { [HEADER]: "0.99" };
  isProblem(await it.ask("GET /v1/me", { as: someone(), headers }), 403, "forbidden");
  isProblem(await it.ask("GET /v1/me", { as: revoked, headers }), 403, "forbidden");
  isProblem(await it.ask("GET /v1/me", { headers }), 401, "unauthenticated");
  const token = "ab".repeat(32);
  const body = { token, kexPub: revoked.kexPub, handle: "x" };
  isProblem(
    await it.ask("POST /v1/register", { as: someone(), body, headers }),
    404,
    "not_found",
  );
  isProblem(
    await it.ask("POST /v1/register/check", { body: { token }, headers }),
    404,
    "not_found",
  );
  assert.equal(waits, 0);
});

Deno.test("a change is told of who signed it; of nobody where the signature is missing or wrong", async () => {
  const ada = someone();
  const wrong = { ...someone(), signPub: ada.signPub };
  for (
    const [busAuth, as, by] of [
      ["enforce", ada, ada.signPub],
      ["soft", ada, ada.signPub],
      ["soft", wrong, "http"],
      ["soft", null, "http"],
      // Nothing is checked: what the request says is all there is.
      ["off", ada, ada.signPub],
      ["off", null, "http"],
    ] as const
  ) {
    await using it = await testPlane({ busAuth });
    await it.store.addUser({
      signPub: ada.signPub,
      kexPub: ada.kexPub,
      handle: "Ada",
      role: "admin",
    });
    const answer = await it.ask("POST /v1/invites", { as, body: {} });
    assert.equal(answer.status, 201, answer.text);
    const { items } = await it.store.history({ action: "invite.created" });
    assert.deepEqual(items.map((it) => it.by), [by], `${busAuth} ${as === null}`);
  }
});

Deno.test("the description has the header of requests, and of responses to changes", async () => {
  await using it = await testPlane();
  const { paths, components } = (await it.ask("GET /openapi.json")).json;
  assert.equal(components.parameters.Revision.name, HEADER);
  const $ref = "#/components/parameters/Revision";
  for (const path of Object.values<Record<string, { parameters: object[] }>>(paths)) {
    for (const { parameters } of Object.values(path)) {
      assert.deepEqual(parameters.at(-1), { $ref });
    }
  }
  const header = { [HEADER]: { $ref: "#/components/headers/Revision" } };
  assert.deepEqual(paths["/v1/rooms"].post.responses[201].headers, header);
  assert.equal(paths["/v1/rooms"].get.responses[200].headers, undefined);
});
