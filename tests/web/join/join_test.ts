/** The page that an invite's link opens, in a real browser: the way in, and the keys that stay inside. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import type { Page } from "playwright-core";
import {
  createClient,
  createIdentity,
  importIdentity,
  lockIdentity,
} from "@unibus/membership/client";
import { assertLooks, browserTest, visit } from "../browser.ts";
import { giveFile } from "../console.ts";
import { goThrough, heading } from "../join.ts";
import { type Site, site } from "../site.ts";
import { assertInside, holdWrites, tracesOf } from "../traces.ts";

const PASSPHRASE = "otter lamp quilt seven";

/** Fills in the name. */
async function name(page: Page, handle: string): Promise<void> {
  await page.getByLabel("Your name").fill(handle);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByRole("heading", { name: "Save your key file" }).waitFor();
}

/** Saves the key file; gives its text. */
async function save(page: Page, passphrase = ""): Promise<{ text: string; name: string }> {
  await page.getByLabel("Passphrase for the key file").fill(passphrase);
  const downloading = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save the file" }).click();
  const file = await downloading;
  const text = await readFile(await file.path(), "utf8");
  return { text, name: file.suggestedFilename() };
}

/** Says that the file is there, and joins. */
async function join(page: Page): Promise<void> {
  await page.getByRole("checkbox", { name: /^I have the file/ }).check();
  await page.getByRole("button", { name: "Join" }).click();
}

/** The whole way, to the page that says welcome. */
async function arrive(page: Page, it: Site, handle = "Ada"): Promise<string> {
  await page.goto((await it.invite()).link);
  await name(page, handle);
  const { text } = await save(page);
  await join(page);
  await heading(page, `Welcome, ${handle}`);
  return text;
}

browserTest("a new user goes from link to registered key", async () => {
  await using it = await site();
  await using one = await visit();
  const { page } = one;
  const { link, token, id } = await it.invite();
  await page.goto(link);
  await heading(page, "You are invited to unibus");
  assert.equal(page.url(), `${it.url}/join`, "the token is out of the address bar");
  await assertLooks(page, "1-name");
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByText("Enter a name").waitFor();
  await assertLooks(page, "1-name-missing");
  await name(page, "Ada");
  await assertLooks(page, "2-save");
  await page.getByLabel("Passphrase for the key file").fill("short");
  await page.getByRole("button", { name: "Save the file" }).click();
  await page.getByText("Use at least 8 characters").waitFor();
  const file = await save(page);
  assert.equal(file.name, "unibus-ada.json");
  await assertLooks(page, "3-saved");
  await page.getByRole("button", { name: "Join" }).click();
  await page.getByText("Check that the file was saved").waitFor();
  await assertLooks(page, "3-unconfirmed");
  assert.equal((await it.store.getInvite(id)).usedAt, null);
  await join(page);
  await heading(page, "Welcome, Ada");
  await assertLooks(page, "4-done");

  const identity = importIdentity(file.text);
  const user = await it.store.getUser(identity.signPub);
  assert.deepEqual([user.handle, user.role, user.kexPub], ["Ada", "user", identity.kexPub]);
  assert.equal((await it.store.getInvite(id)).usedBy, identity.signPub);
  assertInside(one.sent, identity);
  // The token goes to the server in the bodies of the question and the claim, and nowhere else.
  const withToken = one.sent.filter((sent) => JSON.stringify(sent).includes(token));
  assert.deepEqual(withToken.map((sent) => new URL(sent.url).pathname), [
    "/v1/register/check",
    "/v1/register",
  ]);
  await one.assertClean(it.url);
});

Deno.test("the search for private keys finds them in every form", () => {
  const identity = createIdentity();
  const claim = { method: "POST", url: "https://a/v1/register", headers: {} };
  const body = `${identity.signPub} ${identity.kexPub}`;
  assertInside([{ ...claim, body }], identity);
  for (const [form, trace] of tracesOf(identity)) {
    for (const place of ["url", "body", "headers"] as const) {
      const value = place === "headers" ? { "x-a": `.${trace}.` } : `.${trace}.`;
      const leak = { ...claim, body: "", [place]: value };
      assert.throws(() => assertInside([{ ...claim, body }, leak], identity), /left/, form);
    }
  }
});

browserTest("the page works below a path of another server", async () => {
  await using it = await site({ basePath: "/bus" });
  await using one = await visit();
  const { page } = one;
  const { token } = await it.invite();
  await page.goto(`${it.url}/bus/join#${token}`);
  await goThrough(page);
  await heading(page, "Welcome, Ada");
  await page.getByText(`url: "${it.url}/bus"`).waitFor();
  await page.getByRole("link", { name: "API documentation of this server" }).click();
  await page.getByRole("link", { name: "openapi.json" }).click();
  await page.waitForURL("**/bus/openapi.json");
  await one.assertClean(it.url);
});

browserTest(
  "the file that was saved is the client's: it calls the server as the user, and enters the rooms",
  async () => {
    await using it = await site();
    await using one = await visit();
    const { page, context } = one;
    // A browser that keeps nothing, as some do in private windows.
    await context.addInitScript(() => {
      IDBFactory.prototype.open = () => {
        throw new DOMException("No storage", "SecurityError");
      };
    });
    const text = await arrive(page, it);
    await page.getByText("This browser does not store keys").waitFor();
    using client = createClient({ url: it.url, identity: importIdentity(text) });
    assert.equal((await client.me()).user?.handle, "Ada");
    await page.getByRole("link", { name: "Open your rooms" }).click();
    await giveFile(page, text);
    await page.getByText(
      "This browser does not store anything for this page, as in a private window",
    ).waitFor();
  },
);

browserTest(
  "a key file one has is opened here; one that is registered leaves the link good",
  async () => {
    await using it = await site();
    const identity = createIdentity();
    await it.store.addUser({ ...identity, handle: "Zoë" });
    const text = await lockIdentity(identity, PASSPHRASE);
    await using one = await visit();
    const { page } = one;
    const { link, id } = await it.invite();
    await page.goto(link);
    await page.getByRole("button", { name: "I already have a key file" }).click();
    await page.getByLabel("Key file").setInputFiles({
      name: "my.json",
      mimeType: "application/json",
      buffer: Buffer.from(text),
    });
    const passphrase = page.getByLabel("Passphrase of the key file");
    await passphrase.fill("wrong wrong");
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByText("The passphrase does not open this key file").waitFor();
    await assertLooks(page, "file-wrong-passphrase");
    await passphrase.fill(PASSPHRASE);
    await page.getByRole("button", { name: "Continue" }).click();
    await heading(page, "You are already registered");
    assert.equal((await it.store.getInvite(id)).usedAt, null);
    await one.assertClean(it.url);
  },
);

browserTest(
  "what the browser keeps signs, and cannot be read out, not even by the page",
  async () => {
    await using it = await site();
    await using one = await visit();
    const text = await arrive(one.page, it);
    const found = await one.page.evaluate(async () => {
      const database = await new Promise<IDBDatabase>((resolve) => {
        const request = indexedDB.open("unibus");
        request.onsuccess = () => resolve(request.result);
      });
      // deno-lint-ignore no-explicit-any
      const rows = await new Promise<any[]>((resolve) => {
        const request = database.transaction("identities").objectStore("identities").getAll();
        request.onsuccess = () => resolve(request.result);
      });
      const [row] = rows;
      const refusals: string[] = [];
      for (const key of [row.signKey, row.kexKey]) {
        for (const format of ["pkcs8", "jwk", "raw"] as const) {
          await crypto.subtle.exportKey(format as "jwk", key).catch((it) => refusals.push(it.name));
        }
      }
      return {
        count: rows.length,
        fields: Object.keys(row).sort(),
        registered: row.registered,
        extractable: [row.signKey.extractable, row.kexKey.extractable],
        refusals: refusals.length,
        rest: JSON.stringify([row, { ...localStorage }, { ...sessionStorage }, document.cookie]),
      };
    });
    assert.deepEqual(found.fields, [
      "at",
      "file",
      "handle",
      "kexKey",
      "kexPub",
      "registered",
      "signKey",
      "signPub",
    ]);
    assert.deepEqual([found.count, found.registered, found.refusals], [1, true, 6]);
    assert.deepEqual(found.extractable, [false, false]);
    for (const [form, trace] of tracesOf(importIdentity(text))) {
      assert.ok(!found.rest.includes(trace), form);
    }
  },
);

browserTest(
  "who closes the page with the file saved goes on with the same keys, at once or later",
  async () => {
    await using it = await site();
    await using one = await visit();
    const { page } = one;
    const { link } = await it.invite();
    await page.goto(link);
    await name(page, "Dée Ångström");
    const release = await holdWrites(page, "unibus");
    const { text } = await save(page);
    // It is offered to go on when the keys are kept.
    const confirm = page.getByRole("checkbox", { name: /^I have the file/ });
    assert.equal(await confirm.count(), 0);
    await release();
    await confirm.waitFor();
    await page.goto("about:blank");
    await page.goto(link);
    await heading(page, "Continue where you left off");
    await page.getByRole("button", { name: "Join as Dée Ångström" }).click();
    await heading(page, "Welcome, Dée Ångström");
    const { signPub } = importIdentity(text);
    assert.deepEqual((await it.store.listUsers()).items.map((user) => user.signPub), [signPub]);
  },
);

browserTest("buttons pressed twice, or ten times, do what they do once", async () => {
  await using it = await site();
  await using one = await visit();
  const { page } = one;
  await page.goto((await it.invite()).link);
  await page.getByLabel("Your name").fill("Eve");
  // In one task, as no finger can: whatever comes before the page is drawn anew.
  const press = (button: string) =>
    page.getByRole("button", { name: button }).evaluate((it: HTMLButtonElement) => {
      for (let i = 0; i < 10; i++) it.click();
    });
  await press("Continue");
  await page.getByRole("heading", { name: "Save your key file" }).waitFor();
  const { text } = await save(page);
  await page.getByRole("checkbox", { name: /^I have the file/ }).check();
  await press("Join");
  await heading(page, "Welcome, Eve");
  const { signPub } = importIdentity(text);
  assert.deepEqual((await it.store.listUsers()).items.map((user) => user.signPub), [signPub]);
  await one.assertClean(it.url);
});

browserTest(
  "where signatures are not demanded the way in is the same, and names are only text",
  async () => {
    for (const busAuth of ["off", "soft"] as const) {
      await using it = await site({ busAuth });
      await using one = await visit();
      const { page } = one;
      const handle = '<img src=x onerror="document.title=1">' + "W".repeat(26);
      const text = await arrive(page, it, handle);
      await assertLooks(page, "4-done-long-name");
      assert.equal((await it.store.getUser(importIdentity(text).signPub)).handle, handle);
      await page.goto("about:blank");
      await page.goto((await it.invite()).link);
      await heading(page, "You are already registered");
      assert.equal(await page.locator("img").count(), 0);
      await one.assertClean(it.url);
    }
  },
);
