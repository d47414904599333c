/** The front page and the documentation: what they show, and a request that one can try. */

import assert from "node:assert/strict";
import { GROUPS, ROUTES } from "../../src/http/routes.ts";
import { testPlane } from "../http/kit.ts";
import { person } from "../helpers/sqlite.ts";
import { assertLooks, browserTest } from "./browser.ts";
import { goThrough, heading, scene } from "./join.ts";

const hrefs = (text: string) =>
  [...text.matchAll(/<a class="button [^"]*" href="([^"]+)"/g)].map(([, href]) => href);

Deno.test("the front page leads to the pages that the server has, below its base, without a script", async () => {
  await using it = await testPlane({ basePath: "/bus" });
  const { text, headers } = await it.ask("GET /bus/");
  assert.deepEqual(hrefs(text), ["/bus/rooms", "/bus/join", "/bus/console", "/bus/docs"]);
  assert.match(text, /<a class="button primary"(?![^]*class="button primary")/);
  assert.doesNotMatch(text, /<script|<style| style=|notice/);
  assert.match(headers.get("content-security-policy")!, /default-src 'none'.*connect-src 'self';/);
  const [, style] = /<link rel="stylesheet" href="([^"]+)"/.exec(text)!;
  assert.equal((await it.ask(`GET ${style}`)).status, 200);

  await using bare = await testPlane({ pages: { join: false, rooms: false, console: false } });
  const other = await bare.ask("GET /");
  assert.deepEqual(hrefs(other.text), ["/docs"]);
  assert.equal((await bare.ask(`GET ${style!.replace("/bus", "")}`)).status, 200);
});

Deno.test("the front page warns where signatures are not required", async () => {
  for (const busAuth of ["off", "soft"] as const) {
    await using it = await testPlane({ busAuth });
    assert.match(
      (await it.ask("GET /")).text,
      /anyone who can reach this server can do everything/,
    );
  }
});

Deno.test("the documentation has every route once, in groups, and names the requests to try", async () => {
  await using it = await testPlane();
  const { text } = await it.ask("GET /docs");
  const ids = [...text.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id!);
  assert.deepEqual(ids.filter((id, i) => ids.indexOf(id) !== i), []);
  for (const { id } of [...ROUTES, ...GROUPS]) assert.ok(ids.includes(id), id);
  for (const [, target] of text.matchAll(/href="#([^"]+)"/g)) {
    assert.ok(ids.includes(target!), `#${target}`);
  }
  assert.match(text, /or as\s+<code>sort<\/code>/);
  assert.match(text, /all rooms with\s+<code>all=true<\/code>/);
  const [, paths] = /data-paths="([^"]+)"/.exec(text)!;
  const tried = paths!.split(" ");
  assert.deepEqual(tried.slice(0, 2), ["/healthz", "/v1/me"]);
  assert.equal(new Set(tried).size, tried.length);
  // One that waits, or needs more than its path, would show nothing.
  assert.ok(!tried.includes("/v1/changes") && !tried.some((path) => path.includes("{")));
});

browserTest(
  "from the front page one joins, and tries a request signed by the keys of this browser",
  () =>
    scene(async (it, _, page) => {
      await page.goto(it.url);
      await heading(page, "End-to-end encrypted messages");
      await assertLooks(page, "front");
      await page.getByRole("link", { name: "Join" }).click();
      await heading(page, "Open your invite link");
      const owner = person("bob");
      await it.store.addUser(owner);
      await it.store.createRoom({
        id: "kitchen",
        subject: "room.kitchen",
        encrypted: false,
        owner: { endpoint: owner.signPub, kexPub: owner.kexPub },
      });
      await page.getByLabel("Invite link").fill((await it.invite({ room: "kitchen" })).link);
      await page.getByRole("button", { name: "Continue" }).click();
      await page.getByText("The invite is for the room kitchen").waitFor();
      await goThrough(page);
      await heading(page, "Welcome, Ada");
      await page.getByText("You are invited to the room kitchen").waitFor();
      const rooms = page.getByRole("link", { name: "Open your rooms" });
      await rooms.waitFor();
      assert.equal(await rooms.getAttribute("href"), "rooms");

      // What is sent before the keys are read is signed too.
      await page.addInitScript(() => {
        const { promise, resolve } = Promise.withResolvers<void>();
        addEventListener("go-on", () => resolve());
        const { set } = Object.getOwnPropertyDescriptor(IDBTransaction.prototype, "oncomplete")!;
        Object.defineProperty(IDBTransaction.prototype, "oncomplete", {
          set(this: IDBTransaction, then: (event: Event) => void) {
            set!.call(this, (event: Event) => void promise.then(() => then(event)));
          },
        });
      });
      await page.goto(`${it.url}/docs`);
      await page.getByText("Reading which keys this browser keeps …").waitFor();
      await page.getByLabel("Request", { exact: true }).selectOption("/v1/me");
      await page.getByRole("button", { name: "Send" }).click();
      await page.evaluate(() => void dispatchEvent(new Event("go-on")));
      await page.getByText("Signed as Ada").waitFor();
      assert.equal(await page.getByText("needs no signature").count(), 0);
      const answer = page.getByLabel("Answer", { exact: true });
      await answer.getByText("Ada").waitFor();
      assert.equal(JSON.parse(await answer.innerText()).user.handle, "Ada");
      await assertLooks(page, "docs");
      await page.getByLabel("Request", { exact: true }).selectOption("/v1/users");
      await page.getByRole("button", { name: "Send" }).click();
      await page.getByText(/^forbidden: /).waitFor();
    }),
);
