/// <reference lib="dom" />
/** The log in the console, and the history of one user, room or invite. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import type { Page } from "playwright-core";
import { openSqlite } from "@unibus/membership";
import { until } from "../../cli/serve/kit.ts";
import { browserTest, visit } from "../browser.ts";
import { clientOf, go, person, room, signIn } from "../console.ts";
import { site } from "../site.ts";

const rows = (page: Page, name: RegExp) => page.getByRole("row", { name });

browserTest("the log has older pages, filters, and a file of all that match", async () => {
  await using at = await site();
  const ada = await person(at.store, "ada", "admin");
  const eve = await person(at.store, '=HYPERLINK("x")');
  const asAda = at.store.as(ada.identity.signPub);
  for (let i = 0; i < 70; i++) await asAda.createInvite({ createdBy: "test" });
  await room(at.store, "ops", eve, [ada]);
  await at.store.as("-cli").deleteUser(eve.identity.signPub);
  await using it = await visit();
  const { page } = it;
  await signIn(page, at.url, ada);
  await go(page, "#/log", "Log");
  await page.getByText("1 to 50").waitFor();
  await rows(page, /-cli.* deleted =HYPERLINK/).waitFor();
  await page.getByRole("button", { name: "Next" }).click();
  await page.getByText("51 to 74, the last").waitFor();
  await rows(page, /library.* added ada .* as admin/).waitFor();
  // An older page stays as it is while there are new changes.
  await at.store.createInvite({ createdBy: "test" });
  await page.getByRole("button", { name: "Previous" }).click();
  await rows(page, /library.* created invite/).waitFor();

  const shown = async (count: string) => await page.getByText(count, { exact: true }).waitFor();
  await page.getByLabel("Filter by").selectOption("Room");
  await page.getByLabel("Search").fill("ops");
  await shown("1 change");
  await page.getByLabel("Filter by").selectOption("Made by");
  await page.getByLabel("Search").fill("-cli");
  await shown("1 change");
  await page.getByLabel("Search").fill("nobody");
  await page.getByText("No changes match.").waitFor();
  await page.getByLabel("Search").fill("");
  await page.getByLabel("Action").selectOption("added user");
  await shown("2 changes");
  await page.getByLabel("Time").selectOption("Last day");
  await shown("2 changes");
  await page.getByLabel("Filter by").selectOption("User");
  await page.getByLabel("Search").fill("not a key");
  await page.getByText("Enter the whole key or id: 64 hex digits.").waitFor();
  assert.equal(await page.getByRole("alert").count(), 0);

  await page.getByLabel("Search").fill("");
  await page.getByLabel("Action").selectOption("All");
  await page.getByText("1 to 50").waitFor();
  const downloading = page.waitForEvent("download");
  await page.getByRole("button", { name: "Download CSV" }).click();
  const file = await downloading;
  assert.equal(file.suggestedFilename(), "changes.csv");
  const lines = (await readFile(await file.path(), "utf8")).split("\r\n");
  assert.equal(lines.length, 1 + 75);
  assert.equal(lines[0], "revision,at,by,action,user,room,invite,before,after");
  const gone = lines.find((line) => line.includes("user.deleted"))!;
  // A spreadsheet would take it for a formula.
  assert.ok(gone.includes(`,"'-cli","user.deleted","${eve.identity.signPub}","","",`), gone);
  assert.ok(gone.includes('{""handle"":""=HYPERLINK(\\""x\\"")"",'), gone);
  await it.assertClean(at.url);
});

browserTest(
  "a user, a room and an invite show their own history, which follows what happens",
  async () => {
    await using at = await site();
    const ada = await person(at.store, "ada", "admin");
    const bob = await person(at.store, "bob");
    await room(at.store, "ops", ada, [bob]);
    const { id } = await at.invite();
    await using it = await visit();
    const { page } = it;
    await signIn(page, at.url, ada);
    const client = clientOf(at.url, ada);
    await go(page, `#/users/${bob.identity.signPub}`, "bob");
    await rows(page, /library.* added bob .* as user/).waitFor();
    await client.setUserRole(bob.identity.signPub, "admin");
    await rows(page, /ada.* changed the role of bob .* to admin/).waitFor();
    assert.equal(await rows(page, /created invite/).count(), 0);
    await client.deleteUser(bob.identity.signPub);
    await page.getByText("There is no user with this key").waitFor();
    await rows(page, /ada.* deleted bob/).waitFor();
    await go(page, "#/rooms/ops", "ops");
    await rows(page, /library.* created room ops/).waitFor();
    // The membership was removed with the user.
    await rows(page, /ada.* removed .* from room ops/).waitFor();
    await page.getByRole("link", { name: "Filter" }).click();
    await page.getByRole("heading", { level: 1, name: "Log" }).waitFor();
    await until(async () => await page.getByLabel("Search").inputValue() === "ops", "filter");
    await page.getByText("2 changes", { exact: true }).waitFor();
    await rows(page, /created room ops/).waitFor();
    await go(page, "#/invites", "Invites");
    await page.getByRole("link", { name: id.slice(0, 8) }).click();
    await page.getByRole("heading", { level: 1, name: "Invite", exact: true }).waitFor();
    await rows(page, /library.* created invite .* for role user/).waitFor();
    await page.getByRole("button", { name: "Cancel the invite" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Cancel the invite" }).click();
    await rows(page, /ada.* canceled invite/).waitFor();
    await page.locator(".facts").getByText("canceled just now").waitFor();
    await page.getByRole("button", { name: "Cancel the invite" }).waitFor({ state: "detached" });
    await go(page, `#/invites/${"0".repeat(64)}`, "Invite");
    await page.getByText("There is no invite with this id").waitFor();
    client.close();
    await it.assertClean(at.url);
  },
);

browserTest("without a history the console works, and says that there is none", async () => {
  await using at = await site({ store: openSqlite(":memory:", { history: false }) });
  const ada = await person(at.store, "ada", "admin");
  await using it = await visit();
  const { page } = it;
  await signIn(page, at.url, ada);
  await page.getByText("Live", { exact: true }).waitFor();
  await go(page, "#/log", "Log");
  await page.getByText("This server does not keep a history.").waitFor();
  await go(page, "#/users", "Users");
  await page.getByText("1 user", { exact: true }).waitFor();
  // It looks again by itself.
  await person(at.store, "bob");
  await page.getByText("2 users", { exact: true }).waitFor();
});
