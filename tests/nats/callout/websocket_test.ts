/** The bus over WebSocket: who gets in from which page, and what is known of a client there. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { nkeyAuthenticator } from "@nats-io/nats-core";
import { formatNatsConfig } from "../../../src/nats/server/config.ts";
import { testServer } from "../../helpers/nats.ts";
import { testTls } from "../../helpers/tls.ts";
import { type Browser, wsConnect } from "../../helpers/websocket.ts";
import { admitted, type Bus, enrol, eventually, newPeer, openRoom, testBus } from "./bus.ts";
import type { Peer } from "./bus.ts";

const ORIGIN = "http://127.0.0.1:8470";
const HERE: Browser = { origin: ORIGIN };

const busWith = (mode: "off" | "enforce" = "enforce") =>
  testBus({ mode, server: { websocket: { origins: [ORIGIN, "https://bus.example.org"] } } });
const urlOf = ({ server }: Bus) => `ws://127.0.0.1:${server.websocketPort}`;
const keyOf = (seed: Uint8Array) => ({ authenticator: nkeyAuthenticator(seed) });
const enter = (bus: Bus, { pair, nkey }: Peer, browser = HERE) =>
  wsConnect(urlOf(bus), browser, { ...keyOf(pair.getSeed()), inboxPrefix: `_INBOX.${nkey}` });

Deno.test("a member on a page of this server uses its rooms over WebSocket, until it is revoked", async () => {
  await using bus = await busWith();
  const [ada, bob] = [await enrol(bus.store), await enrol(bus.store)];
  await openRoom(bus.store, "one", ada, [bob]);
  await openRoom(bus.store, "two", ada);
  await using b = await admitted(bus.server.port, bob);
  assert.ok(await b.maySubscribe("room.one"));
  await using connection = await enter(bus, ada);
  connection.publish("room.one", "hello");
  await b.until(() => b.messages.length === 1);
  assert.equal(b.messages[0]!.data, "hello");
  const messages: string[] = [];
  connection.subscribe("room.one", { callback: (_, it) => void messages.push(it.string()) });
  const denied = new Promise<Error | null>((resolve) => {
    connection.subscribe("$KV.>", { callback: (error) => resolve(error) });
  });
  await connection.flush();
  assert.ok(await b.mayPublish("room.one", "back"));
  await eventually(() => messages.length === 1);
  assert.match(String(await denied), /permissions violation/i);
  // Who owns a room cannot be revoked by accident; the connection is closed all the same.
  await bus.store.revokeUser(ada.signPub);
  await connection.closed();
  await assert.rejects(enter(bus, ada), /authorization violation/i);
});

Deno.test("pages of other origins are refused, before they can try a key", async () => {
  await using bus = await busWith();
  const ada = await enrol(bus.store);
  for (
    const origin of [
      "http://127.0.0.1:8471",
      "https://127.0.0.1:8470",
      "http://bus.example.org",
      "https://bus.example.org.evil.example",
      "https://evil.example",
      "null",
    ]
  ) await assert.rejects(enter(bus, ada, { origin }), origin);
  assert.deepEqual(bus.events, []);
  for (const origin of [ORIGIN, "https://bus.example.org"]) {
    await (await enter(bus, ada, { origin })).close();
  }
  // A program names none.
  await (await enter(bus, ada, {})).close();
});

Deno.test("the control plane's own keys are refused over WebSocket, in every mode", async () => {
  for (const mode of ["enforce", "off"] as const) {
    await using bus = await busWith(mode);
    for (const who of ["service", "system"] as const) {
      const seed = new TextEncoder().encode(bus.keys[who].seed);
      await assert.rejects(wsConnect(urlOf(bus), HERE, keyOf(seed)), /authorization violation/i);
      await (await bus.connect(who)).close();
    }
    assert.deepEqual(bus.events.filter((it) => it.kind === "admitted"), []);
    // With off, a page gets in without a key, as any client does.
    const bare = wsConnect(urlOf(bus), HERE);
    if (mode === "off") await (await bare).close();
    else await assert.rejects(bare, /authorization violation/i);
  }
});

Deno.test("an address that a WebSocket client makes up is neither judged nor logged", async () => {
  await using bus = await busWith();
  const ada = await enrol(bus.store);
  const headers = { "x-forwarded-for": "203.0.113.7" };
  await (await enter(bus, ada, { ...HERE, headers })).close();
  await assert.rejects(enter(bus, newPeer(), { ...HERE, headers }), /authorization violation/i);
  const clients = bus.events.map((it) => "client" in it ? it.client.host : "");
  assert.deepEqual(clients, ["127.0.0.1", "127.0.0.1"]);
  assert.deepEqual(bus.events.map((it) => it.kind), ["admitted", "refused"]);
});

Deno.test("over TLS a page verifies the certificate, and cleartext is refused", async () => {
  await using tls = await testTls();
  const websocket = { tls: tls.server, origins: ["https://127.0.0.1:8470"] };
  await using server = await testServer({ websocket });
  const at = `127.0.0.1:${server.websocketPort}`;
  const page = { origin: "https://127.0.0.1:8470" };
  const ca = await readFile(tls.caFile, "utf8");
  await using connection = await wsConnect(`wss://${at}`, { ...page, ca });
  await connection.flush();
  await assert.rejects(wsConnect(`wss://${at}`, page));
  await assert.rejects(wsConnect(`ws://${at}`, page));
});

Deno.test("a restart keeps the WebSocket port, and without an origin there is no listener", async () => {
  await using server = await testServer({ websocket: { origins: [ORIGIN] } });
  const port = server.websocketPort!;
  assert.ok(port > 0 && port !== server.port);
  server.kill("SIGKILL");
  await server.exited;
  await server.restart();
  assert.equal(server.websocketPort, port);
  await (await wsConnect(`ws://127.0.0.1:${port}`, HERE)).close();
  // The server would take an empty list for any origin.
  assert.throws(() => formatNatsConfig({ websocket: { origins: [] } }, "ports"), {
    code: "invalid",
  });
  await using other = await testServer();
  assert.equal(other.websocketPort, undefined);
});
