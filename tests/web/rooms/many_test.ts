/// <reference lib="dom" />
/** The page with 2,000 messages, and by keyboard alone. */

import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { cardOf, createIdentity, type OpenRoom } from "@unibus/membership/client";
import { assertFits, assertLooks, browserTest, shoot } from "../browser.ts";
import { accept, enter, guest, house, line } from "./kit.ts";

const COUNT = 2_000;

browserTest("by keyboard alone one makes a room and talks; 2,000 messages scroll", async () => {
  await using it = await house();
  const [ada, eve] = [await it.person("Ada"), await it.person("Eve")];
  await using one = await guest();
  const { page } = one;
  const { keyboard } = page;
  await enter(page, it, ada);
  await tabTo(page, /^button: New room/);
  await keyboard.press("Enter");
  await focusIs(page, /^input: Name/);
  await keyboard.type("hall");
  await keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "hall" }).waitFor();
  await focusIs(page, /^textarea: Message to hall/);
  await keyboard.type("hello");
  await keyboard.press("Shift+Enter");
  await keyboard.type("all");
  await keyboard.press("Enter");
  await line(page, "hello\nall").getByText("Sent", { exact: true }).waitFor();
  await tabTo(page, /^button: People/, "Shift+Tab");
  await keyboard.press("Enter");
  await tabTo(page, /^button: Add a person/);
  await keyboard.press("Enter");
  await focusIs(page, /^input: Card/);
  await keyboard.insertText(cardOf(eve.identity));
  await keyboard.press("Enter");
  await page.getByRole("dialog").getByText("invited, has not joined yet").waitFor();
  await keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await focusIs(page, /^button: People/);

  await using program = await it.program(eve);
  await using hall = await program.join("hall", { owner: ada.identity.signPub });
  const began = performance.now();
  await Promise.all(
    Array.from({ length: COUNT }, (_, i) => hall.send(`message ${i} ${"word ".repeat(i % 40)}`)),
  );
  await line(page, `message ${COUNT - 1} `).waitFor();
  console.log(`${COUNT} messages in ${Math.round(performance.now() - began)} ms`);
  const log = page.getByRole("log");
  const times = await log.evaluate(scroll);
  const sorted = times.toSorted((x, y) => x - y);
  const at = (part: number) => sorted[Math.floor(part * (sorted.length - 1))]!.toFixed(1);
  console.log(
    `scrolling: ${times.length} frames, p50 ${at(0.5)} ms, p95 ${at(0.95)}, most ${at(1)}`,
  );
  assert.ok(times.length > 30 && Number(at(0.5)) < 500, "scrolling stops");
  // However slow the machine is: it lays out what is in sight, not all.
  const [laidOut, blocks] = await log.evaluate((it) => {
    const all = [...it.querySelectorAll(".block")];
    const isLaidOut = ({ firstElementChild: line }: Element) =>
      line!.checkVisibility({ contentVisibilityAuto: true });
    return [all.filter(isLaidOut).length, all.length];
  });
  assert.ok(blocks! > 40 && laidOut! > 0 && laidOut! < 10, `${laidOut} of ${blocks} blocks`);
  // All are there, in their order, and one who has scrolled up stays there.
  const numbers = await log.locator(".text").allTextContents();
  assert.deepEqual(
    numbers.slice(1).map((text) => Number(text.split(" ")[1])),
    Array.from({ length: COUNT }, (_, i) => i),
  );
  const top = await log.evaluate((it) => it.scrollTop = 1000);
  await hall.send("one more");
  await page.getByRole("button", { name: "1 new line" }).waitFor();
  assert.ok(Math.abs(await log.evaluate((it) => it.scrollTop) - top) < 300);
  await page.getByRole("button", { name: "1 new line" }).click();
  await line(page, "one more").waitFor();
  await assertFits(page);
  await shoot(page, "rooms-9-many");

  // In a room of more than 100 members no one says anything.
  const guests = Array.from({ length: 100 }, () => createIdentity());
  for (const { signPub, kexPub } of guests) {
    await it.store.addUser({ signPub, kexPub, handle: "guest" });
  }
  const members = [ada.identity, ...guests].map(cardOf);
  await using town = await program.createRoom({ id: "town", members });
  await accept(page, "town");
  await page.getByRole("button", { name: /^People ?2$/ }).click();
  const tooLarge = page.getByText("does not show who is here: the room has more than 100 members");
  await tooLarge.waitFor();
  await assertLooks(page, "rooms-12-large");
  const said = (room: OpenRoom) =>
    one.frames.some(({ body }) => body.includes(`PUB ${room.subject}.here`));
  assert.deepEqual([said(hall), said(town)], [true, false]);
  await page.getByRole("button", { name: "Close" }).click();
  assert.equal(await page.getByText(/^\d+ here$/).count(), 0);
  await one.assertClean(it.url);
});

/** Scrolls through the whole log; gives the times between frames, milliseconds. */
async function scroll(log: HTMLElement): Promise<number[]> {
  const times: number[] = [];
  const frame = () => new Promise<number>((resolve) => requestAnimationFrame(resolve));
  let last = await frame();
  for (let top = log.scrollHeight; top > 0 && times.length < 400; top -= 300) {
    log.scrollTop = top;
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  return times;
}

/** The kind and name of what has the focus. */
function focus(page: Page): Promise<string> {
  return page.evaluate(() => {
    const it = document.activeElement as HTMLInputElement;
    const label = it.labels?.[0]?.innerText ?? it.ariaLabel ?? it.innerText ?? "";
    return `${it.localName}: ${label.trim()}`;
  });
}

async function focusIs(page: Page, wanted: RegExp): Promise<void> {
  const deadline = performance.now() + 90_000;
  while (!wanted.test(await focus(page))) {
    assert.ok(performance.now() < deadline, `The focus is on ${await focus(page)}, not ${wanted}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function tabTo(page: Page, wanted: RegExp, key = "Tab"): Promise<void> {
  for (let i = 0; i < 100; i++) {
    await page.keyboard.press(key);
    if (wanted.test(await focus(page))) return;
  }
  assert.fail(`${key} never came to ${wanted}, but to ${await focus(page)}`);
}
