/** When a client connects with a session's key, and how its certificate is renewed. */

import assert from "node:assert/strict";
import {
  cardOf,
  createClient,
  createIdentity,
  openRooms,
  openSession,
} from "../../../src/client/mod.ts";
import { connectBus } from "../../../src/client/node/bus.ts";
import { startSession } from "../../../src/client/session/session.ts";
import { StoreError } from "../../../src/core/errors.ts";
import type { ControlPlaneNode } from "../../../src/core/operations.ts";
import { parseSession } from "../../../src/keys/codec/session.ts";
import { createNkey, natsUserOf } from "../../../src/keys/nkey.ts";
import { connectNats } from "../../../src/nats/connection/connect.ts";
import { inDir } from "../../helpers/sqlite.ts";
import { eventually } from "../../nats/callout/bus.ts";
import { falseServer } from "../../nats/connection/false_server.ts";
import { town } from "../rooms/kit.ts";
import { until } from "../rooms/village.ts";

const node = (name: string, sessions?: boolean): ControlPlaneNode => ({
  name,
  urls: [],
  busUrls: [],
  wsUrls: [],
  ...sessions !== undefined && { sessions },
  answers: true,
});

Deno.test("the identity's own key is used only where the control plane says that a node knows no other", async () => {
  await using bus = await falseServer("AAAAAAAAAAAAAAA");
  const identity = createIdentity();
  /** With what somebody connects, for what the control plane says of its nodes. */
  const used = async (nodes: ControlPlaneNode[] | StoreError, session?: boolean) => {
    bus.connects.length = 0;
    const client = {
      authority: "bus.example:8470",
      clockOffset: 0,
      nodes: () => nodes instanceof Error ? Promise.reject(nodes) : Promise.resolve({ nodes }),
    };
    const nats = { servers: bus.url };
    const connection = await connectBus({
      client,
      identity,
      nats,
      session,
      onProblem: (error) => assert.fail(error),
    });
    await connection.close();
    const [{ nkey, auth_token } = {}] = bus.connects;
    if (nkey === identity.nkey) {
      assert.equal(auth_token, undefined);
      return "identity";
    }
    const { sessionPub, signPub, audience } = parseSession(auth_token!)!;
    assert.equal(natsUserOf(sessionPub), nkey);
    assert.deepEqual([signPub, audience], [identity.signPub, client.authority]);
    return "session";
  };
  assert.equal(await used([node("n1", true)]), "session");
  assert.equal(await used([node("n1", true), node("n2", true)]), "session");
  assert.equal(await used([node("n1", true), node("n2")]), "identity", "an older node");
  assert.equal(await used([node("n1", false), node("n2", true)]), "identity");
  assert.equal(await used([]), "identity", "what came over cleartext does not count");
  assert.equal(await used(new StoreError("not_found", "an older server")), "identity");
  assert.equal(await used([node("n1")], true), "session", "as it was told");
  assert.equal(await used([node("n1", true)], false), "identity", "as it was told");
  // An attacker that only cuts the line gets no nonce signed by the identity.
  const cut = new StoreError("unavailable", "no response");
  await assert.rejects(used(cut), { code: "unavailable" });
  assert.equal(bus.connects.length, 0);
});

Deno.test(
  "a connection to the bus outlives refusals, learns servers, and leaves no timer when it ends or is not made",
  {
    sanitizeOps: true,
  },
  async () => {
    await using bus = await falseServer("AAAAAAAAAAAAAAA");
    const nodes = [{ ...node("n1", true), busUrls: ["nats://127.0.0.1:1"] }];
    const options = {
      client: {
        authority: "bus.example:8470",
        clockOffset: 0,
        nodes: () => Promise.resolve({ nodes }),
      },
      identity: createIdentity(),
      nats: { servers: bus.url, bootstrapTimeout: 60_000 },
      onProblem: (error: Error) => assert.fail(error),
    };
    const connection = await connectBus(options);
    await eventually(() => connection.getServers().length === 2);
    bus.refuses = true;
    bus.drop();
    await eventually(() => bus.connects.length >= 4 || connection.isClosed());
    bus.refuses = false;
    await until(() => connection.flush().then(() => true, () => false), "accepted again");
    await connection.close();
    await assert.rejects(connectBus({ ...options, signal: AbortSignal.abort() }), {
      code: "aborted",
    });
  },
);

Deno.test("a certificate is renewed in time, and soon for another server; the key stays", async () => {
  const identity = createIdentity();
  const client = { authority: "n1.example", clockOffset: 7_200_000 };
  const problems: StoreError[] = [];
  using session = await openSession({ identity, client, onProblem: (it) => problems.push(it) });
  const read = () => parseSession(session.certificate)!;
  const first = read();
  assert.ok(Math.abs(first.issued - Date.now() - 7_200_000) < 60_000, "by the server's clock");
  assert.equal(first.expires - first.issued, 3_600_000);
  const { nkey, inboxPrefix } = session;
  assert.equal(inboxPrefix, `_INBOX.${nkey}`);
  // The computer slept: no timer has run.
  client.clockOffset += 1_900_000;
  await eventually(() => read().issued >= first.issued + 1_900_000);
  client.authority = "n2.example";
  await eventually(() => read().audience === "n2.example");
  // A clock that was ahead was set: the certificate would not be valid yet.
  const { issued } = read();
  client.clockOffset -= 3_000_000;
  await eventually(() => read().issued < issued);
  const last = session.certificate;
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(session.certificate, last, "not renewed without need");
  assert.equal(session.nkey, nkey);
  assert.equal(natsUserOf(read().sessionPub), nkey);
  const { auth_token, sig } = session.authenticator("AAAAAAAAAAAAAAA");
  assert.equal(auth_token, session.certificate);
  assert.notEqual(sig, "");
  // A session's key signs nonces only, too, and is shown to no server that asks for more.
  assert.deepEqual(problems, []);
  assert.deepEqual(session.authenticator('"@method": GET'), { nkey, sig: "" });
  assert.equal(problems.length, 1);
});

Deno.test("a renewal that fails is reported and tried again; none is made after the end", async () => {
  const { signPub, signSession } = createIdentity();
  const problems: StoreError[] = [];
  let fails = false;
  let signed = 0;
  const { publicKey, signNonce } = createNkey("user");
  const session = await startSession({
    identity: {
      signPub,
      signSession: (it) => {
        signed++;
        return fails ? Promise.reject(new Error("locked")) : signSession(it);
      },
    },
    key: { nkey: publicKey, signNonce },
    client: { authority: "n1.example", clockOffset: 0 },
    lifetime: 1_000,
    onProblem: (error) => {
      problems.push(error);
      throw new Error("a careless program");
    },
  });
  fails = true;
  const { certificate } = session;
  await eventually(() => problems.length >= 2);
  assert.equal(session.certificate, certificate);
  assert.equal((problems[0]!.cause as Error).message, "locked");
  fails = false;
  await eventually(() => session.certificate !== certificate);
  session.close();
  const after = signed;
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  assert.ok(session.certificate !== "");
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(signed, after);
  await assert.rejects(
    openSession({
      identity: createIdentity(),
      client: { authority: "n1", clockOffset: 0 },
      lifetime: 3_600_001,
    }),
    { code: "invalid", field: "expires" },
  );
});

Deno.test("the program says that it takes sessions, for its own names only, and rooms use one", async () => {
  await inDir(async (dir) => {
    await using place = await town(dir);
    const ada = await place.person();
    const { nodes } = await ada.client.nodes();
    assert.deepEqual(nodes.map((it) => it.sessions), [true]);
    const { host } = new URL(place.server.http);
    assert.equal(ada.client.authority, host);

    const { identity } = ada;
    const connects = async (authority: string) => {
      using session = await openSession({ identity, client: { authority, clockOffset: 0 } });
      await using connection = await connectNats({ servers: place.server.nats, signer: session });
      await connection.flush();
    };
    await connects(host);
    await connects(host.replace("127.0.0.1", "localhost"));
    await assert.rejects(connects("evil.example"), { field: "credentials" });

    const rooms = await ada.rooms();
    const bob = await place.person();
    const kitchen = await rooms.createRoom({ id: "kitchen", members: [cardOf(bob.identity)] });
    const his = await (await bob.rooms()).join("kitchen", { owner: identity.signPub });
    const heard = his.messages()[Symbol.asyncIterator]();
    await kitchen.send("soup is ready");
    assert.equal((await heard.next()).value!.text(), "soup is ready");
    // Somebody whom the control plane has never seen gets no further than that.
    const stranger = createIdentity();
    using client = createClient({ url: place.server.http, identity: stranger });
    const nats = { servers: place.server.nats };
    await assert.rejects(openRooms({ client, identity: stranger, nats }), StoreError);
  });
});
