/// <reference lib="dom" />
/**
 * What goes wrong around the console, and whether it says so in words that help.
 */

import assert from "node:assert/strict";
import { until } from "../../cli/serve/kit.ts";
import { assertAccessible, assertLooks, browserTest, shoot, visit } from "../browser.ts";
import { clientOf, go, person, signIn } from "../console.ts";
import { site } from "../site.ts";

for (
  const [what, end] of [
    ["revoked", "revokeUser"],
    ["made an ordinary user", "setUserRole"],
    ["deleted", "deleteUser"],
  ] as const
) {
  browserTest(`who is ${what} meanwhile is told at once, and signed out`, async () => {
    await using at = await site();
    const ada = await person(at.store, "ada", "admin");
    const boss = clientOf(at.url, await person(at.store, "boss", "admin"));
    await using it = await visit();
    const { page } = it;
    await signIn(page, at.url, ada);
    await go(page, "#/users", "Users");
    await page.getByRole("link", { name: "boss" }).waitFor();
    const { signPub } = ada.identity;
    if (end === "setUserRole") await boss.setUserRole(signPub, "user");
    else await boss[end](signPub);
    // Nothing is touched here: the page hears of it.
    await page.getByText(/You were signed out at .* ada is no longer an active admin/).waitFor();
    assert.equal(await page.getByRole("link", { name: "boss" }).count(), 0);
    // What the page waits for comes into sight slowly: until then its colors are too faint.
    await page.getByLabel("Key file", { exact: true }).waitFor();
    await assertAccessible(page);
    await shoot(page, `ended-${end}-desktop-light`);
    await boss.close();
  });
}

browserTest("a server that is away is told, tried again, and what was missed appears", async () => {
  let isAway = false;
  await using at = await site({
    before: () => isAway ? new Response("<h1>502</h1>", { status: 502 }) : null,
  });
  const ada = await person(at.store, "ada", "admin");
  await using it = await visit();
  const { page, context } = it;
  await signIn(page, at.url, ada);
  await go(page, "#/users", "Users");
  await page.getByText("1 user", { exact: true }).waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
  // A proxy that lost the server.
  isAway = true;
  // Any change ends the poll that waits.
  await at.store.addUser({ ...keys(), handle: "first" });
  await page.getByText("The server does not respond.").first().waitFor();
  await page.getByText("No connection").waitFor();
  await assertAccessible(page);
  await shoot(page, "away-desktop-light");
  await page.getByRole("button", { name: "Try now" }).click();
  await page.getByText(/Trying again in/).waitFor();
  await page.keyboard.press("Control+k");
  const palette = page.getByRole("dialog");
  await palette.getByRole("combobox").fill("first");
  await palette.getByText("The server does not respond.").waitFor();
  await page.keyboard.press("Escape");
  isAway = false;
  await page.getByText("Live", { exact: true }).waitFor();
  await page.getByText("2 users", { exact: true }).waitFor();
  // No network at all, and it comes back by itself.
  await context.setOffline(true);
  await at.store.addUser({ ...keys(), handle: "second" });
  await page.getByText("No connection").waitFor();
  await context.setOffline(false);
  await page.getByText("3 users", { exact: true }).waitFor();
  // In the middle of revoking several: the rest is not tried, and can be tried again.
  const dialog = page.getByRole("dialog");
  for (const it of ["first", "second"]) await page.getByLabel(`Select ${it}`).check();
  await page.getByRole("button", { name: "Revoke access" }).click();
  isAway = true;
  await dialog.getByRole("button", { name: "Revoke 2 users" }).click();
  await dialog.getByText(/^2 users could not be revoked. The server does not respond. The first /)
    .waitFor();
  await assertLooks(page, "users-bulk-away");
  isAway = false;
  await dialog.getByRole("button", { name: "Try again" }).click();
  await dialog.waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Restore second" }).waitFor();
});

function keys(): { signPub: string; kexPub: string } {
  const hex = (): string => crypto.randomUUID().replaceAll("-", "").repeat(2);
  return { signPub: hex(), kexPub: hex() };
}

browserTest("a clock that is off is named, and put right", async () => {
  await using at = await site();
  const ada = await person(at.store, "ada", "admin");
  await using it = await visit();
  const { page } = it;
  await page.clock.install({ time: Date.now() + 10 * 60_000 });
  await signIn(page, at.url, ada);
  await page.getByText("10 minutes ahead of the server's").waitFor();
  await page.getByText("All is well").waitFor();
  await shoot(page, "clock-desktop-light");
});

browserTest("a server that refuses nobody, or is not well, is told on the first view", async () => {
  let isWell = true;
  await using at = await site({
    busAuth: "soft",
    readiness: () => Promise.resolve([{ name: "nats", ok: isWell, detail: "no server answers" }]),
  });
  const ada = await person(at.store, "ada", "admin");
  await using it = await visit();
  const { page } = it;
  await signIn(page, at.url, ada);
  await page.getByText("All is well").waitFor();
  await page.getByText("Signatures are checked but not enforced").waitFor();
  isWell = false;
  // It is looked at again and again, and at once by who comes back to the page.
  await until(async () => {
    await page.evaluate(() => void document.dispatchEvent(new Event("visibilitychange")));
    return await page.getByText("1 problem").isVisible();
  }, "news of the trouble");
  await page.getByText("nats: no server answers").first().waitFor();
  await assertAccessible(page);
  await shoot(page, "unwell-desktop-light");
  await it.assertClean(at.url);
});
