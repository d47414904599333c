/// <reference lib="dom" />
/**
 * The console without a mouse: everything can be reached, and the focus is never lost.
 */

import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { until } from "../../cli/serve/kit.ts";
import { browserTest, visit } from "../browser.ts";
import { crowd, giveFile, person } from "../console.ts";
import { site } from "../site.ts";

/** What has the focus, as a screen reader would say it. */
function focused(page: Page): Promise<string> {
  return page.evaluate(() => {
    const it = document.activeElement as HTMLElement | null;
    if (it === null || it === document.body) return "nothing";
    const label = (it as HTMLInputElement).labels?.[0];
    const text = it.getAttribute("aria-label") ?? label?.querySelector("span")?.textContent ??
      label?.textContent ?? it.textContent ?? "";
    // A heading and the link to its view have the same name.
    return (it.tagName === "H1" ? "# " : "") + text.trim();
  });
}

/** Presses Tab until something has the focus. */
async function tabTo(page: Page, name: string, key = "Tab", most = 60): Promise<void> {
  for (let i = 0; i < most; i++) {
    await page.keyboard.press(key);
    if (await focused(page) === name) return await assertSeen(page);
  }
  assert.fail(`${name} is not reached; the focus is at ${await focused(page)}`);
}

/** Whether the focus can be seen: it has an outline, and nothing that sticks covers it. */
async function assertSeen(page: Page): Promise<void> {
  const { outline, hidden } = await page.evaluate(() => {
    const it = document.activeElement!;
    const { left, top, width, height } = it.getBoundingClientRect();
    const over = document.elementFromPoint(left + width / 2, top + height / 2);
    const { outlineStyle, outlineWidth } = getComputedStyle(it);
    return {
      outline: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2,
      hidden: over === null || !(it.contains(over) || over.contains(it)),
    };
  });
  assert.ok(outline, `${await focused(page)} shows no focus`);
  assert.ok(!hidden, `${await focused(page)} is covered while it has the focus`);
}

async function isAt(page: Page, name: string): Promise<void> {
  let last = "";
  await until(async () => (last = await focused(page)) === name, `focus at ${name}`)
    .catch((error) => {
      throw new Error(`${error.message}: it is at ${last}`);
    });
}

browserTest("an admin revokes, invites and leaves with the keyboard alone", async () => {
  await using at = await site();
  await crowd(at.store, 3);
  const ada = await person(at.store, "ada", "admin");
  await using it = await visit();
  const { page } = it;
  await page.goto(`${at.url}/console`);
  await page.getByLabel("Key file", { exact: true }).waitFor();
  await tabTo(page, "Key file");
  await giveFile(page, ada.file);
  // The view's heading has the focus: a screen reader begins there.
  await page.getByRole("button", { name: "Sign out" }).waitFor();
  await isAt(page, "# Overview");

  await tabTo(page, "Users", "Shift+Tab");
  await page.keyboard.press("Enter");
  await isAt(page, "# Users");
  await page.getByText("4 users").waitFor();
  await tabTo(page, "Search");
  await page.keyboard.type("ada-00000");
  await page.getByText("1 user", { exact: true }).waitFor();
  await tabTo(page, "Revoke ada-00000");

  // Escape leaves the dialog, and the focus is where it was.
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await isAt(page, "Revoke ada-00000");
  // The dialog keeps the focus: Tab goes round in it (and by the browser's own controls).
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  const inside = new Set<string>();
  for (let i = 0; i < 8; i++) {
    await page.keyboard.press("Tab");
    inside.add(await focused(page));
  }
  inside.delete("nothing");
  assert.deepEqual([...inside].sort(), ["Cancel", "Close", "Revoke access"]);
  await tabTo(page, "Revoke access");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  // The button that was there is another now, in the same place.
  await isAt(page, "Restore ada-00000");

  await tabTo(page, "Invites", "Shift+Tab");
  await page.keyboard.press("Enter");
  await isAt(page, "# Invites");
  await tabTo(page, "New invite");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await tabTo(page, "Who is it for?");
  await page.keyboard.type("Zoe");
  await page.keyboard.press("Enter");
  // The link is marked whole, ready to be copied.
  await page.getByRole("textbox", { name: "Link" }).waitFor();
  await isAt(page, "Link");
  const marked = () => page.evaluate(() => getSelection()!.toString());
  await until(async () => /\/join#[0-9a-f]{64}$/.test(await marked()), "mark on the link");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await isAt(page, "New invite");
  assert.match(page.url(), /#\/invites$/);

  // Straight to the content, past the menu.
  await page.keyboard.press("Control+Home");
  await tabTo(page, "Skip to the content", "Shift+Tab");
  await page.keyboard.press("Enter");
  await isAt(page, "# Invites");
  await tabTo(page, "Sign out", "Shift+Tab");
  await page.keyboard.press("Enter");
  await isAt(page, "# Sign in to the console");
  await it.assertClean(at.url);
});

browserTest("after a user was deleted the focus is at the list's heading", async () => {
  await using at = await site();
  const ada = await person(at.store, "ada", "admin");
  const bob = await person(at.store, "bob");
  await using it = await visit();
  const { page } = it;
  await page.goto(`${at.url}/console#/users/${bob.identity.signPub}`);
  await giveFile(page, ada.file);
  // The address of a view is a link to it, also for who must sign in first.
  await isAt(page, "# bob");
  // The name may be known before the user has been read.
  await page.getByRole("button", { name: "Delete" }).waitFor();
  await tabTo(page, "Delete");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await tabTo(page, "Type the name to confirm");
  await page.keyboard.type("bob");
  await page.keyboard.press("Enter");
  await isAt(page, "# Users");
});
