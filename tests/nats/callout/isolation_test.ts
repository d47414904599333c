import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createConnection } from "node:net";
import { createUser } from "@nats-io/nkeys";
import { errors, type NatsConnection } from "@nats-io/transport-node";
import { openJetStream } from "../../../src/jetstream/mod.ts";
import type { BusAuth } from "../../../src/nats/mod.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import {
  admitted,
  type Bus,
  enrol,
  enter,
  eventually,
  join,
  newPeer,
  openRoom,
  type Peer,
  testBus,
} from "./bus.ts";
import { RawClient } from "./raw_nats.ts";
import { inDir } from "../../helpers/sqlite.ts";

const LONG = Deno.env.get("UNIBUS_LONG") === "1";

/** Says `lines` to a server after its greeting; `sign` gets the nonce. Gives its words up to its end. */
async function says(
  port: number,
  lines: (nonce: string) => string,
  until: (heard: string) => boolean = () => false,
): Promise<string> {
  const socket = createConnection(port, "127.0.0.1").setEncoding("latin1");
  let heard = "";
  let greeted = false;
  // Not `once` of events: an error, which is one way to end, would reject.
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => {}).on("data", (text) => {
    heard += text;
    if (!greeted && heard.includes("\r\n")) {
      greeted = true;
      socket.write(lines(JSON.parse(heard.slice(5, heard.indexOf("\r\n"))).nonce));
    }
    if (until(heard)) socket.destroy();
  });
  await closed;
  return heard.slice(heard.indexOf("\r\n") + 2);
}

const signed = ({ nkey, pair }: Peer, nonce: string) => ({
  nkey,
  sig: Buffer.from(pair.sign(Buffer.from(nonce))).toString("base64"),
});

Deno.test("whatever a client shows, it is nobody of the control plane's, nor a guest", async () => {
  await using bus = await testBus();
  const ada = await enrol(bus.store);
  const { service, system, issuer } = bus.keys;
  const stranger = createUser();
  const shows: ((nonce: string) => Record<string, unknown>)[] = [
    ...[service, system].flatMap(({ publicKey }) => [
      () => ({ nkey: publicKey }),
      () => ({ nkey: publicKey, sig: "AAAA" }),
      () => ({ user: publicKey, pass: publicKey }),
      () => ({ user: publicKey, pass: "" }),
      () => ({ auth_token: publicKey }),
      (it: string) => ({ ...signed(ada, it), nkey: publicKey }),
    ]),
    () => ({ nkey: issuer.publicKey, sig: "AAAA" }),
    () => ({ user: "anyone", pass: "anyone" }),
    (it) => ({ ...signed(ada, it), nkey: ada.nkey.toLowerCase() }),
    (it) => ({ ...signed(ada, it), nkey: `${ada.nkey}======` }),
    (it) => ({ ...signed(ada, it), nkey: ` ${ada.nkey}` }),
    (it) => ({ ...signed(ada, it), nkey: ada.nkey.replace(/.$/, "=") }),
    (it) => ({ ...signed(ada, it), nkey: stranger.getPublicKey() }),
    () => signed(ada, ""),
    (it) => ({ jwt: "e30.e30.e30", sig: signed(ada, it).sig }),
    (it) => ({ ...signed(ada, it.toLowerCase() === it ? `${it} ` : it.toLowerCase()) }),
  ];
  const heard = await Promise.all(
    shows.map((it) =>
      says(bus.server.port, (nonce) => `CONNECT ${JSON.stringify(it(nonce))}\r\nPING\r\n`)
    ),
  );
  for (const it of heard) {
    // A server whose callout takes more than a second asks whether the client is still there.
    assert.equal(it.replaceAll("PING\r\n", ""), "-ERR 'Authorization Violation'\r\n");
  }
  assert.equal(bus.callout.counts().admitted, 0);
  // What is said before CONNECT, or is no client's, or too long, is not heard.
  for (
    const lines of [
      "SUB > 1\r\nPING\r\n",
      "PUB $SYS.REQ.USER.AUTH 0\r\n\r\n",
      "RS+ APP >\r\n",
      `CONNECT {"name":"${"x".repeat(2 ** 20)}"}\r\n`,
    ]
  ) assert.doesNotMatch(await says(bus.server.port, () => lines), /PONG|MSG/);
  // More than one thing at once: only the key counts, and only for its own.
  const both = (it: string) => ({
    ...signed(ada, it),
    user: service.publicKey,
    account: "CONTROL",
  });
  await says(
    bus.server.port,
    (it) => `CONNECT ${JSON.stringify(both(it))}\r\nSUB $KV.> 1\r\nPING\r\n`,
    (it) => /PONG/.test(it),
  );
  const event = bus.events.findLast((it) => it.kind === "admitted");
  assert.equal(event?.kind === "admitted" && event.endpoint, ada.signPub);
});

/** A request of a client, and its answer; `null` when none comes in a while. */
async function ask(
  client: RawClient,
  subject: string,
  data: string,
  ms = 300,
): Promise<string | null> {
  const reply = `_INBOX.ask.${client.messages.length}`;
  client.publish(subject, data, reply);
  await client.flush();
  const answer = () => client.messages.find((it) => it.subject === reply);
  await eventually(() => answer() !== undefined, ms).catch(() => {});
  return answer()?.data ?? null;
}

for (const mode of ["off", "soft"] as BusAuth[]) {
  Deno.test(`with ${mode} too, nothing of the control plane is reached from the clients' account`, async () => {
    await using bus = await testBus({
      mode,
      store: ({ url, keys }) => openJetStream({ servers: url, nkeySeed: keys.service.seed }),
    });
    await enrol(bus.store);
    await using client = await RawClient.open(bus.server.port);
    assert.ok(await client.login({}));
    client.subscribe(">");
    client.subscribe("$KV.>");
    client.subscribe("$SYS.>");
    const text = (name: string, more: object) =>
      JSON.stringify({ name, storage: "memory", ...more });
    const { streams } = JSON.parse((await ask(client, "$JS.API.STREAM.NAMES", "", 60_000))!);
    assert.equal(streams ?? null, null);
    const info = await ask(client, "$JS.API.STREAM.INFO.KV_UNIBUS", "", 60_000);
    assert.match(info!, /stream not found/);
    // A stream that copies another account's.
    const api = ["$JS.API", "$JS.CONTROL.API", "CONTROL.$JS.API"];
    for (const [i, it] of api.entries()) {
      const mirror = { name: "KV_UNIBUS", external: { api: it, deliver: "x" } };
      await ask(client, `$JS.API.STREAM.CREATE.m${i}`, text(`m${i}`, { mirror }));
    }
    // The server tells everybody about their own account, and nothing of another.
    for (const whom of ["SERVER.PING", "ACCOUNT.CONTROL", "ACCOUNT.SYS", "ACCOUNT.PING"]) {
      for (const what of ["CONNZ", "SUBSZ", "JSZ", "INFO", "STATZ"]) {
        const options = JSON.stringify({ auth: true, acc: "CONTROL", account: "CONTROL" });
        const answer = await ask(client, `$SYS.REQ.${whom}.${what}`, options, 20) ?? "";
        assert.doesNotMatch(answer, /unibus-membership|KV_UNIBUS|USER\.AUTH/, `${whom}.${what}`);
        assert.ok(!answer.includes(bus.keys.service.publicKey), `${whom}.${what}`);
      }
    }
    await enrol(bus.store);
    client.publish("$KV.UNIBUS.users.x", "forged");
    client.publish("$SYS.REQ.USER.AUTH", "forged");
    assert.ok(await client.flush());
    for (const [i] of api.entries()) {
      const info = await ask(client, `$JS.API.STREAM.INFO.m${i}`, "");
      assert.doesNotMatch(info ?? "", /"messages":[1-9]/);
    }
    assert.equal((await bus.store.listUsers()).items.length, 2);
    // It hears itself, and nobody else.
    const own =
      /^(\$KV\.UNIBUS\.users\.x|\$SYS\.REQ\.|\$JS\.(API|EVENT|CONTROL)|CONTROL\.|_INBOX\.ask|x)/;
    assert.deepEqual(client.messages.filter((it) => !own.test(it.subject)), []);
    assert.ok(!bus.events.some((it) => it.kind === "refused"));
  });
}

Deno.test("a traced message does not carry its trace into a room one is not in", async () => {
  await using bus = await testBus();
  const { store, server: { port } } = bus;
  const [ada, bob] = [await enrol(store), await enrol(store)];
  await openRoom(store, "one", ada, [bob]);
  await openRoom(store, "two", ada);
  await using a = await admitted(port, ada);
  for (const it of ["room.one", "room.two", "room.two.>"]) assert.ok(await a.maySubscribe(it));
  const headers = (to: string, more = "") => `NATS/1.0\r\nNats-Trace-Dest: ${to}${more}\r\n\r\n`;
  const traced = (to: string, more?: string) => {
    const head = headers(to, more);
    return `HPUB room.one ${head.length} ${head.length + 2}\r\n${head}hi\r\n`;
  };
  const targets = ["room.two", "room.two.x", "room.two.>", "$SYS.x", "$JS.API.INFO"];
  const heard = await says(
    port,
    (nonce) =>
      `CONNECT ${JSON.stringify({ ...signed(bob, nonce), headers: true })}\r\n` +
      targets.map((it) => traced(it) + traced(it, "\r\nNats-Trace-Only: true")).join("") +
      "PUB room.one 4\r\nlast\r\nPING\r\n",
    (it) => /PONG/.test(it),
  );
  assert.match(heard, /Permissions Violation for Publish to "room.two"/);
  await a.until(() => a.messages.some((it) => it.data === "last"));
  assert.ok(a.messages.every((it) => it.subject === "room.one"), JSON.stringify(a.messages));
});

async function burst(bus: Bus, writer: Bus["store"], open: number, changes: number) {
  const { store, server: { port } } = bus;
  const owner = await enrol(store);
  const peers: Peer[] = [];
  while (peers.length < open) {
    peers.push(...await Promise.all(Array.from({ length: 20 }, () => enrol(store))));
  }
  const rooms = 10;
  for (let r = 0; r < rooms; r++) {
    await openRoom(store, `r${r}`, owner, peers.filter((_, i) => i % rooms === r));
  }
  const clients: RawClient[] = [];
  await using _ = {
    [Symbol.asyncDispose]: async () =>
      void (await Promise.all(clients.map((it) => it[Symbol.asyncDispose]()))),
  };
  const next = peers.entries();
  await Promise.all(Array.from({ length: 16 }, async () => {
    for (const [i, it] of next) {
      // A machine that is too busy to judge a client in time refuses it.
      await eventually(async () => {
        const client = await enter(port, it);
        if (client !== null) clients[i] = client;
        return client !== null;
      });
    }
  }));
  const done: Promise<number>[] = [];
  for (const [i, { signPub }] of peers.slice(0, changes).entries()) {
    if (i % 3 === 0) await writer.revokeUser(signPub);
    else if (i % 3 === 1) await writer.removeMember(`r${i % rooms}`, signPub);
    else await writer.deleteUser(signPub);
    const began = performance.now();
    done.push(clients[i]!.until(() => clients[i]!.ended).then(() => performance.now() - began));
  }
  const took = (await Promise.all(done)).sort((a, b) => a - b);
  for (const it of clients.slice(changes)) assert.ok(!it.ended);
  return { median: Math.round(took[took.length >> 1]!), longest: Math.round(took.at(-1)!) };
}

Deno.test("a burst of changes reaches every open connection it concerns within a second, and no other", async (t) => {
  const [open, changes] = LONG ? [1000, 200] : [100, 45];
  // Beside other tests less than the time between two sweeps, which would reach them too.
  const limit = LONG ? 1_000 : 15_000;
  await t.step("made by another process on the same file", () =>
    inDir(async (dir) => {
      await using bus = await testBus({ store: () => Promise.resolve(openSqlite(`${dir}/a.db`)) });
      await using other = openSqlite(`${dir}/a.db`);
      const { median, longest } = await burst(bus, other, open, changes);
      assert.ok(longest < limit, `median ${median} ms, longest ${longest} ms`);
    }));
  await t.step("made by another node on the bucket", async () => {
    const at = ({ url, keys }: { url: string; keys: Bus["keys"] }) =>
      openJetStream({ servers: url, nkeySeed: keys.service.seed });
    await using bus = await testBus({ store: at });
    await using other = await at({ url: bus.server.url, keys: bus.keys });
    const { median, longest } = await burst(bus, other, open, changes);
    assert.ok(longest < limit, `median ${median} ms, longest ${longest} ms`);
  });
});

Deno.test("whatever changes while clients come, nobody keeps more or less than the store says", async () => {
  await using bus = await testBus();
  const { store, server: { port } } = bus;
  const owner = await enrol(store);
  const peers = await Promise.all(Array.from({ length: 12 }, () => enrol(store)));
  let on = true;
  const open = new Map<Peer, RawClient | null>();
  // Each comes back as soon as it is thrown out.
  const comers = peers.map(async (peer) => {
    while (on) {
      if (open.get(peer)?.ended !== false) open.set(peer, await enter(port, peer));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
  await using _ = {
    [Symbol.asyncDispose]: async () => {
      on = false;
      await Promise.all(comers);
      for (const it of open.values()) await it?.[Symbol.asyncDispose]();
    },
  };
  const pick = () => peers[Math.floor(Math.random() * peers.length)]!;
  const odd = ["not_found", "user_exists", "room_exists", "member_exists", "conflict", "refused"];
  const end = performance.now() + (LONG ? 30_000 : 2_500);
  const codes = new Set<string>();
  for (let i = 0; performance.now() < end; i++) {
    const peer = pick();
    const room = `r${i % 3}`;
    const acts = [
      () => join(store, room, peer),
      () => store.removeMember(room, peer.signPub),
      () => store.revokeUser(peer.signPub),
      () => store.restoreUser(peer.signPub),
      () => store.deleteUser(peer.signPub),
      () => enrol(store, peer),
      () => store.deleteRoom(room),
      () => openRoom(store, room, owner, [pick()]),
      () => openRoom(store, room, owner, [pick()]),
      () => join(store, room, peer),
      () => enrol(store, peer),
      () => store.restoreUser(peer.signPub),
    ];
    await acts[Math.floor(Math.random() * acts.length)]!().catch((error) => codes.add(error.code));
    if (i % 7 === 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * 12));
  }
  for (const it of codes) assert.ok(odd.includes(it), it);
  /** What is wrong with what a peer has open; null when it is what the store says. */
  const wrongWith = async (peer: Peer): Promise<string | null> => {
    const client = open.get(peer) ?? null;
    const active = await store.isAuthorized(peer.signPub);
    if (client === null || client.ended) return active ? "an active one is out" : null;
    if (!active) return "one that is not active is in";
    const { items } = await store.listRoomsForEndpoint(peer.signPub);
    for (const room of ["r0", "r1", "r2"]) {
      const member = items.some((it) => it.id === room);
      if (await client.maySubscribe(`room.${room}`) !== member) return `subscribe ${room}`;
      if (await client.mayPublish(`room.${room}.x`) !== member) return `publish ${room}`;
    }
    return null;
  };
  // The promise: soon what is open is right, by the changes and not by a sweep.
  let wrong: (string | null)[] = [];
  await eventually(async () => {
    wrong = await Promise.all(peers.map((it) => wrongWith(it).catch(String)));
    return wrong.every((it) => it === null);
  }, 15_000).catch((error) => assert.fail(`${error}: ${wrong}`));
  assert.ok(!bus.events.some((it) => it.kind === "trouble"));
  assert.equal(await enter(port, newPeer()), null);
});

/** A connection whose calls fail for as long as `error` returns one. */
function failing(
  connection: NatsConnection,
  call: "request" | "requestMany",
  error: () => Error | null,
): NatsConnection {
  return new Proxy(connection, {
    get: (of, name) => {
      const it = Reflect.get(of, name, of);
      if (typeof it !== "function") return it;
      return (...args: unknown[]) => {
        const failure = name === call ? error() : null;
        return failure === null ? it.apply(of, args) : Promise.reject(failure);
      };
    },
  });
}

Deno.test("a callout waits for servers that answer late when it starts, not for those that refuse", async () => {
  await using bus = await testBus();
  for (const call of ["request", "requestMany"] as const) {
    let fails = 5;
    const late = () => fails-- > 0 ? new errors.TimeoutError() : null;
    const system = failing(await bus.connect("system"), call, late);
    const callout = await bus.another({ system });
    assert.ok(callout.status().ok);
    assert.ok(fails < 0);
    await callout.stop();
  }
  const refused = failing(await bus.connect("system"), "requestMany", () => new Error("refused"));
  await assert.rejects(bus.another({ system: refused }), /refused/);
});

Deno.test("a list of open connections that is not had is asked for again soon", async () => {
  await using bus = await testBus();
  const { store, server: { port } } = bus;
  const told: string[] = [];
  let fails = 0;
  // As when the server is slow, or gone again, just after a reconnect.
  const slow = failing(
    await bus.connect("system"),
    "requestMany",
    () => fails-- > 0 ? new Error("slow") : null,
  );
  const callout = await bus.another({ system: slow, onEvent: (it) => told.push(it.kind) });
  // This one's connection is ended by the callout that has it listed, the other being stopped.
  const ada = await enrol(store);
  await using client = await admitted(port, ada);
  await bus.callout.stop();
  fails = 2;
  await assert.rejects(callout.sweep(), /slow/);
  await eventually(() => fails < 0);
  assert.equal(told.filter((it) => it === "trouble").length, 2);
  await store.revokeUser(ada.signPub);
  await client.until(() => client.ended, 15_000);
});
