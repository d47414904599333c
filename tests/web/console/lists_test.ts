/// <reference lib="dom" />
/**
 * Many things at once in the console: selections, filters, files, and the way to everything by keyboard.
 */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import type { Page } from "playwright-core";
import { exportSnapshot, openSqlite } from "@unibus/membership";
import { createIdentity } from "@unibus/membership/client";
import { until } from "../../cli/serve/kit.ts";
import { assertLooks, browserTest, visit } from "../browser.ts";
import { clientOf, go, person, room, signIn } from "../console.ts";
import { site } from "../site.ts";

async function saved(page: Page, button: string): Promise<{ name: string; text: string }> {
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: button }).click(),
  ]);
  return { name: file.suggestedFilename(), text: await readFile(await file.path(), "utf8") };
}

browserTest(
  "several users are revoked, several invites canceled, and lists saved as files",
  async () => {
    const store = openSqlite(":memory:");
    await using at = await site({ store });
    const ada = await person(store, "ada", "admin");
    const [bob, eve, zoe] = [
      await person(store, "bob"),
      await person(store, "eve"),
      await person(store, "zoe"),
    ];
    await room(store, "ops", bob, [ada, zoe], [eve]);
    await room(store, "lounge", ada, [bob]);
    await using it = await visit({}, { permissions: ["clipboard-read", "clipboard-write"] });
    const { page } = it;
    const dialog = page.getByRole("dialog");
    const selected = page.getByRole("region", { name: "Selected users" });
    await signIn(page, at.url, ada);

    // Who lacks a key; then all of a page, with one who cannot be revoked among them.
    await go(page, "#/users", "Users");
    await page.getByLabel("Room keys").selectOption("lacking");
    await page.getByText("1 user", { exact: true }).waitFor();
    await page.getByRole("rowheader", { name: /eve/ }).waitFor();
    await page.getByLabel("Room keys").selectOption("");
    await page.getByText("4 users", { exact: true }).waitFor();
    await page.getByLabel("Idle").selectOption("start");
    await page.getByText("This server knows who was active only since it started").waitFor();
    await page.getByText("3 users", { exact: true }).waitFor();
    await page.getByRole("rowheader", { name: /ada/ }).waitFor({ state: "detached" });
    await assertLooks(page, "users-idle");
    await page.getByLabel("Idle").selectOption("");
    await page.getByText("4 users", { exact: true }).waitFor();
    // The number is ahead of the rows while they are being read.
    await page.getByRole("rowheader", { name: /ada/ }).waitFor();
    await page.locator('table[aria-busy="false"]').waitFor();
    const all = page.getByLabel("Select all on this page");
    await all.press("Space");
    await selected.getByText("4 users selected").waitFor();
    await all.press("Space");
    await selected.waitFor({ state: "hidden" });
    // On a phone too, where rows are cards.
    const { width, height } = page.viewportSize()!;
    await page.setViewportSize({ width: 320, height: 640 });
    await page.getByText("Select all on this page").click();
    await selected.getByText("4 users selected").waitFor();
    await page.setViewportSize({ width, height });
    await page.getByLabel("Select zoe").uncheck();
    await selected.getByText("3 users selected").waitFor();
    await assertLooks(page, "users-selected");
    await selected.getByRole("button", { name: "Revoke access" }).click();
    await dialog.getByText("You are one of them").waitFor();
    await dialog.getByText(bob.identity.signPub.slice(0, 8)).waitFor();
    await dialog.getByRole("button", { name: "Revoke 3 users" }).click();
    await dialog.getByText("1 user could not be revoked.").waitFor();
    await dialog.getByText(/ada.*: This is the last active admin/).waitFor();
    await assertLooks(page, "users-bulk-failed");
    await dialog.getByRole("button", { name: "Close" }).last().click();
    await selected.getByText("1 user selected").waitFor();
    // One that was selected while it was active, and is revoked by its own button.
    await page.getByLabel("Select zoe").check();
    await page.getByRole("button", { name: "Revoke zoe" }).click();
    // As soon as it is shown.
    await selected.getByRole("button", { name: "Restore access" }).evaluate((restore) => {
      new MutationObserver((_, observer) => {
        if (document.querySelector('[aria-label="Restore zoe"]') === null) return;
        observer.disconnect();
        (restore as HTMLElement).click();
      }).observe(document.body, { childList: true, subtree: true, attributes: true });
    });
    await dialog.getByRole("button", { name: "Revoke access" }).click();
    await dialog.getByRole("button", { name: "Restore 1 user" }).click();
    await dialog.waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Revoke zoe" }).waitFor();
    for (
      const [who, status] of [[ada, "active"], [bob, "revoked"], [eve, "revoked"], [
        zoe,
        "active",
      ]] as const
    ) assert.equal((await store.getUser(who.identity.signPub)).status, status);
    await page.getByLabel("Status").selectOption("revoked");
    await page.getByText("2 users", { exact: true }).waitFor();
    const users = await saved(page, "Download CSV");
    assert.equal(users.name, "users.csv");
    const lines = users.text.split("\r\n");
    assert.equal(lines[0], "handle,signPub,kexPub,role,status,createdAt,revokedAt");
    assert.deepEqual(lines.slice(1).map((it) => it.split(",")[0]), ['"bob"', '"eve"']);

    // Invites.
    for (const note of ["one", "two", "three"]) {
      await store.createInvite({
        createdBy: "cli",
        note,
      });
    }
    await go(page, "#/invites", "Invites");
    await page.getByText("3 invites", { exact: true }).waitFor();
    await page.getByLabel("Select one", { exact: true }).check();
    await page.getByLabel("Select three").check();
    await page.getByRole("button", { name: "Cancel invites" }).click();
    await dialog.getByRole("button", { name: "Cancel 2 invites" }).click();
    await dialog.waitFor({ state: "detached" });
    await page.getByText("1 invite", { exact: true }).waitFor();
    await page.getByLabel("State").selectOption("");
    await page.getByText("3 invites", { exact: true }).waitFor();
    assert.equal((await saved(page, "Download CSV")).text.split("\r\n").length, 4);

    // Rooms, and the one whose owner was revoked.
    // One has the key and has not joined.
    const { identity: { signPub: endpoint, kexPub } } = await person(store, "max");
    await store.addMember("ops", { endpoint, kexPub, accepted: false }, {
      epoch: 1,
      sealedKey: new Uint8Array(80),
    });
    await go(page, "#/rooms", "Rooms");
    await page.getByText("2 rooms", { exact: true }).waitFor();
    await page.getByLabel("Current key").selectOption("lacking");
    await page.getByText("1 room", { exact: true }).waitFor();
    await page.getByRole("link", { name: "ops" }).click();
    await page.getByText("The owner is revoked").waitFor();
    await page.getByRole("row", { name: /max/ }).getByText("has not joined yet").waitFor();
    await page.getByRole("button", { name: "Copy a reminder" }).waitFor({ state: "detached" });
    await assertLooks(page, "room-without-owner");
    await page.getByRole("button", { name: "Choose another owner" }).click();
    await dialog.getByLabel("New owner").waitFor();
    const offered = await dialog.getByLabel("New owner").locator("option").allTextContents();
    assert.deepEqual(offered.map((text) => text.split(" ")[0]).sort(), ["ada", "zoe"]);
    await dialog.getByLabel("New owner").selectOption(zoe.identity.signPub);
    await dialog.getByRole("button", { name: "Make owner" }).click();
    await dialog.waitFor({ state: "detached" });
    await page.getByText("The owner is revoked").waitFor({ state: "detached" });
    assert.equal((await store.getRoom("ops")).owner, zoe.identity.signPub);
    // The new owner can seal the key.
    await page.getByRole("button", { name: "Copy a reminder" }).click();
    await page.getByText("Copied").waitFor();
    const reminder = await page.evaluate(() => navigator.clipboard.readText());
    assert.match(reminder, /^Room ops: 1 member cannot read new messages .*epoch 1 /);
    await it.assertClean(at.url);
  },
);

browserTest("a user's page, the palette, and the whole store as a file", async () => {
  const store = openSqlite(":memory:");
  await using at = await site({
    store,
    connections: (endpoint) => ({ open: endpoint === undefined ? 7 : 2, users: 3 }),
  });
  const ada = await person(store, "ada", "admin");
  const bob = await person(store, "bob");
  await store.deleteUser(bob.identity.signPub);
  const { id, token } = await at.invite();
  const { signPub, kexPub } = bob.identity;
  await store.consumeInvite(token, { signPub, kexPub, handle: "bob" });
  await room(store, "ops", ada, [bob]);
  const eve = createIdentity();
  const { token: toRoom } = await store.createInvite({ createdBy: "cli", room: "ops" });
  await store.consumeInvite(toRoom, {
    signPub: eve.signPub,
    kexPub: eve.kexPub,
    handle: "eve",
  });
  await using it = await visit();
  const { page } = it;
  const dialog = page.getByRole("dialog");
  await signIn(page, at.url, ada);

  // What there is, as counts.
  const figure = (name: string, value: RegExp) =>
    page.locator(".figure").filter({ hasText: name }).filter({ hasText: value }).waitFor();
  await figure("Users", /3\s*1 admin/);
  await figure("Rooms", /1/);
  await figure("Connections", /7\s*of 3 users/);
  await figure("Changes in 24 h", /2 joined/);
  const snapshot = await saved(page, "Download snapshot");
  assert.match(snapshot.name, /^unibus-\d{4}-\d\d-\d\d\.ndjson$/);
  assert.equal(snapshot.text, await new Response(exportSnapshot(store)).text());

  // By keyboard to a user, and to a room.
  await page.keyboard.press("Control+k");
  const field = dialog.getByRole("combobox");
  await field.fill("bo");
  await dialog.getByRole("option", { name: /bob/ }).waitFor();
  await assertLooks(page, "palette");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "bob" }).waitFor();
  await until(
    () => page.evaluate(() => document.activeElement?.tagName === "H1"),
    "focus at the heading",
  );
  await page.getByRole("link", { name: `invite ${id.slice(0, 8)}` }).waitFor();
  await page.getByText("2 open").waitFor();
  await page.getByText("none to this server since it started").waitFor();
  await clientOf(at.url, bob).me();
  await page.getByText("none to this server since it started").waitFor({ state: "detached" });
  await assertLooks(page, "user-activity");
  await page.getByRole("button", { name: "Find" }).click();
  await field.fill("o");
  await dialog.getByRole("option", { name: /Room ops/ }).waitFor();
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "ops" }).waitFor();
  await page.getByRole("region", { name: "Waiting to be added" }).getByText("eve").waitFor();
  await assertLooks(page, "room-waiting");
  await go(page, "#/invites", "Invites");
  await page.getByLabel("State").selectOption("used");
  await page.getByRole("rowheader", { name: /to room ops/ }).waitFor();
  // What was found for an earlier text is not gone to.
  await page.keyboard.press("Control+k");
  await field.fill("bo");
  await dialog.getByRole("option", { name: /bob/ }).waitFor();
  const told = await dialog.locator("[role=status]").evaluateHandle((line) => {
    const told: string[] = [];
    new MutationObserver(() => told.push(line.textContent!))
      .observe(line, { childList: true, characterData: true, subtree: true });
    return told;
  });
  await field.fill("zzz");
  await page.keyboard.press("Enter");
  await dialog.getByText("Nothing matches.").waitFor();
  // Not before the server has answered.
  assert.deepEqual(await told.jsonValue(), ["Searching", "Nothing matches."]);
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  // A list that is longer than the window: no row is drawn over another, and the last is scrolled to.
  await page.setViewportSize({ width: 320, height: 400 });
  await page.keyboard.press("Control+k");
  await field.fill("o");
  await dialog.getByRole("option", { name: /bob/ }).waitFor();
  const overfull = await dialog.getByRole("option").evaluateAll((all) =>
    all.filter((it) => it.scrollHeight > it.clientHeight + 1).map((it) => it.textContent)
  );
  assert.deepEqual(overfull, []);
  await field.fill("");
  const last = dialog.getByRole("option", { name: /Sign out/, selected: true });
  await field.press("ArrowUp");
  await last.waitFor();
  await until(
    () =>
      last.evaluate((it) =>
        it.getBoundingClientRect().bottom <= it.parentElement!.getBoundingClientRect().bottom
      ),
    "scrolling to the option",
  );
  // With another text it begins at the first.
  await field.fill("o");
  await dialog.getByRole("option", { name: /Overview/, selected: true }).waitFor();
  await field.fill("");
  await field.press("ArrowUp");
  await last.waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Sign in to the console" }).waitFor();
  await it.assertClean(at.url);
});
