/** What admins do with users and invites: search, promote, demote; on both backends. */

import assert from "node:assert/strict";
import { openSqlite, type Store, type User } from "@unibus/membership";
import { createClient, createIdentity } from "@unibus/membership/client";
import { isProblem, type Someone, someone, type TestPlane, testPlane } from "../kit.ts";
import { until } from "../../cli/serve/kit.ts";
import { backends } from "../../helpers/backends.ts";

const BACKENDS = backends(true);

const key = (n: number) => `${n.toString(16).padStart(8, "0")}${"5c".repeat(28)}`;

/** So many users, the first of them of some note, without the cost of adding each. */
async function fill(store: Store, n: number): Promise<void> {
  const at = "2026-01-01T00:00:00.000Z";
  const users = Array.from({ length: n }, (_, i) => {
    const revoked = i % 10 === 3;
    const record: User = {
      signPub: key(i),
      kexPub: "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
      handle: i === 7 ? "Zoë Ångström" : `user ${i}`,
      role: i % 100 === 1 ? "admin" : "user",
      status: revoked ? "revoked" : "active",
      createdAt: at,
      revokedAt: revoked ? at : null,
    };
    return { kind: "users" as const, record };
  });
  await store.restore(users);
}

/** The handles that a search finds, over all its pages. */
async function find(it: TestPlane, admin: Someone, query: string): Promise<string[]> {
  const found: string[] = [];
  let after = "";
  for (let pages = 0;; pages++) {
    assert.ok(pages < 100, "the pages come to an end");
    const { status, json, text } = await it.ask(`GET /v1/users?${query}${after}`, { as: admin });
    assert.equal(status, 200, text);
    found.push(...json.items.map(({ handle }: User) => handle));
    if (json.next === null) return found;
    after = `&after=${json.next}`;
  }
}

for (const [name, withStores] of Object.entries(BACKENDS)) {
  Deno.test(`${name}: a search finds by part of the handle in any case, by the key's beginning, by role and status`, () =>
    withStores(async (store) => {
      await fill(store, 1_200);
      await using it = await testPlane({ store });
      const admin = await it.user("admin");
      const search = (query: string) => find(it, admin, query);
      assert.deepEqual(await search("search=USER+119"), [
        "user 119",
        ...Array.from({ length: 10 }, (_, i) => `user ${1190 + i}`),
      ]);
      assert.deepEqual(await search("search=%C3%85NGSTR"), ["Zoë Ångström"]);
      assert.deepEqual(await search(`search=zo%65%CC%88`), ["Zoë Ångström"], "decomposed");
      assert.deepEqual(await search(`search=${key(300).slice(0, 8)}`), ["user 300"]);
      assert.deepEqual(await search(`search=${key(300).toUpperCase()}`), ["user 300"]);
      assert.deepEqual(await search(`search=${key(300).slice(4, 12)}`), [], "not its middle");
      assert.equal((await search("role=admin")).length, 13);
      assert.equal((await search("status=revoked&limit=7")).length, 120);
      assert.deepEqual(await search("role=admin&status=active&search=user+40"), ["user 401"]);
      assert.deepEqual(await search("search=nobody+at+all"), []);
      for (const odd of ["%25", "_", ".*", "%5C", "%F0%9F%92%A9", "__proto__"]) {
        assert.deepEqual(await search(`search=${odd}`), []);
      }
      for (
        const query of [
          "search=",
          `search=${"x".repeat(65)}`,
          "role=root",
          "status=",
          "search=a&search=b",
          "sort=kex_pub",
          "search=a&after=zz",
          "search=a&limit=0",
        ]
      ) isProblem(await it.ask(`GET /v1/users?${query}`, { as: admin }), 400, "invalid");
    }));

  Deno.test(`${name}: a search knows of what was changed through this server at once, and elsewhere soon`, () =>
    withStores(async (store, other) => {
      await fill(store, 50);
      await using it = await testPlane({ store });
      const admin = await it.user("admin");
      const search = (text: string) => find(it, admin, `search=${text}`);
      assert.deepEqual(await search("fresh"), []);
      const body = { signPub: someone().signPub, kexPub: someone().kexPub, handle: "fresh" };
      assert.equal((await it.ask("POST /v1/users", { as: admin, body })).status, 201);
      assert.deepEqual(await search("fresh"), ["fresh"]);
      const path = `/v1/users/${body.signPub}`;
      await it.ask(`POST ${path}/role`, { as: admin, body: { role: "admin" } });
      assert.deepEqual(await find(it, admin, "search=fresh&role=admin"), ["fresh"]);
      await it.ask(`POST ${path}/revoke`, { as: admin, body: {} });
      assert.deepEqual(await find(it, admin, "search=fresh&status=revoked"), ["fresh"]);
      await it.ask(`DELETE ${path}`, { as: admin });
      assert.deepEqual(await search("fresh"), []);
      await other.addUser({ ...body, handle: "from elsewhere" });
      await until(async () => (await search("elsewhere")).length === 1, "the user from elsewhere");
      await other.deleteUser(body.signPub);
      await until(async () => (await search("elsewhere")).length === 0, "its end");
    }));

  Deno.test(`${name}: an admin is made and unmade over HTTP, and acts on it from the next request on`, () =>
    withStores(async (store) => {
      await using it = await testPlane({ store });
      const [admin, user] = [await it.user("admin"), await it.user()];
      const role = (who: Someone, as: Someone, body: unknown) =>
        it.ask(`POST /v1/users/${who.signPub}/role`, { as, body });
      isProblem(await role(user, user, { role: "admin" }), 403, "forbidden");
      isProblem(await role(admin, admin, { role: "user" }), 409, "last_admin");
      isProblem(await role(someone(), admin, { role: "admin" }), 404, "not_found");
      for (const body of [{}, { role: "root" }, { role: "admin", x: 1 }, { role: null }, []]) {
        isProblem(await role(user, admin, body), 400, "invalid");
      }
      assert.equal((await role(user, admin, { role: "admin" })).json.role, "admin");
      assert.equal((await it.ask("GET /v1/users", { as: user })).status, 200);
      assert.equal((await role(admin, user, { role: "user" })).json.role, "user");
      isProblem(await it.ask("GET /v1/users", { as: admin }), 403, "forbidden");
      isProblem(await role(user, user, { role: "user" }), 409, "last_admin");
      const forced = await role(user, user, { role: "user", force: true });
      assert.deepEqual([forced.status, forced.json.role], [200, "user"]);
      assert.equal(await store.hasAdmin(), false);
    }));

  Deno.test(`${name}: invites are listed by their state`, () =>
    withStores(async (store) => {
      await using it = await testPlane({ store });
      const admin = await it.user("admin");
      const make = async (more = {}) => await store.createInvite({ createdBy: "cli", ...more });
      const open = await make();
      const used = await make();
      const { signPub, kexPub } = someone();
      await store.consumeInvite(used.token, { signPub, kexPub, handle: "new" });
      const canceled = await make();
      await store.cancelInvite(canceled.invite.id);
      const expired = await make({ expiresIn: 1 });
      const ids = async (query: string) => {
        const { json } = await it.ask(`GET /v1/invites?${query}`, { as: admin });
        return json.items.map(({ id }: { id: string }) => id);
      };
      await until(async () => (await ids("state=expired")).length === 1, "its expiry");
      for (const [state, { invite }] of Object.entries({ open, used, canceled, expired })) {
        assert.deepEqual(await ids(`state=${state}&limit=1`), [invite.id]);
      }
      assert.equal((await ids("")).length, 4);
      isProblem(await it.ask("GET /v1/invites?state=lost", { as: admin }), 400, "invalid");
    }));
}

Deno.test("the client searches, promotes and lists by state as an admin, and is told no as a user", async () => {
  await using store = openSqlite(":memory:");
  await using it = await testPlane({ store });
  const identity = createIdentity();
  const { signPub, kexPub } = identity;
  await store.addUser({ signPub, kexPub, handle: "Olga", role: "admin" });
  const user = await it.user();
  using client = createClient({ url: "http://127.0.0.1:1", identity, fetch: it.plane.fetch });
  assert.deepEqual((await client.listUsers({ search: "ol" })).items.map((it) => it.handle), [
    "Olga",
  ]);
  assert.equal((await client.setUserRole(user.signPub, "admin")).role, "admin");
  assert.equal((await client.listUsers({ role: "admin", status: "active" })).items.length, 2);
  const { invite } = await client.createInvite();
  assert.deepEqual((await client.listInvites({ state: "open" })).items, [invite]);
  assert.equal((await client.setUserRole(signPub, "user", { force: false })).role, "user");
  for (
    const call of [
      () => client.listUsers({ search: "a" }),
      () => client.listInvites({ state: "open" }),
      () => client.setUserRole(signPub, "admin"),
      () => client.status(),
      () => client.usage(),
      () => client.history(),
      () => client.changes(),
      () => client.roomRoster("r"),
    ]
  ) await assert.rejects(call, { code: "forbidden" });
});
