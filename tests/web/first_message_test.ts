/** The whole way of a new user, from the link to the first decrypted message, and by keyboard alone. */

import assert from "node:assert/strict";
import { chmod } from "node:fs/promises";
import {
  cardOf,
  createClient,
  createIdentity,
  openRooms,
  readCard,
  readIdentity,
} from "@unibus/membership/client";
import { cli, documentOf } from "../cli/kit.ts";
import { daemon } from "../cli/serve/kit.ts";
import { inDir } from "../helpers/sqlite.ts";
import { browserTest, shoot, visit } from "./browser.ts";
import { site } from "./site.ts";
import { assertInside } from "./traces.ts";

const PASSPHRASE = "otter lamp quilt seven";

browserTest(
  "from membershipd's link over the browser to the first decrypted message of a room",
  () =>
    inDir(async (dir) => {
      await using it = await daemon(dir, ["--bus-auth", "enforce"], {}, 60_000);
      // The admin has an encrypted room, and makes a link.
      const admin = createIdentity();
      const keys = ["--sign-pub", admin.signPub, "--kex-pub", admin.kexPub];
      const db = ["--db", `${dir}/a.db`];
      await cli(["user", "add", "--admin", "--handle", "Ada", ...keys, ...db]);
      const { link } = documentOf(
        await cli(["invite", "create", "--url", it.http, ...db, "--json"]),
      );
      using client = createClient({ url: it.http, identity: admin });
      await using rooms = await openRooms({ client, identity: admin, nats: { servers: it.nats } });
      await using kitchen = await rooms.createRoom({ id: "kitchen" });

      // A person opens it.
      await using one = await visit({ screen: "phone", scheme: "dark" });
      const { page } = one;
      await page.goto(link);
      await page.getByLabel("Your name").fill("Bob");
      await page.getByRole("button", { name: "Continue" }).click();
      await page.getByLabel("Passphrase for the file").fill(PASSPHRASE);
      const downloading = page.waitForEvent("download");
      await page.getByRole("button", { name: "Save the file" }).click();
      const path = `${dir}/bob.json`;
      await (await downloading).saveAs(path);
      await page.getByRole("checkbox", { name: /^I have the file/ }).check();
      await page.getByRole("button", { name: "Join" }).click();
      await page.getByRole("heading", { name: "Welcome, Bob" }).waitFor();
      const card = page.getByLabel("Your card");
      await card.getByText("unibus1.").waitFor();
      const shown = await card.innerText();
      await one.assertClean(it.http);

      // The card goes to the admin, the file to a program.
      await chmod(path, 0o600);
      const bob = await readIdentity(path, { passphrase: PASSPHRASE });
      assert.equal(shown.trim(), cardOf(bob));
      assert.equal(readCard(shown).endpoint, bob.signPub);
      assertInside(one.sent, bob);
      await kitchen.addMember(shown);
      using bobs = createClient({ url: it.http, identity: bob });
      await using bobRooms = await openRooms({
        client: bobs,
        identity: bob,
        nats: { servers: it.nats },
      });
      await using room = await bobRooms.join("kitchen", { owner: admin.signPub });
      const messages = room.messages();
      await kitchen.send("soup is ready");
      const { value } = await messages.next();
      assert.equal(value.text(), "soup is ready");
      assert.equal(value.sender, admin.signPub);
    }),
);

browserTest(
  "by keyboard alone, each step begins where a screen reader should, and all is in reach",
  async () => {
    await using it = await site();
    await using one = await visit();
    const { page } = one;
    const { keyboard } = page;
    /** The role and name of what has the focus. */
    const focus = () =>
      page.evaluate(() => {
        const it = document.activeElement as HTMLInputElement;
        const label = it.labels?.[0]?.innerText ?? it.innerText;
        return `${it.type === "checkbox" ? "checkbox" : it.localName}: ${label.trim()}`;
      });
    /** Presses Tab until something has the focus. */
    const tabTo = async (wanted: string | RegExp) => {
      for (let i = 0; i < 12; i++) {
        await keyboard.press("Tab");
        const found = await focus();
        if (typeof wanted === "string" ? found === wanted : wanted.test(found)) return;
      }
      assert.fail(`Tab never came to ${wanted}`);
    };
    const begins = async (title: string) => {
      await page.getByRole("heading", { name: title, level: 1, exact: true }).waitFor();
      await page.waitForFunction(
        (title) => document.activeElement?.textContent === title,
        title,
      );
      assert.match(await page.title(), /· unibus$/);
    };

    await page.goto((await it.invite()).link);
    await begins("You are invited to unibus");
    await tabTo("input: Your name");
    await keyboard.press("Enter");
    await page.getByText("Enter a name").waitFor();
    // What is wrong is tied to the field, so it is read with it.
    const field = page.getByLabel("Your name");
    assert.equal(await field.getAttribute("aria-invalid"), "true");
    await keyboard.type("Cyd");
    await shoot(page, "k-focus-field-desktop-light");
    await tabTo("button: Continue");
    await shoot(page, "k-focus-button-desktop-light");
    await keyboard.press("Enter");
    await begins("Save your key file");
    await tabTo("input: Passphrase for the file");
    await tabTo("checkbox: Show the passphrase");
    await tabTo("button: Save the file");
    const downloading = page.waitForEvent("download");
    await keyboard.press("Space");
    await (await downloading).path();
    // The focus goes on to what is to be done next.
    await page.waitForFunction(() =>
      (document.activeElement as HTMLInputElement).type === "checkbox"
    );
    assert.match(await focus(), /^checkbox: I have the file/);
    await keyboard.press("Space");
    await tabTo("button: Join");
    await keyboard.press("Enter");
    await begins("Welcome, Cyd");
    await tabTo(/^button: Copy your card/);
    await one.assertClean(it.url);
  },
);
