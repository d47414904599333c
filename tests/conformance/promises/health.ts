/**
 * Whether the store says of itself that it can work, and never anything else than an answer.
 *
 * @module
 */

import assert from "node:assert/strict";
import { eventually, newUser } from "../kit/kit.ts";
import type { It } from "../suite.ts";

/** Registers the tests of health. */
export function health(it: It): void {
  it("health() becomes ok by being asked, and says what was looked at", async ({ store }) => {
    await eventually("healthy", async () => (await store.health()).ok);
    await store.addUser(newUser({ role: "admin" }));
    await eventually("healthy with records", async () => (await store.health()).ok);
    const { ok, checks } = await store.health();
    assert.ok(ok && checks.length > 0);
    assert.equal(new Set(checks.map((check) => check.name)).size, checks.length);
    for (const check of checks) {
      assert.match(check.name, /^[a-z]+$/);
      assert.equal(check.ok, true);
      assert.match(check.detail, /\S/);
    }
  });

  it("health() is ok on an empty store that was only just opened", async ({ reopen }) => {
    const again = await reopen();
    await eventually("healthy", async () => (await again.health()).ok);
  }, "reopen");

  it("health() answers while others write", async ({ store, open }) => {
    const other = await open();
    const writing = Promise.all(Array.from({ length: 40 }, () => other.addUser(newUser())));
    await eventually("healthy", async () => (await store.health()).ok);
    await writing;
    await eventually("healthy after", async () => (await store.health()).ok);
  }, "multipleHandles");

  it("health() of a closed store is not ok, and does not reject", async ({ store }) => {
    await store.close();
    const { ok, checks } = await store.health();
    assert.equal(ok, false);
    assert.ok(checks.some((check) => !check.ok && /closed/.test(check.detail)));
  });
}
