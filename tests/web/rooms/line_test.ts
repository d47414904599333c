/** The page when its connection is lost, in two tabs of one person, and after a reload. */

import assert from "node:assert/strict";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";
import { cardOf } from "@unibus/membership/client";
import { Links } from "../../faults/chaos/arena/links.ts";
import { readHeader } from "../../../src/sealing/message.ts";
import { until } from "../../cli/serve/kit.ts";
import { freePorts } from "../../helpers/nats.ts";
import { assertLooks, browserTest } from "../browser.ts";
import { assertInside, leftBy, storedBy } from "../traces.ts";
import { createRoom, enter, guest, house, isConnected, isFrom, line, say } from "./kit.ts";

browserTest(
  "what is sent without a connection goes out when it is back; two tabs of one person work",
  async () => {
    // The browser reaches the bus over a link that can be cut.
    const [port, bus] = await freePorts(2) as [number, number];
    await using links = new Links();
    await links.open(0, 1, port, bus);
    await using it = await house(["--ws-port", `${bus}`, "--ws-url", `ws://127.0.0.1:${port}`]);
    const [ada, eve] = [await it.person("Ada"), await it.person("Eve")];
    await using one = await guest();
    const { page, context } = one;
    await enter(page, it, ada, { keep: true });
    await createRoom(page, "kitchen");
    // The link with a card, pasted into the page that is open.
    await page.evaluate((card) => void (location.hash = card), `#card=${cardOf(eve.identity)}`);
    await page.getByRole("button", { name: "Add to kitchen" }).click();
    await page.getByRole("heading", { level: 1, name: "kitchen" }).waitFor();
    await using program = await it.program(eve);
    await using kitchen = await program.join("kitchen", { owner: ada.identity.signPub });
    const heard = kitchen.messages();
    const here: ReadonlySet<string>[] = [];
    void (async () => {
      for await (const change of kitchen.here()) here.push(change.here);
    })();
    // The sessions of Ada's notices; what they say is sealed.
    const notices: string[] = [];
    const authenticator = nkeyAuthenticator(eve.identity.natsSeed());
    const wire = await connect({ servers: it.it.nats, authenticator });
    wire.subscribe(`${kitchen.subject}.here`, {
      callback: (_, { data }) => {
        const { sender, session } = readHeader(data);
        if (sender === ada.identity.signPub) notices.push(session);
      },
    });
    await until(() => notices.length > 0 && here.at(-1)?.size === 2, "notice of the first tab");
    const [own] = notices;

    // Signed in by the key that the browser keeps, which no script can read.
    const other = await context.newPage();
    await other.goto(`${it.url}/rooms#room=kitchen`);
    await isConnected(other);
    await other.getByRole("heading", { level: 1, name: "kitchen" }).waitFor();
    const keys = (await storedBy(other)).match(/^.* key, extractable: .*$/gm);
    assert.deepEqual(keys, Array(2).fill("private key, extractable: false"));
    await say(other, "from the other tab");
    await isFrom(page, "from the other tab", /^Ada \(you\)/);
    assert.equal((await heard.next()).value!.text(), "from the other tab");

    // Two tabs are one person, who is here until both are closed.
    for (const tab of [page, other]) await tab.getByText("2 here", { exact: true }).waitFor();
    const others = () => notices.filter((session) => session !== own).length;
    await until(() => others() > 0, "notice of the other tab");
    const before = others();
    await other.goto("about:blank");
    await until(() => others() > before, "last notice of the tab that is closed");
    await other.close();
    await wire.close();
    await say(page, "still here");
    assert.equal((await heard.next()).value!.text(), "still here");
    await page.getByText("2 here", { exact: true }).waitFor();
    assert.ok(here.slice(here.findIndex(({ size }) => size === 2)).every(({ size }) => size === 2));

    await kitchen.send("before");
    await line(page, "before").waitFor();
    // Open WebSockets outlive the browser's own switch.
    await context.setOffline(true);
    for (const [from, to] of [[0, 1], [1, 0]] as const) links.set(from, to, { cut: true });
    await page.getByText("No connection", { exact: true }).waitFor();
    await page.getByLabel(/^Message to/).fill("are you there?");
    await page.getByRole("button", { name: "Send" }).click();
    await line(page, "are you there?").getByText("Sending …").waitFor();
    await page.getByText("goes out if that happens within a minute").waitFor();
    await page.getByText(/^\d here$/).waitFor({ state: "detached" });
    await assertLooks(page, "rooms-7-offline");
    await kitchen.send("nobody hears this");
    await context.setOffline(false);
    links.heal();
    await line(page, "are you there?").getByText("Sent", { exact: true }).waitFor();
    assert.equal((await heard.next()).value!.text(), "are you there?");
    await kitchen.send("after");
    await page.getByText("sent a message before the one below; it has not arrived.").waitFor();
    await line(page, "after").waitFor();

    // A reload signs in again and begins with an empty room; signing out lasts. A wrong clock is told.
    await page.clock.setSystemTime(Date.now() + 10 * 60_000);
    await page.reload();
    await isConnected(page);
    await page.getByText("There are none from before.").waitFor();
    await page.getByText("10 minutes ahead of the server's").waitFor();
    await assertLooks(page, "rooms-12-clock");
    // Set right while the page is open, the clock does not keep it from the bus.
    await page.clock.setSystemTime(Date.now());
    await page.getByText("10 minutes ahead of the server's").waitFor({ state: "detached" });
    for (const [from, to] of [[0, 1], [1, 0]] as const) links.set(from, to, { cut: true });
    await page.getByText("No connection", { exact: true }).waitFor();
    links.heal();
    await isConnected(page);
    const you = (name: string) => page.getByRole("button", { name: `You: ${name}` });
    const signOut = async () => {
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByRole("heading", { level: 1, name: "Sign in to your rooms" }).waitFor();
    };
    await you("Ada").click();
    await assertLooks(page, "rooms-8-you");
    await signOut();
    await page.reload();
    await page.getByRole("button", { name: "Sign in as Ada" }).waitFor();
    await assertLooks(page, "rooms-0-signin");
    assertInside(await leftBy(one), ada.identity, [ada.identity.signPub, "private key"]);

    // Signing in lasts as well, until two keys are kept: then one chooses.
    await page.getByRole("button", { name: "Sign in as Ada" }).click();
    await isConnected(page);
    await page.reload();
    await you("Ada").click();
    await signOut();
    // A server that is away: with the file that was opened one tries again.
    await page.route("**/v1/me", (route) => route.abort());
    const entering = enter(page, it, eve, { keep: true });
    await page.getByText("The server does not respond.").waitFor();
    await assertLooks(page, "rooms-0-away");
    await page.unroute("**/v1/me");
    const again = page.getByRole("button", { name: "Try again" });
    await again.and(page.locator(":focus")).click();
    await entering;
    await page.reload();
    const forget = page.getByRole("button", { name: "Forget Ada" });
    await forget.waitFor();
    assert.deepEqual(await page.locator(".kept b").allInnerTexts(), ["Eve", "Ada"]);
    await forget.click();
    await page.getByRole("button", { name: "Forget it" }).click();
    await page.getByText("Forget the key of").waitFor({ state: "detached" });
    await page.reload();
    await you("Eve").waitFor();
    await one.assertClean(it.url);
  },
);
