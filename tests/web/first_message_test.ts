/** The whole way of a new user, from an empty directory to two people who talk, and by keyboard alone. */

import assert from "node:assert/strict";
import { chmod } from "node:fs/promises";
import type { Page } from "playwright-core";
import {
  cardOf,
  createClient,
  type Identity,
  openRooms,
  readIdentity,
} from "@unibus/membership/client";
import { cliProcess, documentOf } from "../cli/kit.ts";
import { eventsOf } from "../cli/serve/kit.ts";
import { natsBinary } from "../helpers/nats.ts";
import { inDir } from "../helpers/sqlite.ts";
import { browserTest, shoot, visit } from "./browser.ts";
import { createRoom, guest, isConnected, line, say } from "./rooms/kit.ts";
import { site } from "./site.ts";
import { assertInside, leftBy } from "./traces.ts";

const PASSPHRASE = "otter lamp quilt seven";

/** Runs `membershipd serve` in a directory, with what it makes there by itself, on any free ports. */
async function serve(cwd: string) {
  const ports = ["http", "nats", "ws"].flatMap((it) => [`--${it}-port`, "0"]);
  const args = ["serve", "--bus-auth", "enforce", "--log-format", "json", ...ports];
  const env = { UNIBUS_NATS_SERVER: (await natsBinary()).path };
  const server = cliProcess(args, { cwd, env });
  const stop = async () => {
    server.kill("SIGTERM");
    return await server.ended;
  };
  try {
    await server.seen(/"event":"ready".*\n/);
  } catch (error) {
    await stop();
    throw error;
  }
  const { http, nats } = eventsOf(server.stderr()).find((it) => it.event === "ready")!;
  return {
    http: http as string,
    nats: nats as string,
    /** Runs `membershipd invite create` beside it, and returns the link. */
    async invite(...flags: string[]): Promise<string> {
      const args = ["invite", "create", "--url", http, ...flags, "--json"];
      const result = await cliProcess(args, { cwd }).ended;
      assert.equal(result.code, 0, result.stderr);
      return documentOf(result).link;
    },
    async [Symbol.asyncDispose]() {
      const { code, stderr } = await stop();
      assert.equal(code, 0, stderr);
    },
  };
}

/** Opens a link and joins; returns what the saved key file has, and stays on the last page. */
async function join(page: Page, link: string, name: string, dir: string): Promise<Identity> {
  await page.goto(link);
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByLabel("Passphrase for the key file").fill(PASSPHRASE);
  const downloading = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save the file" }).click();
  const path = `${dir}/${name}.json`;
  await (await downloading).saveAs(path);
  await page.getByRole("checkbox", { name: /^I have the file/ }).check();
  await page.getByRole("button", { name: "Join" }).click();
  await page.getByRole("heading", { name: `Welcome, ${name}` }).waitFor();
  await chmod(path, 0o600);
  const identity = await readIdentity(path, { passphrase: PASSPHRASE });
  const card = page.getByLabel("Your card");
  await card.getByText("unibus1.").waitFor();
  assert.equal((await card.innerText()).trim(), cardOf(identity));
  return identity;
}

/** Goes on to the rooms, which know the key already. */
async function openOwnRooms(page: Page): Promise<void> {
  await page.getByRole("link", { name: "Open your rooms" }).click();
  await isConnected(page);
}

browserTest(
  "from an empty directory, two links lead two people and a program into one room, in two minutes",
  () =>
    inDir(async (dir) => {
      const begun = performance.now();
      await using it = await serve(dir);
      await using owners = await guest();
      const a = owners.page;
      const ada = await join(a, await it.invite("--role", "admin"), "Ada", dir);
      await openOwnRooms(a);
      await createRoom(a, "kitchen");

      // One link brings Bob to where Ada is.
      await using members = await guest({ screen: "phone", scheme: "dark" });
      const b = members.page;
      const bob = await join(b, await it.invite("--room", "kitchen"), "Bob", dir);
      await b.getByText("You are invited to the room kitchen.").waitFor();
      await openOwnRooms(b);
      await b.getByRole("heading", { level: 1, name: "You are invited" }).waitFor();
      await b.getByText("You are invited to kitchen and wait for its owner.").waitFor();
      await shoot(b, "story-1-waiting");
      await a.getByText("was invited to this room.").waitFor();
      await a.getByRole("status").getByText("1 person waits to be let in to kitchen.").waitFor();
      // Both keys: of the one for room keys the owner has only the server's word.
      const ends = [bob.signPub.slice(12, 16), bob.kexPub.slice(12, 16)];
      await a.getByRole("listitem").filter({ hasText: "compare the fingerprint" })
        .getByText(new RegExp(ends.join(".* "))).waitFor();
      await a.getByRole("link", { name: "kitchen 1 waiting" }).waitFor();
      await shoot(a, "story-2-owner");
      await a.getByRole("button", { name: "Let in Bob" }).click();
      // The room opens by itself: its owner is an admin, who accepts for others.
      await b.getByRole("heading", { level: 1, name: "kitchen" }).waitFor();
      await a.getByRole("log").getByText("has joined.").waitFor();
      await a.getByRole("button", { name: "Let in Bob" }).waitFor({ state: "detached" });
      await b.getByRole("link", { name: "All rooms" }).click();
      await b.getByRole("heading", { level: 1, name: "Choose a room" }).waitFor();
      await b.getByText("wait for its owner").waitFor({ state: "detached" });
      await b.getByRole("link", { name: "kitchen" }).click();
      await b.getByRole("button", { name: /^People ?2$/ }).waitFor();
      await say(a, "soup is ready");
      await line(b, "soup is ready").waitFor();

      // The key file is Bob's in a program too.
      using client = createClient({ url: it.http, identity: bob });
      await using rooms = await openRooms({
        client,
        identity: bob,
        nats: { servers: it.nats },
      });
      await using room = await rooms.join("kitchen", { owner: ada.signPub });
      const messages = room.messages();
      await say(a, "is there salt?");
      const { value } = await messages.next();
      assert.equal(value!.text(), "is there salt?");
      assert.equal(value!.sender, ada.signPub);
      await line(b, "is there salt?").waitFor();
      const seconds = (performance.now() - begun) / 1000;
      console.log(`from an empty directory to messages read: ${seconds.toFixed(1)} s`);
      assert.ok(seconds < 120, `${seconds} s`);

      for (const [one, who] of [[owners, ada], [members, bob]] as const) {
        await one.assertClean(it.http);
        assertInside(await leftBy(one), who);
      }
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
      for (let i = 0; i < 60; i++) {
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
    await tabTo("input: Passphrase for the key file");
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
