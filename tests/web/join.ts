/**
 * The way through the invite page.
 *
 * @module
 */

import type { Page } from "playwright-core";
import { type Visit, visit } from "./browser.ts";
import { type Site, site, type SiteOptions } from "./site.ts";

/** Waits for the page with this heading. */
export async function heading(page: Page, text: string): Promise<void> {
  await page.getByRole("heading", { name: text, level: 1, exact: true }).waitFor();
}

/** From the name to the button that joins, pressed. */
export async function goThrough(page: Page): Promise<void> {
  await page.getByLabel("Your name").fill("Ada");
  await page.getByRole("button", { name: "Continue" }).click();
  const downloading = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save the file" }).click();
  await downloading;
  await page.getByRole("checkbox", { name: /^I have the file/ }).check();
  await page.getByRole("button", { name: "Join" }).click();
}

/** A server and a person. */
export async function scene(
  run: (it: Site, one: Visit, page: Page) => Promise<void>,
  options: SiteOptions = {},
): Promise<void> {
  await using it = await site(options);
  await using one = await visit();
  await run(it, one, one.page);
  await one.assertClean(it.url);
}
