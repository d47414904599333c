/// <reference lib="dom" />
/**
 * What the console is given that it must not take: files, requests that are refused, names that would
 * do harm.
 */

import assert from "node:assert/strict";
import { lockIdentity } from "@unibus/membership/client";
import { until } from "../../cli/serve/kit.ts";
import { assertAccessible, browserTest, shoot, visit } from "../browser.ts";
import { clientOf, giveFile, go, HOSTILE, person, room, signIn } from "../console.ts";
import { site } from "../site.ts";

browserTest(
  "files that sign nobody in are each told apart; a protected one asks for its passphrase",
  async () => {
    await using at = await site();
    const ada = await person(at.store, "ada", "admin");
    const bob = await person(at.store, "bob");
    const cleo = await person(at.store, "cleo", "admin");
    const eve = await person(at.store, "eve", "admin");
    await at.store.revokeUser(eve.identity.signPub);
    await using it = await visit();
    const { page } = it;
    await page.goto(`${at.url}/console`);
    const tell = async (text: string, words: RegExp): Promise<void> => {
      await giveFile(page, text);
      await page.getByRole("alert").filter({ hasText: words }).waitFor();
    };
    await tell("hello", /not a key file/);
    await tell("{}", /not a key file/);
    await tell("x".repeat(100_000), /not a key file/);
    await tell(ada.file.replace('"version": 1', '"version": 9'), /newer version/);
    for (const field of ["signPub", "kexPub"] as const) {
      const changed = { ...JSON.parse(ada.file), [field]: bob.identity[field] };
      await tell(JSON.stringify(changed), /not a key file/);
    }
    await tell(bob.file, /bob is not an admin here/);
    await tell(eve.file, /does not belong to an active user/);
    await assertAccessible(page);

    const locked = await lockIdentity(ada.identity, "correct horse");
    await giveFile(page, locked);
    const passphrase = page.getByLabel("Passphrase");
    await passphrase.waitFor();
    await until(
      () => passphrase.evaluate((field) => field === document.activeElement),
      "focus at the passphrase",
    );
    await shoot(page, "passphrase-desktop-light");
    await passphrase.fill("wrong");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").filter({ hasText: "The passphrase does not open" }).waitFor();
    await passphrase.fill("correct horse");
    // Another file that is chosen while this one is opened takes its place.
    await page.evaluate((text) => {
      document.querySelector("form")!.requestSubmit();
      const chosen = new DataTransfer();
      chosen.items.add(new File([text], "cleo.json", { type: "application/json" }));
      const input = document.querySelector<HTMLInputElement>("input[type=file]")!;
      input.files = chosen.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }, await lockIdentity(cleo.identity, "battery"));
    await until(async () => await passphrase.inputValue() === "", "field for the other file");
    await passphrase.fill("battery");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    await page.getByText("cleo", { exact: true }).first().waitFor();
    await it.assertClean(at.url);
    assert.equal(it.sent.some(({ body }) => body.includes("correct horse")), false);

    // A browser that keeps nothing cannot keep its person signed in, and says so.
    await using other = await visit();
    await other.context.addInitScript(() => {
      IDBFactory.prototype.open = () => {
        throw new DOMException("no", "SecurityError");
      };
    });
    await other.page.goto(`${at.url}/console`);
    await other.page.getByLabel(/Stay signed in/).check();
    await giveFile(other.page, ada.file);
    await other.page.getByText("This browser keeps no keys").waitFor();
  },
);

browserTest(
  "what the server refuses is said in words, with the request's id, and the dialog stays",
  async () => {
    await using at = await site();
    const ada = await person(at.store, "ada", "admin");
    await using it = await visit();
    const { page } = it;
    const dialog = page.getByRole("dialog");
    await signIn(page, at.url, ada);
    await go(page, "#/users", "Users");
    await page.getByRole("button", { name: "Revoke ada" }).click();
    await dialog.getByText("This is you").waitFor();
    await dialog.getByRole("button", { name: "Revoke access" }).click();
    await dialog.getByRole("alert").getByText("This is the last active admin").waitFor();
    await dialog.getByText(/last_admin, request [\w-]{36}/).waitFor();
    await assertAccessible(page);
    await shoot(page, "refused-desktop-light");
    await page.keyboard.press("Escape");
    // What somebody else did in between.
    const bob = await person(at.store, "bob");
    await go(page, `#/users/${bob.identity.signPub}`, "bob");
    await page.getByRole("button", { name: "Revoke access" }).click();
    await at.store.deleteUser(bob.identity.signPub);
    await dialog.or(page.getByText("There is no user with this key")).first().waitFor();
    await go(page, "#/users/" + "0".repeat(63) + "9", "User");
    await page.getByText("There is no user with this key").waitFor();
    await go(page, "#/rooms/nowhere", "nowhere");
    await page.getByText("The room does not exist").waitFor();
    await go(page, "#/invites/new", "Invites");
    await dialog.getByLabel("Room (optional)").fill("nowhere");
    await dialog.getByRole("button", { name: "Create invite" }).click();
    await dialog.getByRole("alert").getByText("There is no room with this name").waitFor();
    await page.keyboard.press("Escape");
    for (const place of ["#/rooms/%", "#/users/<script>", "#/../../v1/me", "#/nothing", "#"]) {
      await page.evaluate((it) => void (location.hash = it), place);
      await page.getByRole("navigation", { name: "Console" }).waitFor();
    }
    await it.assertClean(at.url);
  },
);

browserTest(
  "names, notes and rooms that would do harm are text, and show what they hide",
  async () => {
    await using at = await site();
    const ada = await person(at.store, "ada", "admin");
    const people = [];
    for (const handle of HOSTILE) people.push(await person(at.store, handle));
    const id = "<svg/onload=fetch('/stolen')";
    await room(at.store, id, people[0]!, people.slice(1));
    await using it = await visit();
    const { page } = it;
    await signIn(page, at.url, ada);
    const client = clientOf(at.url, ada);
    for (const note of HOSTILE) await client.createInvite({ note });
    await go(page, "#/users", "Users");
    for (const handle of [HOSTILE[0]!, HOSTILE[4]!, HOSTILE[5]!]) {
      await page.getByRole("link", { name: handle, exact: true }).waitFor();
    }
    // A name that turns itself around cannot pretend to be another.
    await page.getByRole("link", { name: "⟨202E⟩gnp.exe⟨202C⟩" }).waitFor();
    await page.getByRole("link", { name: HOSTILE[3]!, exact: true }).waitFor();
    await go(page, `#/users/${people[1]!.identity.signPub}`, /gnp/);
    await page.getByRole("button", { name: "Revoke access" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Revoke access" }).click();
    await page.getByRole("button", { name: "Restore access" }).waitFor();
    await go(page, "#/invites", "Invites");
    await page.getByText(HOSTILE[0]!).first().waitFor();
    await go(page, "#/rooms", "Rooms");
    await page.getByRole("link", { name: id }).click();
    await page.getByRole("heading", { level: 1, name: id }).waitFor();
    await go(page, "#/log", "Log");
    await page.getByRole("row", { name: /revoked/ }).first().waitFor();
    assert.equal(await page.locator("img, script:not([src])").count(), 0);
    assert.deepEqual(it.sent.filter(({ url }) => new URL(url).pathname === "/stolen"), []);
    await it.assertClean(at.url);
    await client.close();
  },
);
