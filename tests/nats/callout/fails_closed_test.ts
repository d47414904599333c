/**
 * The callout when something is wrong: forged questions, a store that fails, floods, dead servers.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect } from "@nats-io/transport-node";
import { openJetStream } from "../../../mod.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { encodeJwt } from "../../../src/nats/callout/jwt.ts";
import {
  type CalloutEvent,
  type CalloutStore,
  createNkey,
  startAuthCallout,
} from "../../../src/nats/mod.ts";
import {
  admitted,
  enrol,
  enter,
  eventually,
  newPeer,
  openRoom,
  type Peer,
  testBus,
} from "./bus.ts";
import { testServer } from "../../helpers/nats.ts";
import { RawClient } from "./raw_nats.ts";
import { failsWith } from "../../helpers/sqlite.ts";

const NEVER = new Promise<never>(() => {});

/** A store with some methods replaced. */
function storeWith(store: CalloutStore, changes: Partial<CalloutStore>): CalloutStore {
  return {
    isAuthorized: (it) => store.isAuthorized(it),
    getUser: (it) => store.getUser(it),
    listMembers: (...it) => store.listMembers(...it),
    listRoomsForEndpoint: (...it) => store.listRoomsForEndpoint(...it),
    watchAccess: (it) => store.watchAccess(it),
    ...changes,
  };
}

Deno.test("a question that no server of ours asked is not answered", async (t) => {
  // On a server without a callout a test may play the server's part.
  await using server = await testServer({ jetstream: false });
  await using connection = await connect({ servers: server.url });
  await using store = openSqlite(":memory:");
  const peer = await enrol(store);
  const issuer = createNkey("account");
  const events: CalloutEvent[] = [];
  const options = { store, connection, system: connection, issuerSeed: issuer.seed };
  await using callout = await startAuthCallout({
    ...options,
    mode: "soft", // Says what enforce would do, and needs no system account.
    onEvent: (it) => events.push(it),
  });
  const asker = createNkey("server");
  let nonces = 0;

  interface Question {
    claims?: Record<string, unknown>;
    nats?: Record<string, unknown>;
    client?: Record<string, unknown>;
    nonce?: string;
    who?: Peer;
  }
  const question = (it: Question = {}) => {
    const { nonce = `nonce ${nonces++}`, who = peer } = it;
    return {
      sub: issuer.publicKey,
      aud: "nats-authorization-request",
      exp: Math.floor(Date.now() / 1000) + 2,
      nats: {
        server_id: { id: asker.publicKey },
        user_nkey: createNkey("user").publicKey,
        client_info: { id: 1, host: "h", kind: "Client", type: "nats", nonce, ...it.client },
        connect_opts: {
          nkey: who.nkey,
          sig: Buffer.from(who.pair.sign(new TextEncoder().encode(nonce))).toString("base64"),
        },
        type: "authorization_request",
        version: 2,
        ...it.nats,
      },
      ...it.claims,
    };
  };
  /** What the callout thought of it. */
  const ask = async (it?: Question): Promise<string> => {
    const before = events.length;
    const token = encodeJwt(question(it) as never, asker);
    await connection.request("$SYS.REQ.USER.AUTH", token, { timeout: 60_000 });
    const event = events.slice(before).find((it) => it.kind !== "admitted");
    return event === undefined ? "yes" : event.kind === "would_refuse" ? event.reason : event.kind;
  };
  /** Asserts that none of these is answered. */
  const silence = async (tokens: string[]) => {
    const answers: string[] = [];
    const inbox = connection.subscribe("answers.*", {
      callback: (_, it) => void answers.push(it.subject),
    });
    for (const [i, it] of tokens.entries()) {
      const before = events.length;
      connection.publish("$SYS.REQ.USER.AUTH", it, { reply: `answers.${i}` });
      await eventually(() => events.length > before);
      const event = events.at(-1);
      assert.ok(event?.kind === "refused" && event.reason === "bad_request", it.slice(0, 300));
    }
    // What is answered later is answered after this one.
    assert.equal(await ask(), "yes");
    assert.deepEqual(answers, []);
    inbox.unsubscribe();
  };

  await t.step("one that is as it should be is answered with yes", async () => {
    assert.equal(await ask(), "yes");
  });

  await t.step("signed by somebody else than it says, or not at all", async () => {
    const token = encodeJwt(question() as never, asker);
    const [head, body, signature] = token.split(".") as [string, string, string];
    const changed = JSON.parse(Buffer.from(body, "base64url").toString());
    changed.nats.client_info.host = "other";
    const other = Buffer.from(JSON.stringify(changed)).toString("base64url");
    const none = Buffer.from('{"typ":"JWT","alg":"none"}').toString("base64url");
    const odd = [
      "",
      "x",
      "a.b.c",
      `${head}.${body}`,
      `${head}.${body}.`,
      `${head}.${body}.${signature}.x`,
      `${head}.${other}.${signature}`,
      `${none}.${body}.${signature}`,
      `${none}.${body}.`,
      `${head}.${body}.${signature.slice(0, -8)}AAAAAAAA`,
      encodeJwt(question() as never, createNkey("server")),
      encodeJwt(question() as never, createNkey("account")),
      encodeJwt(question({ nats: { server_id: { id: issuer.publicKey } } }) as never, issuer),
      "x".repeat(100_000),
    ];
    await silence(odd);
  });

  await t.step("not for us, of another kind, too old, or without its parts", async () => {
    const now = Math.floor(Date.now() / 1000);
    const odd: Question[] = [
      { claims: { sub: createNkey("account").publicKey } },
      { claims: { aud: "else" } },
      { claims: { aud: undefined } },
      { claims: { exp: now - 100 } },
      { claims: { exp: undefined } },
      { claims: { exp: "soon" } },
      { nats: { type: "user" } },
      { nats: { server_id: undefined } },
      { nats: { user_nkey: undefined } },
      { nats: { user_nkey: createNkey("account").publicKey } },
      { nats: { user_nkey: "*" } },
      { claims: { nats: null } },
      { claims: { nats: "x" } },
    ];
    await silence(odd.map((it) => encodeJwt(question(it) as never, asker)));
  });

  await t.step("a nonce that was used before, or none", async () => {
    assert.equal(await ask({ nonce: "again" }), "yes");
    assert.equal(await ask({ nonce: "again" }), "replay");
    assert.equal(await ask({ nonce: "" }), "bad_signature");
  });

  await t.step("no plain client: a leaf node, MQTT", async () => {
    assert.equal(await ask({ client: { type: "websocket" } }), "yes");
    assert.equal(await ask({ client: { kind: "Leafnode", type: "" } }), "bad_kind");
    assert.equal(await ask({ client: { type: "mqtt" } }), "bad_kind");
    assert.equal(await ask({ client: { kind: undefined } }), "bad_kind");
  });

  await t.step("parts of a wrong type do no harm", async () => {
    for (const it of [null, 1, [], {}, "x", true]) {
      assert.equal(await ask({ nats: { connect_opts: it } }), "no_key");
      assert.equal(await ask({ nats: { client_info: it } }), "bad_kind");
      assert.equal(await ask({ nats: { connect_opts: { nkey: it, sig: it } } }), "no_key");
    }
    assert.ok(callout.status().ok);
  });
});

Deno.test("startAuthCallout() refuses a seed that is no account's, and a system connection that is none", async () => {
  await using server = await testServer({ jetstream: false });
  await using connection = await connect({ servers: server.url });
  await using store = openSqlite(":memory:");
  const options = { store, connection, system: connection, mode: "enforce" as const };
  for (const issuerSeed of [createNkey("user").seed, "SA", ""]) {
    await failsWith("invalid", () => startAuthCallout({ ...options, issuerSeed }), /issuerSeed/);
  }
  const issuerSeed = createNkey("account").seed;
  await failsWith("unavailable", () => startAuthCallout({ ...options, issuerSeed }), /not in/);
  const { system: _, ...without } = options;
  await failsWith("invalid", () => startAuthCallout({ ...without, issuerSeed }), /system account/);
});

Deno.test("a store that fails, hangs or is closed lets nobody in, and throws nobody out", async (t) => {
  await using store = openSqlite(":memory:");
  const peer = await enrol(store);
  await openRoom(store, "r", peer);
  let broken: Partial<CalloutStore> = {};
  const faulty = storeWith(store, {
    isAuthorized: (it) => (broken.isAuthorized ?? store.isAuthorized)(it),
    getUser: (it) => (broken.getUser ?? store.getUser)(it),
    listRoomsForEndpoint: (...it) =>
      (broken.listRoomsForEndpoint ?? store.listRoomsForEndpoint)(...it),
  });
  await using bus = await testBus({ callout: { store: faulty, decisionTimeout: 300 } });
  await using open = await admitted(bus.server.port, peer);
  const fails = () => Promise.reject(new Error("disk on fire"));
  const refusals = () => bus.events.filter((it) => it.kind === "refused").length;
  const cases: [string, Partial<CalloutStore>][] = [
    ["authorization throws", { isAuthorized: fails, getUser: fails }],
    ["authorization throws at once", {
      isAuthorized: () => {
        throw new Error("now");
      },
    }],
    ["authorization is no clear yes", {
      isAuthorized: () => Promise.resolve("yes" as never),
      getUser: fails,
    }],
    ["it cannot vouch, as with a stale cache", { isAuthorized: () => Promise.resolve(false) }],
    ["rooms throw", { listRoomsForEndpoint: fails }],
    ["authorization hangs", { isAuthorized: () => NEVER }],
    ["rooms hang", { listRoomsForEndpoint: () => NEVER }],
  ];
  for (const [name, fault] of cases) {
    await t.step(name, async () => {
      broken = fault;
      const before = refusals();
      assert.equal(await enter(bus.server.port, peer), null);
      assert.equal(refusals(), before + 1, "refused before the server's own time-out");
      // A sweep meanwhile leaves who is in.
      if (!name.includes("hang")) await bus.callout.sweep();
      broken = {};
      assert.ok(await open.flush());
      await using _ = await admitted(bus.server.port, peer);
    });
  }
  await t.step("none of this shut out the control plane, and it works again", async () => {
    await (await bus.connect("service")).flush();
    assert.ok(bus.callout.status().ok);
    assert.ok(await open.mayPublish("room.r"));
  });
});

Deno.test("changes missed while the store did not answer are made good when it does", async () => {
  await using store = openSqlite(":memory:");
  const peer = await enrol(store);
  let down = false;
  const faulty = storeWith(store, {
    isAuthorized: async (it) => !down && await store.isAuthorized(it),
    getUser: (it) => down ? Promise.reject(new Error("down")) : store.getUser(it),
  });
  await using bus = await testBus({ callout: { store: faulty } });
  await using open = await admitted(bus.server.port, peer);
  down = true;
  await store.revokeUser(peer.signPub);
  await eventually(() => bus.events.some((it) => it.kind === "trouble"));
  assert.ok(await open.flush());
  down = false;
  await open.until(() => open.ended);
});

Deno.test("while the store hangs, few connections wait for it, and the others are compared later", async () => {
  await using store = openSqlite(":memory:");
  const peers = await Promise.all(Array.from({ length: 40 }, () => enrol(store)));
  let [hangs, asked] = [false, 0];
  const isTold = () => bus.events.some((it) => it.kind === "trouble");
  const faulty = storeWith(store, {
    isAuthorized: (it) => {
      if (!hangs) return store.isAuthorized(it);
      // They are asked for again a moment after that is told.
      if (!isTold()) asked++;
      return NEVER;
    },
  });
  await using bus = await testBus({ callout: { store: faulty } });
  const clients: RawClient[] = [];
  try {
    for (const it of peers) clients.push(await admitted(bus.server.port, it));
    hangs = true;
    const sweep = bus.callout.sweep();
    await eventually(isTold);
    assert.equal(asked, 16);
    hangs = false;
    await sweep;
    await store.revokeUser(peers[39]!.signPub);
    await clients[39]!.until(() => clients[39]!.ended);
    assert.ok(await clients[0]!.flush());
  } finally {
    for (const it of clients) await it[Symbol.asyncDispose]();
  }
});

Deno.test("stop() waits for clients that are being judged", async () => {
  await using store = openSqlite(":memory:");
  const peer = await enrol(store);
  const asked = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const slow = storeWith(store, {
    isAuthorized: async (it) => {
      asked.resolve();
      await held.promise;
      return await store.isAuthorized(it);
    },
  });
  await using bus = await testBus({ callout: { store: slow, decisionTimeout: 8_000 } });
  const service = await bus.connect("service");
  const entering = enter(bus.server.port, peer);
  await asked.promise;
  let stopped = false;
  const stopping = bus.callout.stop().then(() => stopped = true);
  await service.flush();
  assert.ok(!stopped);
  held.resolve();
  await stopping;
  await using client = await entering;
  assert.ok(client !== null, "was let in");
});

Deno.test("a callout that does not answer: refused when the server's time is up, control plane in", async () => {
  await using bus = await testBus({ timeout: 2 });
  const peer = await enrol(bus.store);
  await bus.callout.stop();
  await using service = await bus.connect("service");
  service.subscribe("$SYS.REQ.USER.AUTH", { queue: "unibus-callout", callback: () => {} });
  await service.flush();
  const began = performance.now();
  assert.equal(await enter(bus.server.port, peer), null);
  const took = performance.now() - began;
  assert.ok(took > 1500, `${took} ms`);
  await (await bus.connect("service")).flush();
});

Deno.test("a flood of clients is bounded: few are judged at a time, who waits too long is refused, and then all goes on", async () => {
  await using store = openSqlite(":memory:");
  const peer = await enrol(store);
  let [hangs, asked] = [true, 0];
  const slow = storeWith(store, {
    isAuthorized: (it) => {
      if (!hangs) return store.isAuthorized(it);
      if (!bus.events.some(({ kind }) => kind === "refused")) asked++;
      return NEVER;
    },
  });
  const callout = { store: slow, concurrency: 2 };
  await using bus = await testBus({ timeout: 5, callout });
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => enter(bus.server.port, peer)),
  );
  assert.ok(clients.every((it) => it === null));
  assert.ok(asked > 0 && asked <= 2, `${asked} at a time`);
  assert.ok(bus.callout.counts().dropped > 0, "the server has given those up");
  hangs = false;
  await eventually(async () => {
    const client = await enter(bus.server.port, peer);
    await client?.[Symbol.asyncDispose]();
    return client !== null;
  });
});

Deno.test("a store on a NATS server that freezes: new clients are refused, open ones stay", async () => {
  await using other = await testServer();
  await using bus = await testBus({
    store: () =>
      openJetStream({
        servers: other.url,
        opTimeout: 2000,
        maxStaleness: 3000,
        bootstrapTimeout: 20_000,
      }),
    callout: { sweepInterval: 300 },
  });
  const peer = await enrol(bus.store);
  await openRoom(bus.store, "r", peer);
  await using open = await admitted(bus.server.port, peer);
  other.kill("SIGSTOP");
  try {
    await eventually(async () => {
      const client = await enter(bus.server.port, peer);
      await client?.[Symbol.asyncDispose]();
      return client === null;
    });
    const before = bus.events.filter((it) => it.kind === "trouble").length;
    await eventually(() => bus.events.filter((it) => it.kind === "trouble").length > before);
    assert.ok(await open.mayPublish("room.r"));
  } finally {
    other.kill("SIGCONT");
  }
  await eventually(async () => {
    const client = await enter(bus.server.port, peer);
    await client?.[Symbol.asyncDispose]();
    return client !== null;
  });
});

Deno.test("the store in the same NATS: clients get in, changes reach them, also after SIGKILL of the server", async () => {
  await using bus = await testBus({
    timeout: 2,
    store: ({ url, keys }) =>
      openJetStream({
        servers: url,
        nkeySeed: keys.service.seed,
        bootstrapTimeout: 20_000,
      }),
  });
  const { server, store } = bus;
  const peer = await enrol(store);
  await openRoom(store, "r", peer);
  await using first = await admitted(server.port, peer);
  assert.ok(await first.mayPublish("room.r"));
  server.kill("SIGKILL");
  await server.exited;
  assert.ok(!bus.callout.status().ok || await eventually(() => !bus.callout.status().ok) >= 0);
  await server.restart();
  let again: RawClient | null = null;
  await eventually(async () => (again = await enter(server.port, peer)) !== null);
  await using second = again as unknown as RawClient;
  assert.ok(await second.mayPublish("room.r"));
  await eventually(() => bus.callout.status().ok);
  await store.revokeUser(peer.signPub);
  await second.until(() => second.ended);
  assert.equal(await enter(server.port, peer), null);
  assert.equal(await enter(server.port, newPeer()), null);
});
