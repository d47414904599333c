/** The invite page when the network, the server or the clock fails: nothing is lost. In a real browser. */

import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { assertLooks, browserTest } from "../browser.ts";
import { goThrough, heading, scene } from "../join.ts";

browserTest("the network may die at any point: the next try ends well", async () => {
  let lost: "answer" | "request" | null = null;
  await scene(async (it, _, page) => {
    const { link, id } = await it.invite();
    await page.goto(link);
    lost = "request";
    await goThrough(page);
    await heading(page, "The server does not respond");
    await assertLooks(page, "x-unreachable");
    assert.equal((await it.store.getInvite(id)).usedAt, null);
    lost = "answer";
    await page.getByRole("button", { name: "Try again" }).click();
    await heading(page, "The server does not respond");
    assert.notEqual((await it.store.getInvite(id)).usedAt, null, "the server took the claim");
    lost = null;
    await page.getByRole("button", { name: "Try again" }).click();
    await heading(page, "Welcome, Ada");
  }, {
    before: (request) => lost === "request" && isClaim(request) ? cut() : null,
    after: (request, response) => lost === "answer" && isClaim(request) ? cut() : response,
  });
});

browserTest(
  "when the page dies after the server took the claim, opening it again shows that one is in",
  async () => {
    let isLost = true;
    await scene(async (it, _, page) => {
      const { link } = await it.invite();
      await page.goto(link);
      await goThrough(page);
      await heading(page, "The server does not respond");
      isLost = false;
      await page.goto("about:blank");
      await page.goto(link);
      await heading(page, "You are already registered");
      await page.getByRole("button", { name: "Show next steps" }).click();
      await heading(page, "Welcome, Ada");
    }, { after: (request, response) => isLost && isClaim(request) ? cut() : response });
  },
);

/** An answer that breaks off: to the browser it is none. */
function cut(): Response {
  const body = new ReadableStream({
    start: (controller) => controller.error(new Error("cut off")),
  });
  return new Response(body, { headers: { "content-length": "10" } });
}

function isClaim(request: Request): boolean {
  // While it is lost, the look at who one is gets no answer either.
  return /\/v1\/(register|me)$/.test(request.url);
}

browserTest(
  "a wrong clock is put right by the server's, and told where that does not help",
  async () => {
    const hour = 3_600_000;
    await scene(async (it, _, page) => {
      await page.clock.setFixedTime(Date.now() - hour);
      await page.goto((await it.invite()).link);
      await goThrough(page);
      await heading(page, "Welcome, Ada");
    });
    // A server whose Date is not the time it judges by, as behind a proxy that is off.
    await scene(async (it, _, page) => {
      await page.goto((await it.invite()).link);
      await goThrough(page);
      await heading(page, "Your clock is wrong");
      await assertLooks(page, "x-clock");
    }, { clock: () => new Date(Date.now() + hour) });
  },
);

browserTest(
  "too many tries, a busy server, a name it does not know, another's answer: each is told",
  async () => {
    const later = (page: Page) => page.getByRole("button", { name: /^Try again/ });
    await scene(async (it, _, page) => {
      await page.goto(`${it.url}/join#${"ab".repeat(32)}`);
      await heading(page, "This server does not know the invite");
      await page.getByLabel("Invite link").fill((await it.invite()).link);
      await page.getByRole("button", { name: "Continue" }).click();
      await heading(page, "Too many requests");
      assert.match(await later(page).innerText(), /in \d+ s/);
      assert.equal(await later(page).getAttribute("aria-disabled"), "true");
      await assertLooks(page, "x-busy");
    }, { registrationsPerMinute: 1 });

    await scene(async (it, _, page) => {
      await page.goto((await it.invite()).link);
      await goThrough(page);
      await heading(page, "Unknown server address");
      await assertLooks(page, "x-address");
    }, { authorities: ["bus.example.org"] });

    let answer: Response | null = null;
    const isAsked = (request: Request) => request.url.endsWith("/v1/register") ? answer : null;
    await scene(async (it, one, page) => {
      answer = new Response("<html>Log in to the Wi-Fi</html>", { status: 200 });
      await page.goto((await it.invite()).link);
      await goThrough(page);
      await heading(page, "Unexpected response");
      await assertLooks(page, "x-foreign");
      const problem = (status: number, code: string) =>
        Response.json({ code, status, title: "t", requestId: "r-1" }, { status });
      answer = problem(503, "unavailable");
      await later(page).click();
      await heading(page, "The server is not available");
      await assertLooks(page, "x-unavailable");
      answer = problem(500, "internal");
      await later(page).click();
      await heading(page, "The request failed");
      await page.getByText("For the admin").click();
      await page.getByText("Request r-1").waitFor();
      await assertLooks(page, "x-refused");
      answer = null;
      await later(page).click();
      await heading(page, "Welcome, Ada");
      await one.assertClean(it.url);
    }, { before: isAsked });
  },
);
