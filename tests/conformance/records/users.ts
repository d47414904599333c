/**
 * Users: the allowlist, its administrators, and the two answers that fail closed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fails, hexKey, newMember, newRoom, newUser, snapshot } from "../kit/kit.ts";
import type { It } from "../suite.ts";

/** Registers the tests of users. */
export function users(it: It): void {
  it("addUser() adds an active user, by default no admin", async ({ store, clock }) => {
    const input = newUser({ handle: "Zoë 🚀 O'Neill" });
    const expected = {
      ...input,
      role: "user",
      status: "active",
      createdAt: clock.iso(),
      revokedAt: null,
    };
    assert.deepEqual(await store.addUser(input), expected);
    assert.deepEqual(await store.getUser(input.signPub), expected);
    assert.equal(await store.isAuthorized(input.signPub), true);
    assert.equal(await store.hasAdmin(), false);
    await store.addUser(newUser({ role: "admin" }));
    assert.equal(await store.hasAdmin(), true);
  });

  it("addUser() of a key that is there is user_exists, in any case", async ({ store }) => {
    const first = newUser();
    await store.addUser(first);
    const before = await snapshot(store);
    await fails("user_exists", store.addUser(newUser({ signPub: first.signPub })));
    await fails("user_exists", store.addUser(newUser({ signPub: first.signPub.toUpperCase() })));
    await store.revokeUser(first.signPub);
    await fails("user_exists", store.addUser(newUser({ signPub: first.signPub, role: "admin" })));
    await store.restoreUser(first.signPub);
    assert.deepEqual(await snapshot(store), before);
  });

  it("handles need not be unique, and may be 64 characters of any plane", async ({ store }) => {
    for (const handle of ["twin", "twin", "🚀".repeat(64), "x".repeat(64), "null", "'; --"]) {
      const { signPub } = await store.addUser(newUser({ handle }));
      assert.equal((await store.getUser(signPub)).handle, handle);
    }
  });

  it("users nobody added are not_found", async ({ store }) => {
    await store.addUser(newUser());
    const nobody = hexKey();
    await fails("not_found", store.getUser(nobody));
    await fails("not_found", store.revokeUser(nobody));
    await fails("not_found", store.revokeUser(nobody, { force: true }));
    await fails("not_found", store.restoreUser(nobody));
    await fails("not_found", store.setUserRole(nobody, "admin"));
    await fails("not_found", store.setUserRole(nobody, "user", { force: true }));
    await fails("not_found", store.deleteUser(nobody));
    await fails("not_found", store.deleteUser(nobody, { force: true }));
    assert.equal(await store.isAuthorized(nobody), false);
  });

  it("revokeUser() takes access, restoreUser() gives it again", async ({ store, clock }) => {
    const input = newUser();
    const added = await store.addUser(input);
    clock.now += 100;
    const revoked = { ...added, status: "revoked", revokedAt: clock.iso() };
    assert.deepEqual(await store.revokeUser(input.signPub), revoked);
    assert.equal(await store.isAuthorized(input.signPub), false);
    clock.now += 100;
    assert.deepEqual(await store.revokeUser(input.signPub), revoked, "again changes nothing");
    assert.deepEqual(await store.getUser(input.signPub), revoked);
    assert.deepEqual(await store.restoreUser(input.signPub), added);
    assert.deepEqual(await store.restoreUser(input.signPub), added, "again changes nothing");
    assert.equal(await store.isAuthorized(input.signPub), true);
  });

  it("the last active admin is neither revoked nor deleted without force", async ({ store }) => {
    const admin = newUser({ role: "admin" });
    const former = newUser({ role: "admin" });
    await store.addUser(admin);
    await store.addUser(former);
    await store.addUser(newUser());
    await store.revokeUser(former.signPub);
    const before = await snapshot(store);
    await fails("last_admin", store.revokeUser(admin.signPub));
    await fails("last_admin", store.revokeUser(admin.signPub, { force: false }));
    await fails("last_admin", store.deleteUser(admin.signPub));
    assert.deepEqual(await snapshot(store), before);
    assert.equal((await store.revokeUser(former.signPub)).status, "revoked");
    assert.equal(await store.hasAdmin(), true);
    await store.revokeUser(admin.signPub, { force: true });
    assert.equal(await store.hasAdmin(), false);
    assert.equal(await store.isAuthorized(admin.signPub), false);
    await store.restoreUser(former.signPub);
    assert.equal(await store.hasAdmin(), true);
    await fails("last_admin", store.deleteUser(former.signPub));
    await store.deleteUser(former.signPub, { force: true });
    assert.equal(await store.hasAdmin(), false);
    await store.deleteUser(admin.signPub);
    await fails("not_found", store.getUser(admin.signPub));
  });

  it("one of two admins can go, and users go without an admin", async ({ store }) => {
    const [a, b, user, other] = [
      newUser({ role: "admin" }),
      newUser({ role: "admin" }),
      newUser(),
      newUser(),
    ];
    await store.addUser(user);
    await store.revokeUser(user.signPub);
    await store.addUser(other);
    await store.deleteUser(other.signPub);
    await store.addUser(a);
    await store.addUser(b);
    await store.deleteUser(a.signPub);
    await fails("last_admin", store.deleteUser(b.signPub));
    await store.addUser(a);
    await store.revokeUser(b.signPub);
    await fails("last_admin", store.revokeUser(a.signPub));
  });

  it("setUserRole() makes an admin of a user and a user of an admin", async ({ store }) => {
    const input = newUser();
    const added = await store.addUser(input);
    assert.deepEqual(await store.setUserRole(input.signPub, "user"), added, "changes nothing");
    const admin = { ...added, role: "admin" };
    assert.deepEqual(await store.setUserRole(input.signPub.toUpperCase(), "admin"), admin);
    assert.deepEqual(await store.setUserRole(input.signPub, "admin"), admin, "again the same");
    assert.deepEqual(await store.getUser(input.signPub), admin);
    assert.equal(await store.hasAdmin(), true);
    assert.equal(await store.isAuthorized(input.signPub), true);
    await store.addUser(newUser({ role: "admin" }));
    assert.deepEqual(await store.setUserRole(input.signPub, "user"), added);
    assert.deepEqual(await store.getUser(input.signPub), added);
  });

  it("the last active admin is not demoted without force", async ({ store, clock }) => {
    const [admin, former] = [newUser({ role: "admin" }), newUser({ role: "admin" })];
    await store.addUser(admin);
    await store.addUser(former);
    const { revokedAt } = await store.revokeUser(former.signPub);
    clock.now += 100;
    const before = await snapshot(store);
    await fails("last_admin", store.setUserRole(admin.signPub, "user"));
    await fails("last_admin", store.setUserRole(admin.signPub, "user", { force: false }));
    assert.deepEqual(await snapshot(store), before);
    // One who is revoked administers nothing: its role changes freely, and nothing else of it.
    const { role, status, ...rest } = await store.setUserRole(former.signPub, "user");
    assert.deepEqual([role, status, rest.revokedAt], ["user", "revoked", revokedAt]);
    await store.setUserRole(former.signPub, "admin");
    assert.equal(await store.isAuthorized(former.signPub), false, "an admin, and revoked still");
    await fails("last_admin", store.setUserRole(admin.signPub, "user"));
    await store.restoreUser(former.signPub);
    await store.setUserRole(admin.signPub, "user");
    assert.equal(await store.hasAdmin(), true);
    await fails("last_admin", store.setUserRole(former.signPub, "user"));
    await store.setUserRole(former.signPub, "user", { force: true });
    assert.equal(await store.hasAdmin(), false);
    assert.equal(await store.isAuthorized(former.signPub), true);
  });

  it("deleteUser() leaves the ex-user's memberships, inert", async ({ store }) => {
    const me = newMember();
    await store.addUser(newUser({ signPub: me.endpoint, kexPub: me.kexPub }));
    await store.createRoom(newRoom("mine", { owner: me }));
    await store.createRoom(newRoom("theirs", { members: [me] }));
    assert.equal(await store.deleteUser(me.endpoint), undefined);
    await fails("not_found", store.getUser(me.endpoint));
    assert.equal(await store.isAuthorized(me.endpoint), false);
    assert.equal((await store.getMember("theirs", me.endpoint)).role, "member");
    assert.equal((await store.listRoomsForEndpoint(me.endpoint)).items.length, 2);
    assert.equal((await store.getSealedKey("mine", me.endpoint)).epoch, 1);
    await store.addUser(newUser({ signPub: me.endpoint }));
    assert.equal(await store.isAuthorized(me.endpoint), true);
  });

  it("keys are accepted in any case and stored in lower case", async ({ store }) => {
    const input = newUser();
    const upper = input.signPub.toUpperCase();
    const mixed = input.signPub.slice(0, 32) + upper.slice(32);
    const added = await store.addUser({
      ...input,
      signPub: upper,
      kexPub: input.kexPub.toUpperCase(),
    });
    assert.deepEqual([added.signPub, added.kexPub], [input.signPub, input.kexPub]);
    for (const key of [input.signPub, upper, mixed]) {
      assert.deepEqual(await store.getUser(key), added);
      assert.equal(await store.isAuthorized(key), true);
    }
    const room = newRoom("r", { owner: { endpoint: upper, kexPub: input.kexPub.toUpperCase() } });
    assert.equal((await store.createRoom(room)).owner, input.signPub);
    for (const key of [input.signPub, upper, mixed]) {
      const member = await store.getMember("r", key);
      assert.deepEqual([member.endpoint, member.kexPub], [input.signPub, input.kexPub]);
      assert.equal((await store.getSealedKey("r", key)).endpoint, input.signPub);
      assert.equal((await store.listRoomsForEndpoint(key)).items.length, 1);
    }
    assert.equal((await store.revokeUser(mixed)).signPub, input.signPub);
    assert.equal((await store.restoreUser(mixed)).status, "active");
    await store.deleteUser(upper);
    await fails("not_found", store.getUser(input.signPub));
  });

  it("isAuthorized() and hasAdmin() answer no to nonsense, never reject", async ({ store }) => {
    await store.addUser(newUser());
    const nonsense: unknown[] = [
      "",
      "x",
      "0".repeat(63),
      "0".repeat(65),
      "0".repeat(64),
      "g".repeat(64),
      `${hexKey()}\n`,
      "*",
      ">",
      "\ud800",
      "a".repeat(100_000),
      null,
      undefined,
      5,
      {},
      [],
      new Uint8Array(32),
      Symbol("key"),
    ];
    for (const key of nonsense) assert.equal(await store.isAuthorized(key as string), false);
    assert.equal(await store.hasAdmin(), false);
    await store.close();
    assert.equal(await store.isAuthorized(hexKey()), false);
    assert.equal(await store.hasAdmin(), false);
  });
}
