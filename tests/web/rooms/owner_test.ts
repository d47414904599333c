/// <reference lib="dom" />
/** A room that changes its owner: in the browsers of both, and of one who was away. */

import { cardOf } from "@unibus/membership/client";
import { assertLooks, browserTest } from "../browser.ts";
import { accept, add, createRoom, enter, guest, house, line, say } from "./kit.ts";

browserTest(
  "an owner hands its room over, an admin gives it away: members are told of the one, and asked about the other",
  async () => {
    await using it = await house();
    const [ada, bob, eve] = [
      await it.person("Ada"),
      await it.person("Bob"),
      await it.person("Eve"),
    ];
    await using owners = await guest();
    await using members = await guest({ screen: "phone" });
    const [a, b] = [owners.page, members.page];
    const people = (page: typeof a) => page.getByRole("button", { name: /^People/ }).click();
    const close = (page: typeof a) => page.getByRole("button", { name: "Close" }).click();
    const handOver = async (page: typeof a, name: string) => {
      await people(page);
      await page.getByRole("button", { name: `Hand the room over to ${name}` }).click();
      if (name === "Bob") await assertLooks(page, "rooms-10-hand-over");
      await page.getByRole("dialog").getByRole("button", { name: "Hand the room over" }).click();
    };
    const isTold = (page: typeof a, name: string) =>
      page.getByRole("log").getByText(`${name} is the owner of this room now`).waitFor();
    await enter(a, it, ada);
    await createRoom(a, "kitchen");
    await add(a, cardOf(bob.identity));
    await enter(b, it, bob);
    await accept(b, "kitchen");

    // One whom someone else added and who has no key.
    const { signPub, kexPub } = eve.identity;
    await it.store.addMember("kitchen", { endpoint: signPub, kexPub });
    await it.store.joinRoom("kitchen", signPub);
    await handOver(a, "Eve");
    await a.getByText("This member cannot become the owner yet").waitFor();
    await a.getByRole("button", { name: "Cancel" }).click();
    await close(a);

    await handOver(a, "Bob");
    await a.getByRole("button", { name: "Leave the room" }).waitFor();
    await close(a);
    await isTold(a, "Bob");
    await isTold(b, "Bob (you)");
    await people(b);
    await b.getByRole("button", { name: "Remove Eve" }).click();
    await b.getByRole("dialog").getByRole("button", { name: "Remove", exact: true }).click();
    await b.getByRole("button", { name: "Add a person" }).waitFor();
    await close(b);
    await say(b, "under the key of the new owner");
    await line(a, "under the key of the new owner").waitFor();

    // A person of one room is found by name for another.
    await createRoom(a, "hall");
    await people(a);
    await a.getByRole("button", { name: "Add a person" }).click();
    await a.getByLabel("Find by name").fill("zoe");
    await a.getByText("No one in your other rooms has this name or key.").waitFor();
    await a.getByLabel("Find by name").fill("bo");
    await a.getByText(bob.identity.signPub.slice(0, 4)).first().waitFor();
    await a.getByLabel("Find by name").press("Enter");
    await a.getByRole("button", { name: "Add Bob" }).click();
    await b.getByRole("link", { name: "All rooms" }).click();
    await accept(b, "hall");
    await b.getByRole("link", { name: "All rooms" }).click();
    await b.getByRole("link", { name: /kitchen/ }).click();

    // One who was away learns it afterwards.
    await a.goto("about:blank");
    await handOver(b, "Ada");
    await b.getByRole("button", { name: "Leave the room" }).waitFor();
    await close(b);
    await isTold(b, "Ada");
    await enter(a, it, ada);
    await a.getByRole("link", { name: /kitchen/ }).click();
    await isTold(a, "Ada (you)");

    // An admin gives the room of a revoked owner to another: that is no statement of the owner's.
    await add(a, cardOf(eve.identity));
    await it.store.joinRoom("kitchen", signPub);
    await it.store.revokeUser(ada.identity.signPub);
    await it.store.changeRoomOwner("kitchen", signPub);
    await a.getByText("Your access to this server was revoked.").waitFor();
    const question = b.getByRole("dialog", { name: "Has the owner changed?" });
    for (const name of ["Ada", "Eve"]) await question.getByText(name, { exact: true }).waitFor();
    await assertLooks(b, "rooms-11-new-owner");
    await question.getByRole("button", { name: "Do not accept" }).click();
    await b.getByRole("log").getByText("Reload this page to be asked again.").waitFor();
    await question.waitFor({ state: "detached" });
    await enter(b, it, bob);
    await question.getByRole("button", { name: "Accept the new owner" }).click();
    await b.getByRole("link", { name: /kitchen/ }).click();
    await isTold(b, "Eve");
    await say(b, "I asked Eve");

    // A room that the server shows as it was before: said to a screen reader too, and opened by the card.
    await b.evaluate(async (signPub) => {
      const asked = indexedDB.open("unibus-rooms");
      const done = (it: IDBRequest) => new Promise((resolve) => it.onsuccess = resolve);
      await done(asked);
      const memory = asked.result.transaction("memory", "readwrite").objectStore("memory");
      await done(memory.put("99", [signPub, "epoch hall"]));
      asked.result.close();
    }, bob.identity.signPub);
    await enter(b, it, bob);
    await b.getByRole("link", { name: /hall/ }).click();
    await b.getByRole("status").getByText("The server shows an older state").waitFor();
    await b.getByRole("button", { name: "Start over with hall" }).click();
    await assertLooks(b, "rooms-12-start-over");
    await b.getByLabel("Card of the owner").fill(cardOf(ada.identity));
    await b.getByRole("button", { name: "Start over", exact: true }).click();
    await b.getByRole("dialog").waitFor({ state: "detached" });
    await say(b, "Ada sent me her card");
    await owners.assertClean(it.url);
    await members.assertClean(it.url);
  },
);
