/// <reference lib="dom" />
/**
 * Makes the pictures in the README: `deno task pictures` writes docs/images. They show a real server with
 * people in it. Needs a Chromium.
 *
 * @module
 */

import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { createClient } from "@unibus/membership/client";
import { close } from "./browser.ts";
import { keyOf, type Person, room, signIn } from "./console.ts";
import {
  accept,
  add,
  cardFrom,
  createRoom,
  enter,
  guest,
  type House,
  house,
  line,
  say,
} from "./rooms/kit.ts";

const TO = fileURLToPath(new URL("../../docs/images/", import.meta.url));
const VIEW = { width: 960, height: 600 };

/** Two people in a room, as the owner sees it. */
async function rooms(it: House, ada: Person, bob: Person): Promise<void> {
  await using owner = await guest();
  await using member = await guest();
  const [a, b] = [owner.page, member.page];
  await a.setViewportSize(VIEW);
  await enter(a, it, ada);
  await createRoom(a, "harbour");
  await createRoom(a, "kitchen");
  await enter(b, it, bob);
  await add(a, await cardFrom(b));
  await accept(b, "kitchen");
  await a.getByRole("log").getByText("has joined.").waitFor();
  const talk: [Page, Page, string][] = [
    [a, b, "Soup is ready"],
    [b, a, "On my way. Is there bread?"],
    [a, b, "Two loaves, from this morning"],
    [b, a, "Then I bring the butter"],
  ];
  for (const [from, to, text] of talk) {
    await say(from, text);
    await line(to, text).waitFor();
  }
  await picture(a, "rooms");
}

/** The overview of a control plane that is used. */
async function overview(it: House, admin: Person): Promise<void> {
  const { store } = it;
  for (let i = 0; i < 240; i++) {
    const keys = { signPub: keyOf(`sign ${i}`), kexPub: keyOf(`kex ${i}`) };
    await store.addUser({ ...keys, handle: `device-${i}` });
  }
  for (let i = 0; i < 30; i++) await room(store, `line-${i}`, admin, []);
  for (let i = 0; i < 6; i++) await store.createInvite({ createdBy: admin.identity.signPub });
  using client = createClient({ url: it.url, identity: admin.identity });
  for (let i = 0; i < 400; i++) await client.me();
  await using one = await guest();
  const { page } = one;
  await page.setViewportSize({ width: 1200, height: 750 });
  await signIn(page, it.url, admin);
  await page.getByRole("img", { name: /^Requests/ }).waitFor();
  await page.getByText("All is well").waitFor();
  await page.getByText("243", { exact: true }).waitFor();
  await picture(page, "console");
}

async function picture(page: Page, name: string): Promise<void> {
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  // Without the room for a scroll bar, which no picture has.
  const width = await page.evaluate(() => document.body.clientWidth);
  const clip = { x: 0, y: 0, width, height: page.viewportSize()!.height };
  await page.screenshot({ path: `${TO}${name}.png`, animations: "disabled", clip });
}

await mkdir(TO, { recursive: true });
try {
  await using it = await house();
  await rooms(it, await it.person("Ada"), await it.person("Bob"));
  await overview(it, await it.person("Cyd", "admin"));
} finally {
  await close();
}
