/// <reference lib="dom" />
/**
 * Staying signed in with a key file over a reload: in this tab only, where its person wants it.
 */

import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { until } from "../../cli/serve/kit.ts";
import { assertAccessible, browserTest, shoot, visit } from "../browser.ts";
import { clientOf, giveFile, go, person } from "../console.ts";
import { site } from "../site.ts";
import { assertInside, holdWrites, leftBy } from "../traces.ts";

/** What this browser keeps for tabs, and whether the bytes of a private key can be read from it. */
function rows(page: Page): Promise<{ kept: number; readable: number }> {
  return page.evaluate(async () => {
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open("unibus-tabs", 1);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    // deno-lint-ignore no-explicit-any
    const all = await new Promise<any[]>((resolve, reject) => {
      const request = database.transaction("tabs").objectStore("tabs").getAll();
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    database.close();
    let readable = 0;
    for (const { signKey, kexKey } of all) {
      for (const key of [signKey, kexKey]) {
        await crypto.subtle.exportKey("pkcs8", key).then(() => readable++, () => {});
      }
    }
    return { kept: all.length, readable };
  });
}

/** Ends the time for which this browser keeps what it keeps for tabs. */
function expire(page: Page): Promise<void> {
  return page.evaluate(async () => {
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open("unibus-tabs", 1);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    await new Promise((resolve, reject) => {
      const transaction = database.transaction("tabs", "readwrite");
      const store = transaction.objectStore("tabs");
      const request = store.getAll();
      request.onsuccess = () => {
        for (const row of request.result) store.put({ ...row, until: Date.now() - 1 });
      };
      transaction.oncomplete = resolve;
      transaction.onerror = () => reject(transaction.error);
    });
    database.close();
  });
}

/** Keeps the key of this tab for the browser too, as the invite page does. */
function keepToo(page: Page): Promise<void> {
  return page.evaluate(async () => {
    const done = <T>(request: IDBRequest<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const [from, to] = [
      await done(indexedDB.open("unibus-tabs", 1)),
      await done(indexedDB.open("unibus", 1)),
    ];
    const [row] = await done(from.transaction("tabs").objectStore("tabs").getAll());
    const kept = { ...row, registered: true, at: new Date().toISOString() };
    await done(to.transaction("identities", "readwrite").objectStore("identities").put(kept));
    from.close();
    to.close();
  });
}

browserTest(
  "a key file keeps its person signed in over a reload, in this tab only, until they sign out",
  async () => {
    await using at = await site();
    const ada = await person(at.store, "ada", "admin");
    const boss = clientOf(at.url, await person(at.store, "boss", "admin"));
    await using it = await visit();
    const { page, context } = it;
    const heading = (on: Page) => on.getByRole("heading", { name: "Sign in to the console" });
    const form = (on: Page) => on.getByLabel("Key file", { exact: true });
    const stay = page.getByLabel(/Stay signed in/);
    const again = page.getByRole("button", { name: "Sign in as ada" });
    const inside = page.getByRole("button", { name: "Sign out" });

    // Without the wish nothing is kept.
    await page.goto(`${at.url}/console`);
    await giveFile(page, ada.file);
    await inside.waitFor();
    assert.deepEqual(await rows(page), { kept: 0, readable: 0 });
    await page.reload();
    await form(page).waitFor();

    // Another tab removes a row whose tab holds no lock.
    const locked = await page.evaluateHandle(() => {
      const { put } = IDBObjectStore.prototype;
      const seen = { held: null as Promise<number> | null };
      IDBObjectStore.prototype.put = function (...row) {
        seen.held = navigator.locks.query().then(({ held }) => held!.length);
        return put.apply(this, row);
      };
      return seen;
    });
    await stay.check();
    await assertAccessible(page);
    await shoot(page, "signin-stay");
    await giveFile(page, ada.file);
    await inside.waitFor();
    assert.equal(await locked.evaluate(({ held }) => held), 1);
    await go(page, "#/users", "Users");
    await until(async () => (await rows(page)).kept === 1, "row of the tab");
    await page.reload();
    await page.getByRole("heading", { level: 1, name: "Users" }).waitFor();
    await page.getByText("2 users", { exact: true }).waitFor();
    assert.deepEqual(await rows(page), { kept: 1, readable: 0 });
    assertInside(await leftBy(it), ada.identity, [ada.identity.signPub, "private key"]);

    // A server that does not respond takes nothing away.
    await page.route("**/v1/me", (route) => route.abort());
    await page.reload();
    await again.waitFor();
    await page.unroute("**/v1/me");
    await again.click();
    await inside.waitFor();

    // A key that the invite page kept too is one key, and it is forgotten as one.
    await keepToo(page);
    await page.route("**/v1/me", (route) => route.abort());
    await page.reload();
    await again.waitFor();
    assert.equal(await again.count(), 1);
    await page.unroute("**/v1/me");
    await page.getByRole("button", { name: "Forget ada" }).click();
    const release = await holdWrites(page, "unibus-tabs");
    await page.getByRole("button", { name: "Forget it" }).click();
    // The question stays until it is done.
    assert.ok(await page.getByText("Forget the key of").isVisible());
    await release();
    await page.getByRole("heading", { name: "With a key in this browser" })
      .waitFor({ state: "detached" });
    await page.reload();
    await form(page).waitFor();
    assert.equal(await again.count(), 0);
    await stay.check();
    await giveFile(page, ada.file);
    await inside.waitFor();
    await go(page, "#/users", "Users");
    await until(async () => (await rows(page)).kept === 1, "row of the tab");

    // Another tab is not signed in, and takes nothing away from this one.
    const other = await context.newPage();
    await other.goto(`${at.url}/console`);
    await form(other).waitFor();
    assert.deepEqual(await rows(other), { kept: 1, readable: 0 });
    await page.reload();
    await page.getByText("2 users", { exact: true }).waitFor();

    await inside.click();
    await heading(page).waitFor();
    await until(async () => (await rows(page)).kept === 0, "row of the tab removed");
    await page.reload();
    await form(page).waitFor();

    // Its time is over.
    await stay.check();
    await giveFile(page, ada.file);
    await inside.waitFor();
    await until(async () => (await rows(page)).kept === 1, "row of the tab");
    await expire(page);
    await page.reload();
    await form(page).waitFor();
    await until(async () => (await rows(page)).kept === 0, "expired row removed");

    // A revoked user is not signed in again.
    await stay.check();
    await giveFile(page, ada.file);
    await inside.waitFor();
    await boss.revokeUser(ada.identity.signPub);
    await page.getByText("You were signed out at").waitFor();
    await until(async () => (await rows(page)).kept === 0, "row of the revoked user removed");
    await boss.restoreUser(ada.identity.signPub);

    // What a closed tab kept goes when the console is opened again.
    await stay.check();
    await giveFile(page, ada.file);
    await inside.waitFor();
    await until(async () => (await rows(page)).kept === 1, "row of the tab to be closed");
    assert.equal((await rows(page)).readable, 0);
    await page.close();
    await until(async () => {
      await other.reload();
      await form(other).waitFor();
      return (await rows(other)).kept === 0;
    }, "row of the closed tab removed");
    await it.assertClean(at.url);
    await boss.close();
  },
);
