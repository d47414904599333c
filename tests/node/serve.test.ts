/** The hardened server under Node; run by tests/package/node_test.ts. */

import assert from "node:assert/strict";
import { request } from "node:https";
import { test } from "node:test";
import { connect } from "node:tls";
import { isStoreError } from "../../src/core/errors.ts";
import { serve } from "../../src/http/serve/serve.ts";
import { authorities, echo, held, pause, rawClient, until } from "../http/serve/kit.ts";

const certificates = authorities();
const tls = () => certificates().pair;
const ca = () => certificates().authority.cert;

test("answers over TLS, and says who asks", async () => {
  await using server = await serve(echo, { tls: tls() });
  const text = await new Promise<string>((resolve, reject) => {
    const asked = request(
      `${server.url}/a`,
      { method: "PUT", ca: ca(), agent: false },
      (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (it) => text += it).on("end", () => resolve(text));
      },
    );
    asked.on("error", reject).end(new Uint8Array(3_000_000));
  });
  assert.deepEqual(JSON.parse(text), {
    method: "PUT",
    url: `${server.url}/a`,
    peer: "127.0.0.1",
    size: 3_000_000,
  });
});

test("nothing older than TLS 1.2 is spoken", async () => {
  await using server = await serve(echo, { tls: tls() });
  const speak = (version: "TLSv1.1" | "TLSv1.2") =>
    new Promise<string>((resolve) => {
      const socket = connect({
        port: server.port,
        host: "127.0.0.1",
        ca: ca(),
        servername: "localhost",
        minVersion: version,
        maxVersion: version,
        ciphers: "DEFAULT@SECLEVEL=0",
      }, () => {
        resolve(socket.getProtocol() ?? "none");
        socket.destroy();
      });
      socket.on("error", () => resolve("refused"));
    });
  assert.equal(await speak("TLSv1.1"), "refused");
  assert.equal(await speak("TLSv1.2"), "TLSv1.2");
});

for (const secure of [false, true]) {
  const name = secure ? " with TLS" : "";
  const options = () => secure ? { tls: tls() } : {};
  const raw = (port: number) => rawClient(port, secure ? ca() : undefined);

  test(`large headers are 431, slow ones are cut off${name}`, async () => {
    await using server = await serve(echo, { ...options(), headersTimeout: 300 });
    const large = await raw(server.port);
    large.send(`GET / HTTP/1.1\r\nHost: x\r\nX-Big: ${"a".repeat(65_536)}\r\n\r\n`);
    await large.closed;
    assert.match(large.text(), /^HTTP\/1\.1 431 /);
    const slow = await raw(server.port);
    slow.send("GET / HTTP/1.1\r\n");
    const ms = await slow.closed;
    assert.ok(ms > 250 && ms < 60_000, `${ms} ms`);
  });

  test(`a body that trickles is cut off, a steady one is not${name}`, async () => {
    const bounds = { requestTimeout: 300, minBodyRate: 10_240 };
    await using server = await serve(echo, { ...options(), ...bounds });
    const head = "PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 40960\r\n\r\n";
    const slow = await raw(server.port);
    slow.send(head);
    const timer = setInterval(() => slow.send("a"), 20);
    const ms = await slow.closed;
    clearInterval(timer);
    assert.ok(ms > 250 && ms < 60_000, `${ms} ms`);
    assert.match(slow.text(), /^HTTP\/1\.1 408 /);
    const steady = await raw(server.port);
    steady.send(head);
    for (let i = 0; i < 40; i++) {
      await pause(25);
      steady.send(new Uint8Array(1024));
    }
    await steady.closed;
    assert.match(steady.text(), /"size":40960/);
  });

  test(`an answer nobody reads is cut off${name}`, async () => {
    let cancelled = 0;
    const body = () =>
      new ReadableStream({
        pull: (controller) => controller.enqueue(new Uint8Array(262_144)),
        cancel: () => void cancelled++,
      }, { highWaterMark: 0 });
    const plane = { fetch: () => new Response(body()) };
    await using server = await serve(plane, { ...options(), requestTimeout: 300 });
    const client = await raw(server.port);
    client.socket.pause();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await until("it is cut off", () => cancelled === 1);
    client.socket.destroy();
  });

  test(`a client that goes away aborts; closing waits for what is in flight${name}`, async () => {
    const plane = held();
    const server = await serve(plane, options());
    const [leaving, staying] = [await raw(server.port), await raw(server.port)];
    for (const client of [leaving, staying]) client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await until("both arrive", () => plane.arrived === 2);
    leaving.socket.destroy();
    await until("one is aborted", () => plane.aborted === 1);
    const closed = server.close();
    plane.release();
    await closed;
    await staying.closed;
    assert.match(staying.text(), /done/);
    assert.equal(plane.aborted, 1);
  });
}

test("a port that is in use is unavailable, and the message names it", async () => {
  await using server = await serve(echo);
  await assert.rejects(serve(echo, { port: server.port }), (error) => {
    assert.ok(isStoreError(error, "unavailable"));
    assert.match(error.message, new RegExp(`127\\.0\\.0\\.1, port ${server.port}: another`));
    return true;
  });
});
