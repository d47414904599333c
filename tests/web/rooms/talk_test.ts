/** Two browsers and a program in one room: they talk, one of them is removed, and no private key leaves. */

import assert from "node:assert/strict";
import { cardOf } from "@unibus/membership/client";
import { assertLooks, browserTest } from "../browser.ts";
import { assertInside, leftBy } from "../traces.ts";
import { until } from "../../client/rooms/village.ts";
import { accept, add, cardFrom, createRoom, enter, guest, house } from "./kit.ts";
import { isFrom, lacks, line, say } from "./kit.ts";

browserTest(
  "two browsers and a program talk in a room; one who is removed cannot read what follows",
  async () => {
    await using it = await house();
    const [ada, bob, eve] = [
      await it.person("Ada"),
      await it.person("Bob"),
      await it.person("Eve"),
    ];
    await using owners = await guest();
    await using members = await guest({ screen: "phone", scheme: "dark" });
    const [a, b] = [owners.page, members.page];
    await enter(a, it, ada);
    await a.getByRole("heading", { level: 1, name: "Join a room" }).waitFor();
    await assertLooks(a, "rooms-1-empty");
    await createRoom(a, "kitchen");
    await enter(b, it, bob);
    await add(a, await cardFrom(b));
    await add(a, cardOf(eve.identity));
    await assertLooks(b, "rooms-2-offer");
    await accept(b, "kitchen");
    await using program = await it.program(eve);
    await using kitchen = await program.join("kitchen", { owner: ada.identity.signPub });
    const heard = kitchen.messages();
    let here: ReadonlySet<string> = new Set();
    void (async () => {
      for await (const change of kitchen.here()) ({ here } = change);
    })();
    for (const page of [a, b]) await page.getByText("3 here", { exact: true }).waitFor();
    await until(() => here.size === 3, "both and the program");

    await say(a, "soup is ready");
    await line(b, "soup is ready").waitFor();
    assert.equal((await heard.next()).value!.text(), "soup is ready");
    await say(b, "on my way\nwith \u202Ebread", "on my way");
    await line(a, "with ⟨202E⟩bread").waitFor();
    assert.equal((await heard.next()).value!.sender, bob.identity.signPub);
    await kitchen.send("<b>is there salt?</b>");
    await kitchen.send(Uint8Array.of(0xff, 0xfe));
    for (const page of [a, b]) {
      await line(page, "<b>is there salt?</b>").waitFor();
      await line(page, "A message that is not text (2 bytes)").waitFor();
      await isFrom(page, "is there salt", /^Eve\b/);
    }
    await assertLooks(a, "rooms-3-talk");

    // Who is in, and what the owner can do.
    await a.getByRole("button", { name: /^People/ }).click();
    for (const name of ["Ada (you)", "Bob", "Eve"]) {
      await a.getByRole("dialog").getByText(name).first().waitFor();
    }
    const bobsRow = a.getByRole("dialog").getByRole("listitem").filter({ hasText: "Bob" });
    await bobsRow.getByText("here now", { exact: true }).waitFor();
    await assertLooks(a, "rooms-4-people");
    await a.getByRole("button", { name: "Remove Bob" }).click();
    await assertLooks(a, "rooms-5-remove");
    await a.getByRole("dialog").getByRole("button", { name: "Remove", exact: true }).click();
    await a.getByRole("button", { name: "Add a person" }).waitFor();
    await a.getByRole("button", { name: "Close" }).click();
    await say(a, "bob must not read this");
    assert.equal((await heard.next()).value!.text(), "bob must not read this");
    await b.getByText("You are no longer a member of this room.").waitFor();
    await lacks(b, "bob must not read this");
    await a.getByRole("log").getByText("is no longer a member.").waitFor();
    await a.getByText("2 here", { exact: true }).waitFor();
    await assertLooks(b, "rooms-6-removed");

    // Invited again, he reads on where he was.
    await add(a, cardOf(bob.identity));
    const again = b.getByRole("main").getByRole("button", { name: "Join kitchen" });
    await again.waitFor();
    await assertLooks(b, "rooms-6-again");
    await again.click();
    await b.getByRole("log").getByText("You are a member again.").waitFor();
    await say(a, "welcome back");
    assert.equal((await heard.next()).value!.text(), "welcome back");
    await line(b, "welcome back").waitFor();
    await line(b, "soup is ready").waitFor();
    await it.store.removeMember("kitchen", bob.identity.signPub);
    await b.getByRole("button", { name: "Close the room" }).click();
    await b.getByRole("heading", { level: 1, name: "Join a room" }).waitFor();

    for (const [one, who] of [[owners, ada], [members, bob]] as const) {
      await one.assertClean(it.url);
      const present = [who.identity.signPub, "CONNECT {", "PUB room."];
      assertInside(await leftBy(one), who.identity, present);
    }

    // A page that is closed says so: without that, she would be here for up to 75 seconds.
    await until(() => here.size === 2, "the owner and the program");
    await a.goto(`${it.url}/rooms`);
    await until(() => here.size === 1, "the program alone");
    assert.ok(here.has(eve.identity.signPub));
    // A key is kept only where its person wants that.
    await a.getByLabel("Key file", { exact: true }).waitFor();
    assert.equal(await a.getByText("With a key in this browser").count(), 0);
    await owners.assertClean(it.url);
  },
);
