/** One address opens more connections than it may: everybody else is served as before. */

import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { serve } from "../../../src/http/serve/serve.ts";
import { authorities, echo, rawClient, until } from "../serve/kit.ts";

const certificates = authorities();

/** Connects from an address, sends half of a request, and notes whether it was closed. */
function halfSent(port: number, localAddress: string): Promise<{ socket: Socket; open: boolean }> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", localAddress });
    const it = { socket, open: true };
    socket.on("error", () => {});
    socket.once("close", () => {
      it.open = false;
      resolve(it);
    });
    socket.once("connect", () => {
      socket.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
      resolve(it);
    });
  });
}

/** Whether a request from another address is answered. */
async function isServed(port: number, localAddress: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  let text = "";
  socket.on("data", (data) => text += data);
  socket.on("error", () => {});
  socket.once("close", () => resolve(/^HTTP\/1\.1 200 /.test(text)));
  socket.once(
    "connect",
    () => socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
  );
  return await promise;
}

Deno.test("10,050 half-sent requests of one address close none of another's", async () => {
  // Nothing but the flood shall end a connection, however long that takes here.
  const long = 120_000;
  const bounds = { headersTimeout: long, requestTimeout: long };
  await using server = await serve(echo, { hardened: true, ...bounds });
  const friend = await rawClient(server.port);
  const all: { socket: Socket; open: boolean }[] = [];
  try {
    while (all.length < 10_050) {
      const some = Array.from({ length: 201 }, () => halfSent(server.port, "127.0.0.2"));
      all.push(...await Promise.all(some));
    }
    await until("512 are left", () => all.filter((it) => it.open).length <= 512);
    assert.equal(all.filter((it) => it.open).length, 512);
    assert.ok(await isServed(server.port, "127.0.0.3"));
    friend.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await friend.closed;
    assert.match(friend.text(), /^HTTP\/1\.1 200 /);
  } finally {
    for (const { socket } of all) socket.destroy();
  }
});

for (const tls of [false, true]) {
  const name = tls ? "with TLS" : "in the clear";
  Deno.test(`${name}: an address has room again for each connection that ends`, async () => {
    await using server = await serve(echo, {
      hardened: true,
      maxConnectionsPerAddress: 2,
      ...(tls ? { tls: certificates().pair } : {}),
    });
    const ca = tls ? certificates().authority.cert : undefined;
    const open = () => rawClient(server.port, ca).catch(() => null);
    const first = [await open(), await open()];
    const third = await open();
    assert.ok(third === null || await third.closed < 30_000);
    for (const it of first) it?.socket.destroy();
    for (let answered = false; !answered;) {
      const next = await open();
      next?.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
      await next?.closed;
      answered = next?.text().includes('"GET"') ?? false;
    }
  });
}
