/** What the invite page says when it does not go on, in a real browser. */

import assert from "node:assert/strict";
import { createIdentity, exportIdentity } from "@unibus/membership/client";
import { assertLooks, browserTest, visit } from "../browser.ts";
import { goThrough, heading, scene } from "../join.ts";
import { site } from "../site.ts";

browserTest(
  "no link, and one that lost a part, have pages where it can be pasted",
  () =>
    scene(async (it, _, page) => {
      await page.goto(`${it.url}/join`);
      await heading(page, "Open your invite link");
      await assertLooks(page, "x-no-link");
      const { link, token } = await it.invite();
      await page.goto("about:blank");
      await page.goto(link.slice(0, -5));
      await heading(page, "This invite link is damaged");
      assert.equal(page.url(), `${it.url}/join`);
      await assertLooks(page, "x-mistyped");
      await page.getByLabel("Invite link").fill("hello");
      await page.getByRole("button", { name: "Continue" }).click();
      await page.getByText("This is not a whole invite link").waitFor();
      await page.getByLabel("Invite link").fill(`  ${link.replace(token, token.toUpperCase())}\n`);
      await page.keyboard.press("Enter");
      await heading(page, "You are invited to unibus");
      assert.equal(page.url(), `${it.url}/join`);
    }),
);

browserTest(
  "an invite that is unknown, used, expired or canceled has a page that says so",
  () =>
    scene(async (it, one) => {
      const used = await it.invite();
      const { signPub, kexPub } = createIdentity();
      await it.store.consumeInvite(used.token, { signPub, kexPub, handle: "Eve" });
      const canceled = await it.invite();
      await it.store.cancelInvite(canceled.id);
      const cases: [link: string, title: string, shot: string][] = [
        [`${it.url}/join#${"ab".repeat(32)}`, "This server does not know the invite", "x-unknown"],
        [used.link, "This invite has been used", "x-used"],
        [(await it.invite({ expiresIn: 1 })).link, "This invite has expired", "x-expired"],
        [canceled.link, "This invite was canceled", "x-canceled"],
      ];
      const { page } = one;
      for (const [link, title, shot] of cases) {
        await page.goto("about:blank");
        await page.goto(link);
        await heading(page, title);
        await assertLooks(page, shot);
      }
      // It was asked before anything was made, and nothing else was.
      const asked = one.sent.filter(({ method }) => method === "POST");
      assert.deepEqual(asked.map(({ url }) => new URL(url).pathname), [
        ...cases.map(() => "/v1/register/check"),
      ]);
    }),
);

browserTest(
  "an invite that somebody else uses meanwhile is told, and the keys that were made are kept",
  () =>
    scene(async (it, _, page) => {
      const { link, token } = await it.invite();
      await page.goto(link);
      await heading(page, "You are invited to unibus");
      const { signPub, kexPub } = createIdentity();
      await it.store.consumeInvite(token, { signPub, kexPub, handle: "Eve" });
      await goThrough(page);
      await heading(page, "This invite has been used");
      await page.goto(`${it.url}/rooms`);
      await page.getByLabel("Key file", { exact: true }).waitFor();
      assert.equal(await page.getByRole("button", { name: "Sign in as Ada" }).count(), 0);
      await page.goto((await it.invite()).link);
      // No second file has to be saved.
      await heading(page, "Continue where you left off");
      await assertLooks(page, "5-resume");
      await page.getByRole("button", { name: "Join as Ada" }).click();
      await heading(page, "Welcome, Ada");
    }),
);

browserTest(
  "the arrival page names the file with the keys, also after a reload",
  () =>
    scene(async (it, _, page) => {
      await page.goto((await it.invite()).link);
      await page.getByRole("button", { name: "I already have a key file" }).click();
      await page.getByLabel("Key file").setInputFiles({
        name: "my-keys.json",
        mimeType: "application/json",
        buffer: Buffer.from(exportIdentity(createIdentity())),
      });
      await page.getByLabel("Your name").fill("Ada");
      await page.getByRole("button", { name: "Join" }).click();
      await heading(page, "Welcome, Ada");
      await page.getByText("chmod 600 my-keys.json").waitFor();
      await page.reload();
      await heading(page, "Welcome, Ada");
      await page.getByText("chmod 600 my-keys.json").waitFor();
    }),
);

browserTest(
  "who is registered is told, and keeps the invite for somebody else",
  () =>
    scene(async (it, _, page) => {
      const first = await it.invite({ role: "admin" });
      await page.goto(first.link);
      await goThrough(page);
      await heading(page, "Welcome, Ada");
      await page.getByRole("link", { name: "Open the console" }).waitFor();
      await assertLooks(page, "4-done-admin");
      const { link, id, token } = await it.invite();
      await page.goto("about:blank");
      await page.goto(link);
      await heading(page, "You are already registered");
      await assertLooks(page, "x-already");
      assert.equal((await it.store.getInvite(id)).usedAt, null);
      await page.getByRole("button", { name: "Join as someone else" }).click();
      await heading(page, "You are invited to unibus");
      // Not by the link that one used oneself.
      await page.goto("about:blank");
      await page.goto(first.link);
      await heading(page, "You are already registered");
      await page.getByText("The invite can no longer be used.").waitFor();
      assert.equal(await page.getByRole("button", { name: "Join as someone else" }).count(), 0);
      // Without a link the page tells who one is.
      await page.goto("about:blank");
      await page.goto(`${it.url}/join`);
      await heading(page, "Welcome, Ada");
      // A link pasted into the same tab is noticed, too.
      await page.evaluate((token) => location.hash = token, token);
      await heading(page, "You are already registered");
      assert.equal(page.url(), `${it.url}/join`);
    }),
);

browserTest(
  "keys whose access was taken are told so, and a file that is no key file",
  () =>
    scene(async (it, _, page) => {
      const { link } = await it.invite();
      const identity = createIdentity();
      await it.store.addUser({ ...identity, handle: "Rex" });
      await it.store.addUser({ ...createIdentity(), handle: "Boss", role: "admin" });
      await it.store.revokeUser(identity.signPub);
      await page.goto(link);
      await page.getByRole("button", { name: "I already have a key file" }).click();
      const choose = (text: string) =>
        page.getByLabel("Key file").setInputFiles({
          name: "k.json",
          mimeType: "application/json",
          buffer: Buffer.from(text),
        });
      await choose('{"format":"unibus-identity","version":9}');
      await page.getByText("has a newer version").waitFor();
      await choose("<html>");
      await page.getByText("This is not a key file").waitFor();
      await assertLooks(page, "x-no-key-file");
      await choose(exportIdentity(identity));
      await page.getByLabel("Your name").fill("Rex");
      await page.getByRole("button", { name: "Join" }).click();
      await heading(page, "These keys no longer have access");
      await assertLooks(page, "x-revoked");
    }),
);

browserTest("over plain HTTP from elsewhere no keys are made, and the page says why", async () => {
  await using it = await site();
  await using one = await visit();
  const url = it.url.replace("127.0.0.1", "bus.test");
  await one.page.goto((await it.invite()).link.replace(it.url, url));
  await heading(one.page, "This connection is not secure");
  assert.equal(one.page.url(), `${url}/join`, "the token is out of the address bar all the same");
  await assertLooks(one.page, "x-insecure");
  await one.assertClean(url);
});

browserTest(
  "a browser that cannot make the keys is told so, and the invite stays good",
  async () => {
    await using it = await site();
    await using one = await visit();
    await one.context.addInitScript(() => {
      const { subtle } = crypto;
      const plain = subtle.generateKey.bind(subtle) as (...args: unknown[]) => unknown;
      Object.defineProperty(subtle, "generateKey", {
        value: (algorithm: unknown, ...rest: unknown[]) =>
          algorithm === "X25519"
            ? Promise.reject(new DOMException("no", "NotSupportedError"))
            : plain(algorithm, ...rest),
      });
    });
    await one.page.goto((await it.invite()).link);
    await heading(one.page, "This browser is too old");
    await assertLooks(one.page, "x-old");
    await one.assertClean(it.url);
  },
);

browserTest(
  "where the browser keeps nothing, one gets in all the same and is told",
  () =>
    scene(async (it, one, page) => {
      await one.context.addInitScript(() => {
        IDBFactory.prototype.open = () => {
          throw new DOMException("no", "SecurityError");
        };
      });
      await page.goto((await it.invite()).link);
      await goThrough(page);
      await heading(page, "Welcome, Ada");
      await page.getByText("This browser does not store keys").waitFor();
      await assertLooks(page, "4-done-private");
    }),
);

browserTest("without JavaScript the page says what is missing", async () => {
  await using it = await site();
  await using one = await visit({}, { javaScriptEnabled: false });
  await one.page.goto((await it.invite()).link);
  await heading(one.page, "This page needs JavaScript");
});
