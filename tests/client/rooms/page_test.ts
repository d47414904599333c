/** A page and a program in one room: the browser's parts against those of Deno and Node. */

import assert from "node:assert/strict";
import { cardOf, createIdentity, exportIdentity, type Identity } from "../../../src/client/mod.ts";
import { freePorts } from "../../helpers/nats.ts";
import type { News, Order } from "./page_worker.ts";
import { Heard, until, village } from "./village.ts";

/** A page of its own, in a worker. */
class Page implements Disposable {
  readonly #worker = new Worker(new URL("./page_worker.ts", import.meta.url), { type: "module" });
  readonly news: News[] = [];

  constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<News>) => void this.news.push(data);
  }

  /** Has the page do something, and waits until it is done. */
  async does(order: Order): Promise<void> {
    const before = this.news.length;
    this.#worker.postMessage(order);
    const answer = () => this.news.slice(before).find((it) => "done" in it || "failed" in it);
    await until(() => answer() !== undefined, JSON.stringify(Object.keys(order)), 60_000);
    assert.deepEqual(answer(), { done: Object.keys(order)[0] });
  }

  /** Waits until it has heard a text; returns from whom. */
  async heard(text: string): Promise<string> {
    const found = () => this.news.find((it) => "heard" in it && it.heard === text);
    await until(() => found() !== undefined, text, 60_000);
    return (found() as { from: string }).from;
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

Deno.test("a page with keys of Web Crypto, over a WebSocket, talks with a program", async () => {
  const [port] = await freePorts(1);
  const extra = `websocket { host: "127.0.0.1", port: ${port}, no_tls: true }`;
  await using it = await village({ extra });
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    it.fetch,
  );
  const site = `http://127.0.0.1:${server.addr.port}/`;
  const servers = [`ws://127.0.0.1:${port}`];
  const open = async (page: Page, identity: Identity) => {
    await it.person(identity);
    await page.does({ open: { site, servers, file: exportIdentity(identity) } });
  };
  using adasPage = new Page();
  using evesPage = new Page();
  const [ada, eve, bob] = [createIdentity(), createIdentity(), await it.person()];
  await open(adasPage, ada);
  await open(evesPage, eve);

  // The page seals the keys, a program and another page open them.
  const members = [cardOf(bob.identity), cardOf(eve)];
  await adasPage.does({ create: { id: "kitchen", members } });
  await evesPage.does({ join: "kitchen" });
  const room = await (await bob.rooms()).join("kitchen", { owner: ada.signPub });
  const heard = new Heard(room);
  await room.send("from the program");
  assert.equal(await adasPage.heard("from the program"), bob.identity.signPub);
  await adasPage.does({ send: "from the page" });
  assert.equal((await heard.heard("from the page")).sender, ada.signPub);
  assert.equal(await evesPage.heard("from the page"), ada.signPub);

  // A new key, sealed by the page.
  await adasPage.does({ remove: eve.signPub });
  await until(() => room.epoch === 2, "the new key");
  await room.send("without eve");
  await adasPage.heard("without eve");
  await until(() => evesPage.news.some((it) => "ended" in it && it.ended === "removed"), "the end");
  assert.ok(!evesPage.news.some((it) => "heard" in it && it.heard === "without eve"));

  // The other way round: the program seals.
  const hall = await (await bob.rooms()).createRoom({ id: "hall", members: [cardOf(ada)] });
  await adasPage.does({ join: "hall" });
  const heardInHall = new Heard(hall);
  await adasPage.does({ send: "in the hall" });
  assert.equal((await heardInHall.heard("in the hall")).epoch, 1);
  assert.deepEqual(bob.problems, []);
});
