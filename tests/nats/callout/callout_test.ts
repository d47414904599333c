/**
 * Who gets in, and what they may do there, as a client of a few lines over a bare socket sees it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createUser } from "@nats-io/nkeys";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";
import type { Store } from "../../../mod.ts";
import { inboxPrefixOf } from "../../../src/nats/mod.ts";
import { admitted, type Bus, enrol, enter, eventually } from "./bus.ts";
import { newPeer, openRoom, type Peer, testBus } from "./bus.ts";
import { RawClient } from "./raw_nats.ts";

/** A bus with two rooms: ada is in both, bob in the first, cy in none. */
async function populated(store: Store): Promise<{ ada: Peer; bob: Peer; cy: Peer }> {
  const [ada, bob, cy] = [await enrol(store), await enrol(store), await enrol(store)];
  await openRoom(store, "one", ada, [bob]);
  await openRoom(store, "two", ada);
  return { ada, bob, cy };
}

/** Opens a connection that says what it is told to; whether it was let in. */
async function tries(
  { server }: Bus,
  options: (nonce: Uint8Array) => Record<string, unknown>,
): Promise<boolean> {
  await using client = await RawClient.open(server.port);
  const nonce = new TextEncoder().encode(client.info!.nonce);
  const inside = await client.login(options(nonce));
  if (!inside) assert.match(client.errors[0] ?? "", /Authorization Violation/);
  return inside;
}

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");

Deno.test("with enforce, a member may use the subjects of its rooms and nothing else", async (t) => {
  await using bus = await testBus();
  const { server, store } = bus;
  const { ada, bob, cy } = await populated(store);
  await using a = await admitted(server.port, ada);
  await using b = await admitted(server.port, bob);
  await using c = await admitted(server.port, cy);

  await t.step("messages travel within a room, also below its subject, and in queues", async () => {
    assert.ok(await b.maySubscribe("room.one"));
    assert.ok(await b.maySubscribe("room.one.>"));
    assert.ok(await b.maySubscribe("room.one.*.x", "workers"));
    assert.ok(await a.mayPublish("room.one", "hello"));
    assert.ok(await a.mayPublish("room.one.below", "deep"));
    await b.until(() => b.messages.length === 2);
    assert.deepEqual(b.messages.map((it) => it.data).sort(), ["deep", "hello"]);
  });

  await t.step("a room one is not in is closed, both ways", async () => {
    for (const subject of ["room.two", "room.two.below"]) {
      assert.ok(await a.mayPublish(subject));
      assert.ok(await a.maySubscribe(subject));
      assert.ok(!await b.mayPublish(subject));
      assert.ok(!await b.maySubscribe(subject));
      assert.ok(!await c.mayPublish(subject));
      assert.ok(!await c.maySubscribe(subject));
    }
    assert.ok(!await b.mayPublish("room.onemore"));
    assert.ok(!await b.maySubscribe("room"));
  });

  await t.step("wildcards do not reach beyond", async () => {
    for (const subject of [">", "*", "*.*", "room.*", "room.>", "*.one", "*.one.>"]) {
      assert.ok(!await b.maySubscribe(subject), subject);
      assert.ok(!await b.maySubscribe(subject, "queue"), subject);
    }
  });

  await t.step("who is in no room may do nothing, which is not everything", async () => {
    for (const subject of ["room.one", "x", "room.one.x"]) {
      assert.ok(!await c.mayPublish(subject), subject);
      assert.ok(!await c.maySubscribe(subject), subject);
    }
    assert.ok(await c.maySubscribe(`_INBOX.${cy.nkey}.>`));
  });

  await t.step("everybody has an inbox of their own, and none of another's", async () => {
    assert.ok(await b.maySubscribe(`_INBOX.${bob.nkey}.x.*`));
    for (
      const subject of [
        `_INBOX.${ada.nkey}.>`,
        `_INBOX.${ada.nkey}.x`,
        `_INBOX.${bob.nkey}`,
        "_INBOX.>",
        "_INBOX.*.>",
        "_INBOX.x",
        `_INBOX.*.x`,
      ]
    ) assert.ok(!await b.maySubscribe(subject), subject);
  });

  await t.step("the server's own subjects are closed", async () => {
    for (
      const subject of [
        "$SYS.REQ.USER.INFO",
        "$SYS.REQ.USER.AUTH",
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.SERVER.PING.CONNZ",
        "$SYS.REQ.ACCOUNT.PING.CONNZ",
        "$JS.API.INFO",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.MSG.GET.KV_UNIBUS",
        "$JS.API.DIRECT.GET.KV_UNIBUS",
        "$JS.ACK.x",
        "$KV.UNIBUS.users.x",
        "$O.UNIBUS.C.x",
        "_R_.x",
      ]
    ) {
      assert.ok(!await b.mayPublish(subject), subject);
      assert.ok(!await b.maySubscribe(subject), subject);
    }
    assert.ok(!await b.maySubscribe("$SYS.>"));
    assert.ok(!await b.maySubscribe("$KV.>"));
  });

  await t.step("a request is answered, and the answer reaches nobody else", async () => {
    assert.ok(await a.maySubscribe(`_INBOX.${ada.nkey}.>`));
    const before = b.messages.length;
    a.publish("room.one", "question", `_INBOX.${ada.nkey}.1`);
    await b.until(() => b.messages.length > before);
    assert.ok(await b.mayPublish(b.messages.at(-1)!.reply!, "answer"));
    await a.until(() => a.messages.some((it) => it.data === "answer"));
    assert.ok(!c.messages.some((it) => it.data === "answer"));
  });

  await t.step(
    "a message's reply subject does not open that subject to who receives it",
    async () => {
      // With the server's own `allow_responses`, two members of one room reach every other room so.
      const before = b.messages.length;
      for (const target of ["room.two", "$SYS.REQ.SERVER.PING", "$JS.API.INFO", "anything"]) {
        a.publish("room.one", "go", target);
        await b.until(() => b.messages.at(-1)!.reply === target);
        assert.ok(!await b.mayPublish(target, "smuggled"), target);
      }
      assert.ok(b.messages.length > before);
    },
  );
});

Deno.test("with enforce, only an active user who signs the server's nonce gets in", async (t) => {
  await using bus = await testBus();
  const { store } = bus;
  const { bob } = await populated(store);
  const { nkey, pair } = bob;
  const reasons = () => bus.events.flatMap((it) => it.kind === "refused" ? [it.reason] : []).at(-1);

  await t.step("a signature in base64, base64url, with and without padding", async () => {
    for (let i = 0; i < 4; i++) {
      const forms = [base64, (it: Uint8Array) => Buffer.from(it).toString("base64url")];
      forms.push((it) => base64(it).replace(/=+$/, ""));
      for (const form of forms) {
        assert.ok(await tries(bus, (nonce) => ({ nkey, sig: form(pair.sign(nonce)) })));
      }
    }
  });

  await t.step("no nkey", async () => {
    const others = [{}, { user: "a", pass: "b" }, { auth_token: "t" }, { user: bob.signPub }, {
      jwt: "eyJ.x.y",
    }];
    for (const it of others) {
      assert.ok(!await tries(bus, () => it));
      assert.equal(reasons(), "no_key");
    }
  });

  await t.step("an nkey with a missing, wrong or damaged signature", async () => {
    const other = createUser();
    const wrong: [(nonce: Uint8Array) => Record<string, unknown>, string][] = [
      [() => ({ nkey }), "no_key"],
      [() => ({ nkey, sig: "" }), "no_key"],
      [() => ({ nkey, sig: "!" }), "bad_signature"],
      [() => ({ nkey, sig: base64(new Uint8Array(64)) }), "bad_signature"],
      [(it) => ({ nkey, sig: base64(other.sign(it)) }), "bad_signature"],
      [(it) => ({ nkey, sig: base64(pair.sign(it.subarray(1))) }), "bad_signature"],
      [(it) => ({ nkey, sig: base64(pair.sign(it).subarray(1)) }), "bad_signature"],
      [() => ({ nkey, sig: base64(pair.sign(new Uint8Array(0))) }), "bad_signature"],
    ];
    for (const [options, reason] of wrong) {
      assert.ok(!await tries(bus, options));
      assert.equal(reasons(), reason);
    }
  });

  await t.step("the nonce of another connection, once good", async () => {
    await using first = await RawClient.open(bus.server.port);
    const sig = base64(pair.sign(new TextEncoder().encode(first.info!.nonce)));
    assert.ok(await first.login({ nkey, sig }));
    assert.ok(!await tries(bus, () => ({ nkey, sig })));
    assert.equal(reasons(), "bad_signature");
  });

  await t.step("what is no user nkey, and small-order keys that verify anything", async () => {
    const zero = "UAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAARQQ";
    const sig = base64(new Uint8Array(64));
    for (const it of [zero, bus.keys.issuer.publicKey, "U", bob.signPub, nkey.toLowerCase()]) {
      assert.ok(!await tries(bus, () => ({ nkey: it, sig })), it);
      assert.equal(reasons(), "no_key");
    }
  });

  await t.step("who is unknown, revoked or deleted", async () => {
    assert.equal(await enter(bus.server.port, newPeer()), null);
    assert.equal(reasons(), "not_authorized");
    const [revoked, deleted] = [await enrol(store), await enrol(store)];
    await store.revokeUser(revoked.signPub);
    await store.deleteUser(deleted.signPub);
    for (const it of [revoked, deleted]) assert.equal(await enter(bus.server.port, it), null);
    await store.restoreUser(revoked.signPub);
    await using _ = await admitted(bus.server.port, revoked);
  });

  await t.step(
    "what a client says of itself gives it nothing, and cannot forge a log",
    async () => {
      await using client = await RawClient.open(bus.server.port);
      const nonce = new TextEncoder().encode(client.info!.nonce);
      assert.ok(
        await client.login({
          nkey,
          sig: base64(pair.sign(nonce)),
          user: "anyone",
          pass: "anyone",
          name: "x".repeat(500) + "\u0007",
        }),
      );
      assert.ok(!await client.mayPublish("room.two"));
      const event = bus.events.findLast((it) => it.kind === "admitted");
      assert.ok(event?.kind === "admitted");
      assert.equal(event.client.name, "x".repeat(64));
    },
  );

  await t.step("no event holds a signature or a nonce", () => {
    const text = JSON.stringify(bus.events);
    assert.ok(text.length > 1000);
    assert.ok(!/[A-Za-z0-9+/_-]{86}/.test(text.replaceAll(/[0-9a-f]{64}|N[A-Z2-7]{55}/g, "")));
  });
});

Deno.test("the NATS library gets in with its nkey and an inbox prefix, and requests work", async () => {
  await using bus = await testBus();
  const { server, store } = bus;
  const { ada, bob } = await populated(store);
  const open = ({ nkey, pair }: Peer) =>
    connect({
      servers: server.url,
      authenticator: nkeyAuthenticator(pair.getSeed()),
      inboxPrefix: inboxPrefixOf(nkey),
    });
  await using a = await open(ada);
  await using b = await open(bob);
  b.subscribe("room.one.echo", { callback: (_, message) => void message.respond(message.data) });
  await b.flush();
  const answer = await a.request("room.one.echo", "hello", { timeout: 60_000 });
  assert.equal(answer.string(), "hello");
});

Deno.test("rooms whose subject is no plain one, or covered by another, open nothing more", async () => {
  await using bus = await testBus();
  const { server, store } = bus;
  const ada = await enrol(store);
  await openRoom(store, "hidden", ada, [], "_SYS.x");
  await openRoom(store, "reply", ada, [], "_R_.x");
  await openRoom(store, "top", ada, [], "a.b");
  await openRoom(store, "below", ada, [], "a.b.c");
  await openRoom(store, "twin", ada, [], "a.b");
  await using client = await admitted(server.port, ada);
  for (const subject of ["_SYS.x", "_R_.x", "_SYS.x.y"]) {
    assert.ok(!await client.mayPublish(subject), subject);
    assert.ok(!await client.maySubscribe(subject), subject);
  }
  for (const subject of ["a.b", "a.b.c", "a.b.c.d"]) {
    assert.ok(await client.mayPublish(subject), subject);
    assert.ok(await client.maySubscribe(subject), subject);
  }
  assert.ok(!await client.mayPublish("a.bc"));
  const withheld = bus.events.flatMap((it) => it.kind === "subject_withheld" ? [it.roomId] : []);
  assert.deepEqual(withheld.sort(), ["hidden", "reply"]);
});

Deno.test("the control plane's own users get in with the callout down, and are shut off from clients", async () => {
  await using bus = await testBus({ timeout: 2 });
  const { ada } = await populated(bus.store);
  await bus.callout.stop();
  assert.equal(await enter(bus.server.port, ada), null);
  const service = await bus.connect("service");
  await service.flush();
  const system = await bus.connect("system");
  await system.flush();
  // Nobody but a server may ask the callout, not even who answers it.
  const errors: string[] = [];
  void (async () => {
    for await (const it of service.status()) if (it.type === "error") errors.push(`${it.error}`);
  })();
  service.publish("$SYS.REQ.USER.AUTH", "forged");
  await service.flush();
  await eventually(() => errors.length === 1);
  assert.match(errors[0]!, /Permissions Violation for Publish/);
});

Deno.test("a client of the control plane's account is not reached from the clients' account", async () => {
  await using bus = await testBus();
  const { ada } = await populated(bus.store);
  const service = await bus.connect("service");
  const heard: string[] = [];
  service.subscribe(">", { callback: (_, it) => void heard.push(it.string()) });
  await service.flush();
  await using client = await admitted(bus.server.port, ada);
  assert.ok(await client.maySubscribe("room.one"));
  assert.ok(await client.mayPublish("room.one", "from a client"));
  service.publish("room.one", "from the control plane");
  await service.flush();
  await client.flush();
  assert.deepEqual(client.messages.map((it) => it.data), ["from a client"]);
  assert.ok(heard.includes("from the control plane"));
  assert.ok(!heard.includes("from a client"));
});

Deno.test("soft lets everybody in and says whom enforce would have refused", async () => {
  await using bus = await testBus({ mode: "soft" });
  const { ada } = await populated(bus.store);
  await using a = await admitted(bus.server.port, ada);
  assert.ok(await a.maySubscribe(">"));
  const stranger = newPeer();
  await using b = await admitted(bus.server.port, stranger);
  assert.ok(await b.mayPublish("anything"));
  assert.ok(await tries(bus, () => ({})));
  assert.ok(await tries(bus, () => ({ nkey: ada.nkey, sig: base64(new Uint8Array(64)) })));
  const would = bus.events.flatMap((it) => it.kind === "would_refuse" ? [it.reason] : []);
  assert.deepEqual(would, ["not_authorized", "no_key", "bad_signature"]);
  const got = bus.events.flatMap((it) => it.kind === "admitted" ? [it.endpoint] : []);
  assert.deepEqual(got, [ada.signPub, null, null, null]);
  const { admitted: count, wouldRefuse, refused } = bus.callout.counts();
  assert.deepEqual([count, wouldRefuse, refused], [4, 3, 0]);
});

Deno.test("off lets in whoever comes, with and without credentials, and the latter without a callout", async () => {
  await using bus = await testBus({ mode: "off" });
  assert.ok(await tries(bus, () => ({})));
  await using known = await admitted(bus.server.port, newPeer());
  assert.ok(await known.maySubscribe(">"));
  assert.ok(await known.mayPublish("$JS.API.INFO"));
  assert.ok(await tries(bus, () => ({ user: "somebody", pass: "guess" })));
  await bus.callout.stop();
  await using plain = await RawClient.open(bus.server.port);
  assert.ok(await plain.login({}));
  assert.ok(await plain.mayPublish("x"));
  // Still not in the control plane's account.
  const service = await bus.connect("service");
  service.subscribe("secret.question", { callback: (_, it) => void it.respond("secret") });
  await service.flush();
  plain.subscribe("i");
  plain.publish("secret.question", "", "i");
  await plain.flush();
  await service.flush();
  await plain.flush();
  assert.ok(!plain.messages.some((it) => it.data === "secret"));
});

Deno.test("an admission ends after its time, and the client may come again", async () => {
  await using bus = await testBus({ callout: { ttl: 3000 } });
  const { ada } = await populated(bus.store);
  await using client = await admitted(bus.server.port, ada);
  await client.until(() => client.ended);
  assert.match(client.errors.join(), /User Authentication Expired/i);
  await using _ = await admitted(bus.server.port, ada);
});

Deno.test("a user in more rooms than a message can hold gets in, with the oldest", async () => {
  await using bus = await testBus();
  const { store } = bus;
  const ada = await enrol(store);
  const add = async (from: number, to: number, padding: string) => {
    for (let i = from; i < to; i++) {
      await openRoom(store, `${padding}${i}`, ada, [], `unibus.room-${padding}${i}`);
    }
  };
  await add(0, 3000, "");
  await using client = await admitted(bus.server.port, ada);
  assert.ok(await client.mayPublish("unibus.room-2999"));
  assert.ok(!await client.mayPublish("unibus.room-3000"));
  const padding = "x".repeat(200);
  await add(3000, 4000, padding);
  await eventually(() => client.ended);
  await using again = await admitted(bus.server.port, ada);
  assert.ok(await again.mayPublish("unibus.room-2999"));
  assert.ok(!await again.mayPublish(`unibus.room-${padding}3999`));
  const told = bus.events.findLast((it) => it.kind === "rooms_left_out");
  assert.ok(told?.kind === "rooms_left_out" && told.rooms > 0 && told.rooms < 1000);
});
