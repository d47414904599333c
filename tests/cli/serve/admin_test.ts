/**
 * `no_admin` is said only where it is known.
 *
 * @module
 */

import assert from "node:assert/strict";
import { knowsAdmin } from "../../../cli/serve/admin.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { inDir, person } from "../../helpers/sqlite.ts";

Deno.test("an admin is looked for among all users where hasAdmin() says no, and not known is not no", () =>
  inDir(async (dir) => {
    await using store = openSqlite(`${dir}/a.db`);
    // As on a node whose cache is not fresh yet.
    const unsure = { ...store, hasAdmin: () => Promise.resolve(false) };
    assert.equal(await knowsAdmin(unsure), false);
    for (let n = 1; n <= 5; n++) await store.addUser({ ...person(n), role: "user" });
    const paged = { ...unsure, users: () => store.users({ limit: 2 }) };
    assert.equal(await knowsAdmin(paged), false);
    const users = (await store.listUsers()).items;
    const last = users.at(-1)!.signPub;
    await store.setUserRole(last, "admin");
    assert.equal(await knowsAdmin(paged), true);
    assert.equal(await knowsAdmin(store), true);
    await store.revokeUser(last, { force: true });
    assert.equal(await knowsAdmin(paged), false);
    const failing = () => {
      throw new Error("away");
    };
    const away = { ...unsure, users: failing };
    assert.equal(await knowsAdmin(away), null);
  }));
