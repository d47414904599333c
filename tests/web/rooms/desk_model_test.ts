/// <reference lib="dom" />
/** All that one who is signed in sees and does, against a real control plane and its bus. */

import assert from "node:assert/strict";
import { cardOf, createIdentity, StoreError } from "@unibus/membership/client";
import type { ControlPlaneNode } from "../../../src/core/operations.ts";
import { secretsOf } from "../../../src/keys/identity.ts";
import { type Api, apiOf } from "../../../src/web/rooms/api.ts";
import { openBus } from "../../../src/web/rooms/bus.ts";
import { Desk } from "../../../src/web/rooms/model/desk.ts";
import type { Line } from "../../../src/web/rooms/model/lines.ts";
import type { Talk } from "../../../src/web/rooms/model/talk.ts";
import { type Keys, keysOf } from "../../../src/web/shared/keys.ts";
import { type Person, until, type Village, village } from "../../client/rooms/village.ts";
import { freePorts } from "../../helpers/nats.ts";

/** What a desk needs of its page. */
const page = Object.assign(new EventTarget(), { visibilityState: "visible" });
Object.assign(globalThis, { document: page });

/** A village whose bus takes browsers, and desks in it. */
interface Place extends Village {
  /** Answers in place of the control plane where it gives something. */
  before: () => Response | null;
  /** The keys of a person's page, and its calls. */
  signIn(who: Person): Promise<{ keys: Keys; api: Api }>;
  /** Opens the desk of a person; `change` replaces calls. */
  desk(who: Person, change?: (api: Api) => Partial<Api>): Promise<Desk>;
}

function deskTest(name: string, run: (it: Place) => Promise<void>): void {
  Deno.test({
    name,
    // A WebSocket that was closed is waited for a second.
    sanitizeOps: false,
    async fn() {
      const [port] = await freePorts(1);
      const extra = `websocket { host: "127.0.0.1", port: ${port}, no_tls: true }`;
      await using stack = new AsyncDisposableStack();
      const it = stack.use(await village({ extra, monitoringPort: -1 }));
      const nodes = [{ wsUrls: [`ws://127.0.0.1:${port}`] }] as ControlPlaneNode[];
      const place: Place = Object.assign(it, {
        before: () => null,
        async signIn({ identity }: Person) {
          const keys = await keysOf(secretsOf(identity));
          const api = apiOf(keys, `http://127.0.0.1:${server.addr.port}/`);
          return { keys, api: { ...api, nodes: () => Promise.resolve({ nodes }) } };
        },
        async desk(who: Person, change: (api: Api) => Partial<Api> = () => ({})) {
          const { keys, api } = await place.signIn(who);
          const user = await it.store.getUser(keys.signPub);
          const calls = { ...api, ...change(api) };
          const desk = new Desk(
            { keys, user, waitingFor: [], api: calls },
            { memory: who.memory, isKept: true },
          );
          stack.defer(() => desk.close());
          return desk;
        },
      });
      const server = stack.use(Deno.serve(
        { port: 0, hostname: "127.0.0.1", onListen: () => {} },
        (request) => place.before() ?? place.fetch(request),
      ));
      await run(place);
    },
  });
}

/** Waits until a room is open on a desk. */
async function opened(desk: Desk, id: string): Promise<Talk> {
  await until(() => desk.talks.get(id)?.state.is === "open", `${id} open`);
  return desk.talks.get(id)!;
}

const AGAIN = "You are a member again. Messages from the time in between are not shown.";
const textOf = (line: Line) =>
  line.is === "note" ? line.text : "text" in line.body ? line.body.text : "";

const notFound = { code: "not_found" };

deskTest(
  "what one does is on the desk at once, and lists from before do not undo it",
  async (it) => {
    const [ada, bob] = [await it.person(), await it.person()];
    const bobs = await bob.rooms();
    for (const id of ["hall", "attic"]) {
      await bobs.createRoom({ id, members: [cardOf(ada.identity)] });
    }
    const { signPub } = ada.identity;
    await it.store.createRoom({
      id: "open",
      subject: "room.open",
      encrypted: false,
      owner: { endpoint: signPub, kexPub: ada.identity.kexPub },
    });
    let held: PromiseWithResolvers<void> | null = null;
    let late = 0;
    const desk = await it.desk(ada, (api) => ({
      async *rooms(query) {
        const found = await Array.fromAsync(api.rooms(query));
        // Both have been read then.
        if (query?.accepted === false && held !== null) {
          late++;
          await held.promise;
        }
        yield* found;
      },
      // The room has noticed it when the answer comes.
      async deleteRoom(id) {
        await api.deleteRoom(id);
        await desk.talks.get(id)!.room.refresh();
      },
    }));
    /** Does something while lists are under way that were read before. */
    const meanwhile = async (work: () => Promise<void>) => {
      held = Promise.withResolvers();
      const before = late;
      const reading = desk.refresh();
      await until(() => late > before, "the lists");
      await work();
      const { resolve } = held;
      held = null;
      resolve();
      await reading;
    };
    let kitchen!: Talk;
    await assert.rejects(desk.create({ id: "kitchen" }), /There is no connection yet/);
    await until(() => desk.link.is === "up" && desk.offers.length === 2, "the offers");
    const isOpen = () => assert.deepEqual([kitchen.state.is, kitchen.isOwn], ["open", true]);
    await meanwhile(async () => {
      await desk.create({ id: "kitchen" });
      kitchen = desk.talks.get("kitchen")!;
      isOpen();
    });
    isOpen();
    const offer = (id: string) => desk.offers.find((one) => one.id === id)!;
    await meanwhile(async () => {
      await desk.accept(offer("hall"));
      assert.equal(desk.talks.get("hall")!.state.is, "open");
      assert.deepEqual(desk.offers.map(({ id }) => id), ["attic"]);
    });
    assert.deepEqual(desk.offers.map(({ id }) => id), ["attic"]);
    await meanwhile(() => desk.decline(offer("attic")));
    assert.deepEqual(desk.offers, []);
    await assert.rejects(it.store.getMember("attic", signPub), notFound);
    // Cleartext rooms are for programs.
    assert.deepEqual([...desk.talks.keys()], ["kitchen", "hall"]);

    const { room } = kitchen;
    await meanwhile(() => desk.leave(desk.talks.get("hall")!));
    await meanwhile(() => desk.remove(kitchen));
    assert.deepEqual([...desk.talks.keys()], []);
    await room.ended;
    await assert.rejects(it.store.getMember("hall", signPub), notFound);
    await assert.rejects(it.store.getRoom("kitchen"), notFound);
  },
);

deskTest(
  "only the server itself ends a session; a room that does not open is tried until one is no member",
  async (it) => {
    const [ada, bob] = [await it.person(), await it.person()];
    const adas = await ada.rooms();
    const members = [cardOf(bob.identity)];
    const kitchen = await adas.createRoom({ id: "kitchen", members });
    await adas.createRoom({ id: "attic", members });
    for (const id of ["kitchen", "attic"]) await it.store.joinRoom(id, bob.identity.signPub);
    let waits: (() => Promise<void>) | null = null;
    /** Holds the next list that is read. */
    const hold = () => {
      const [read, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      waits = () => {
        waits = null;
        read.resolve();
        return go.promise;
      };
      return { read: read.promise, go: go.resolve };
    };
    const desk = await it.desk(bob, (api) => {
      let left = 2;
      return {
        async *rooms(query) {
          const found = await Array.fromAsync(api.rooms(query));
          await waits?.();
          yield* found;
        },
        async getSealedKey(id, epoch) {
          const found = await api.getSealedKey(id, epoch);
          if (id === "kitchen" && left-- <= 0) return found;
          throw new StoreError("unavailable", "m");
        },
      };
    });
    const states: string[] = [];
    desk.subscribe(() => {
      const is = desk.talks.get("kitchen")?.state.is;
      if (is !== undefined && is !== states.at(-1)) states.push(is);
    });
    await until(async () => {
      await desk.refresh();
      return states.at(-1) === "open";
    }, "the room");
    // It is told until it is open, not only between two attempts.
    assert.deepEqual(states, ["opening", "failed", "open"]);
    const attic = desk.talks.get("attic")!;
    await until(() => attic.state.is === "failed", "the failure");

    it.before = () => new Response("<h1>403 Forbidden</h1>", { status: 403 });
    await desk.refresh();
    await kitchen.removeMember(bob.identity.signPub);
    const talk = desk.talks.get("kitchen")!;
    assert.deepEqual([desk.over, talk.state.is], [null, "open"]);
    it.before = () => null;
    await it.store.removeMember("attic", bob.identity.signPub);
    await until(async () => {
      await desk.refresh();
      return talk.state.is === "over" && attic.state.is === "over";
    }, "the ends");
    await desk.refresh();
    assert.equal(talk.state.is, "over", "not tried again");

    // Let in again, he reads on; a list from before he was removed opens nothing.
    const again = async () => {
      await kitchen.addMember(cardOf(bob.identity));
      await it.store.joinRoom("kitchen", bob.identity.signPub);
    };
    await again();
    await until(async () => {
      await desk.refresh();
      return talk.state.is === "open";
    }, "the room, once more");
    await kitchen.send("welcome back");
    const texts = () => talk.lines.blocks.flatMap(({ lines }) => lines).map(textOf);
    await until(() => texts().includes("welcome back"), "the message");
    assert.deepEqual(texts(), [AGAIN, "welcome back"]);
    states.length = 0;
    const held = hold();
    const reading = desk.refresh();
    await held.read;
    await kitchen.removeMember(bob.identity.signPub);
    await until(() => talk.state.is === "over", "the end");
    held.go();
    await reading;
    assert.ok(!states.includes("opening"), `${states}`);
    desk.forget(talk);
    await desk.refresh();
    assert.deepEqual([...desk.talks.keys()], ["attic"]);

    await it.store.revokeUser(bob.identity.signPub);
    await desk.refresh();
    assert.match(desk.over!, /was revoked/);
  },
);

deskTest(
  "rooms that are not shown tell what is unread, what was rejected, and who waits for their owner",
  async (it) => {
    const [ada, bob] = [await it.person(), await it.person()];
    const bobs = await (await bob.rooms()).createRoom({
      id: "hall",
      members: [cardOf(ada.identity)],
    });
    await it.store.joinRoom("hall", ada.identity.signPub);
    const reads: string[] = [];
    // In the background the lists are read once, before there is a connection.
    page.visibilityState = "hidden";
    const desk = await it.desk(ada, (api) => ({
      async nodes() {
        await until(() => desk.isRead, "the lists");
        return await api.nodes();
      },
      members: (id, query) => {
        reads.push(id);
        return api.members(id, query);
      },
    }));
    const hall = await opened(desk, "hall");
    page.visibilityState = "visible";
    await desk.create({ id: "kitchen" });
    await until(() => desk.talks.get("kitchen")!.members.length === 1, "the members");
    let changes = 0;
    desk.subscribe(() => changes++);
    await bobs.send("soup is ready");
    await until(() => hall.unread === 1, "the message");
    assert.ok(changes > 0, "the list is drawn again");
    (await it.wire()).publish(bobs.subject, Uint8Array.of(1));
    const notes = () =>
      hall.lines.blocks.flatMap(({ lines }) => lines).filter((it) => it.is === "note");
    await until(() => notes().length === 1, "the rejection");

    const { token } = await it.store.createInvite({ createdBy: "cli", room: "kitchen" });
    const { signPub, kexPub } = createIdentity();
    await it.store.consumeInvite(token, { signPub, kexPub, handle: "Eve" });
    reads.length = 0;
    await desk.refresh();
    await until(() => desk.talks.get("kitchen")!.waiting.length === 1, "who waits");
    assert.equal(desk.names.get(signPub), "Eve");
    assert.deepEqual([...new Set(reads)], ["kitchen"]);
    hall.show(true);
    await desk.refresh();
    await until(() => reads.includes("hall"), "the members of the room that is shown");
  },
);

deskTest(
  "what keeps a page from its bus is told; it is tried again, and the lists are read when one looks",
  async (it) => {
    const ada = await it.person();
    let tries = 0;
    let lists = 0;
    const desk = await it.desk(ada, (api) => ({
      nodes() {
        if (++tries > 2) return api.nodes();
        return Promise.reject(new StoreError(tries === 1 ? "unavailable" : "closed", "m"));
      },
      rooms(query) {
        lists++;
        return api.rooms(query);
      },
    }));
    const links: string[] = [];
    desk.subscribe(() => {
      const { is, why } = desk.link;
      if (`${is}: ${why}` !== links.at(-1)) links.push(`${is}: ${why}`);
    });
    await until(() => desk.link.is === "up", "the connection");
    assert.deepEqual(links.slice(-3), [
      "connecting: The server does not respond.",
      "lost: The connection was closed.",
      "up: null",
    ]);

    await desk.refresh();
    let before = lists;
    await Promise.all([desk.refresh(), desk.refresh()]);
    assert.equal(lists, before + 2, "rooms and offers, once");
    const readsAt = async (event: string, target: EventTarget = page) => {
      await desk.refresh();
      before = lists;
      target.dispatchEvent(new Event(event));
      return lists > before;
    };
    assert.equal(await readsAt("online", globalThis), true);
    assert.equal(await readsAt("visibilitychange"), true);
    page.visibilityState = "hidden";
    assert.equal(await readsAt("visibilitychange"), false);
    page.visibilityState = "visible";
    await desk.close();
    assert.equal(await readsAt("visibilitychange"), false);
    assert.equal(await readsAt("online", globalThis), false);
  },
);

deskTest(
  "no connection is left by a desk that is closed while it connects, nor by a memory that fails",
  async (it) => {
    const ada = await it.person();
    const asked = Promise.withResolvers<void>();
    const held = Promise.withResolvers<void>();
    const desk = await it.desk(ada, (api) => ({
      async nodes() {
        asked.resolve();
        await held.promise;
        return await api.nodes();
      },
    }));
    await asked.promise;
    await desk.close();
    held.resolve();
    const pages = async (state: "open" | "closed") => {
      const response = await fetch(`${it.bus.monitoringUrl}/connz?state=${state}`);
      const { connections } = await response.json() as { connections: { name?: string }[] };
      return connections.filter(({ name }) => name === "unibus-page").length;
    };
    await until(async () => await pages("closed") === 1, "the end of the connection");
    assert.deepEqual([await pages("open"), desk.link.is], [0, "connecting"]);
    const other = await it.desk(ada);
    await until(() => other.link.is === "up", "the connection");
    await other.close();
    await until(async () => await pages("closed") === 2, "the end of the other connection");

    const { keys, api } = await it.signIn(ada);
    const options = {
      keys,
      api,
      memory: ada.memory,
      acceptOwner: () => Promise.resolve(false),
      onProblem: () => {},
      onLink: () => {},
    };
    const { rooms, closed } = await openBus(options);
    let isClosed = false;
    void closed.then(() => isClosed = true);
    await rooms.close();
    await until(() => isClosed, "the end of the connection");
    const failing = openBus({
      ...options,
      api: { ...api, nodes: () => assert.fail("It connects") },
      memory: {
        get: () => Promise.reject(new Error("The disk is full")),
        set: () => {},
      },
    });
    await assert.rejects(failing, /The disk is full/);
  },
);

deskTest(
  "one starts over with a room that was taken back, by the card of its owner",
  async (it) => {
    const [ada, bob, eve] = [await it.person(), await it.person(), await it.person()];
    const members = [cardOf(bob.identity)];
    const room = await (await ada.rooms()).createRoom({ id: "kitchen", members });
    await it.store.joinRoom("kitchen", bob.identity.signPub);
    bob.memory.set("epoch kitchen", "7");
    const desk = await it.desk(bob);
    await until(() => desk.talks.get("kitchen")?.state.is === "failed", "the failure");
    const talk = desk.talks.get("kitchen")!;
    assert.ok(talk.state.is === "failed" && talk.state.isRolledBack);
    const card = cardOf(ada.identity);
    await assert.rejects(desk.startOver(talk, card.slice(0, -9) + card.slice(-8)), {
      code: "invalid",
    });
    assert.equal(bob.memory.get("epoch kitchen"), "7");
    // The owner whom the server names is not the one of the card.
    const other = desk.startOver(talk, cardOf(eve.identity));
    await until(() => desk.questions.length > 0, "the question");
    desk.questions[0]!.answer(false);
    await assert.rejects(other, { reason: "wrong_sealer" });
    await desk.startOver(talk, card);
    await opened(desk, "kitchen");
    await room.send("soup is ready");
    await until(
      () =>
        talk.lines.blocks.some((it) => it.lines.some((line) => textOf(line) === "soup is ready")),
      "the message",
    );
  },
);
