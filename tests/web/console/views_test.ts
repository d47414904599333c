/// <reference lib="dom" />
/**
 * Every view of the console: for people of any ability, on a phone and a desktop, in light and dark.
 */

import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { until } from "../../cli/serve/kit.ts";
import {
  assertAccessible,
  assertFits,
  browserTest,
  LOOKS,
  SCREENS,
  shoot,
  visit,
} from "../browser.ts";
import { clientOf, crowd, go, HOSTILE, keyOf, person, room, signIn } from "../console.ts";
import { site } from "../site.ts";

async function populated() {
  // An hour that goes by in a moment: what is asked in it is real.
  let now = Date.now() - 58 * 60_000;
  const at = await site({ clock: () => new Date(Math.min(now, Date.now())) });
  for (let i = 0; i < 116; i++, now += 30_000) {
    const count = Math.round(6 + 5 * Math.sin(i / 9) + (i % 7));
    for (let n = 0; n < count; n++) await (await fetch(`${at.url}/openapi.json`)).body?.cancel();
    if (i % 29 < 3) await (await fetch(`${at.url}/v1/me`)).body?.cancel();
  }
  now = Infinity;
  const { store } = at;
  await crowd(store, 70);
  const ada = await person(store, "ada", "admin");
  const hostile = [];
  for (const handle of HOSTILE) hostile.push(await person(store, handle));
  await store.revokeUser(keyOf("sign 3"));
  await store.revokeUser(hostile[4]!.identity.signPub);
  await room(store, "ops", ada, hostile.slice(0, 3), hostile.slice(3, 5));
  await room(store, "general", hostile[0]!, [ada]);
  await room(store, "设计-und-ein-sehr-langer-name-".padEnd(200, "x"), hostile[3]!, []);
  const { identity: { signPub, kexPub } } = ada;
  await store.createRoom({
    id: "lobby",
    subject: "room.lobby",
    encrypted: false,
    owner: { endpoint: signPub, kexPub },
  });
  const used = await at.invite();
  const bob = await person(at.store, "bob");
  await store.deleteUser(bob.identity.signPub);
  await store.consumeInvite(used.token, {
    signPub: bob.identity.signPub,
    kexPub: bob.identity.kexPub,
    handle: "bob",
  });
  const gone = await at.invite();
  await store.cancelInvite(gone.id);
  const client = clientOf(at.url, ada);
  await client.createInvite({ note: "Carol's laptop" });
  await client.createInvite({ note: "x".repeat(500), role: "admin" });
  await client.createInvite({ note: HOSTILE[0]!, expiresIn: 3_600_000 });
  await client.revokeUser(hostile[5]!.identity.signPub);
  await client.restoreUser(hostile[5]!.identity.signPub);
  await client.removeMember("ops", hostile[2]!.identity.signPub);
  await client.close();
  return { at, ada, hostile };
}

for (const look of LOOKS) {
  const name = `${look.screen} ${look.scheme}`;
  browserTest(
    `the console is usable by anybody on ${name}: nothing is cut off, nothing is against the policy`,
    async () => {
      const { at, ada, hostile } = await populated();
      await using _ = at;
      await using it = await visit(look);
      const { page } = it;
      const lookAt = async (view: string): Promise<void> => {
        await settled(page);
        await assertFits(page);
        await assertInside(page);
        // What is in between.
        const { width, height } = SCREENS[look.screen].viewport;
        for (const other of look.screen === "phone" ? [375, 560] : [900, 1024, 1920]) {
          await page.setViewportSize({ width: other, height });
          await assertFits(page);
          await assertInside(page);
        }
        await page.setViewportSize({ width, height });
        await assertAccessible(page);
        await shoot(page, `${view}-${look.screen}-${look.scheme}`);
      };
      await page.goto(`${at.url}/console`);
      await page.getByLabel("Key file", { exact: true }).waitFor();
      await lookAt("signin");
      await signIn(page, at.url, ada);
      await page.getByText("All is well").waitFor();
      await page.getByRole("img", { name: /^Requests/ }).waitFor();
      await lookAt("overview");
      await page.getByText("The last hour as a table").click();
      const hour = page.getByRole("region", { name: "The last hour as a table" });
      await until(async () => await hour.getByRole("row").count() > 100, "all of the hour");
      await assertFits(page);
      await assertAccessible(page);
      await go(page, "#/users", "Users");
      await page.getByText("1 to 50").waitFor();
      await lookAt("users");
      await page.getByLabel("Search").fill("ada-");
      await page.getByText("7 users").waitFor();
      await lookAt("users-search");
      await go(page, `#/users/${ada.identity.signPub}`, "ada");
      await page.getByRole("region", { name: /^\d+ rooms?$/ }).waitFor();
      await lookAt("user");
      await go(page, `#/users/${hostile[0]!.identity.signPub}`, HOSTILE[0]!);
      await page.getByRole("button", { name: "Delete" }).click();
      await page.getByRole("dialog").waitFor();
      await lookAt("delete");
      await page.keyboard.press("Escape");
      await go(page, "#/invites", "Invites");
      await page.getByText("Carol's laptop").waitFor();
      await lookAt("invites");
      await page.getByLabel("State").selectOption("used");
      await page.getByRole("link", { name: "bob" }).waitFor();
      await lookAt("invites-used");
      await go(page, "#/invites/new", "Invites");
      await page.getByLabel("Role").selectOption("admin");
      await lookAt("invite-new");
      await page.getByRole("button", { name: "Create invite" }).click();
      await page.getByText("As a QR code").click();
      await lookAt("invite-made");
      await page.getByRole("button", { name: "Done" }).click();
      await go(page, "#/rooms", "Rooms");
      await page.getByText("2 members without").waitFor();
      await lookAt("rooms");
      await go(page, "#/rooms/ops", "ops");
      await page.getByText("2 members cannot read").waitFor();
      await lookAt("room");
      await go(page, "#/rooms/lobby", "lobby");
      await lookAt("room-cleartext");
      await go(page, "#/log", "Log");
      await page.getByRole("row", { name: /created invite/ }).first().waitFor();
      await lookAt("log");
      await it.assertClean(at.url);
    },
  );
}

/** Asserts that no table, card or button sticks out of the content. */
async function assertInside(page: Page): Promise<void> {
  const out = await page.evaluate(() => {
    const main = document.querySelector("main")!;
    const { paddingRight } = getComputedStyle(main);
    const edge = main.getBoundingClientRect().right - parseFloat(paddingRight) + 0.5;
    return [...main.querySelectorAll(".table, .table td, .panel, .button, .badge, .key")]
      .filter((it) => !it.closest("dialog") && it.getBoundingClientRect().right > edge)
      .map((it) => `${it.className} ${it.textContent!.slice(0, 40)}`);
  });
  assert.deepEqual(out, [], page.url());
}

/** Waits until nothing turns any more. */
async function settled(page: Page): Promise<void> {
  // Asked from here: the page's policy lets nobody evaluate text in it again and again.
  await until(
    () => page.evaluate(() => document.querySelector(".spinner, [aria-busy=true]") === null),
    "end of the turning",
  );
}
