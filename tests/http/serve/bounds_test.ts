/** What the hardened server bounds, seen by clients that do what they should not. */

import assert from "node:assert/strict";
import { connect } from "node:net";
import { serve } from "../../../src/http/serve/serve.ts";
import type { ServeOptions } from "../../../src/http/serve/types.ts";
import { authorities, echo, held, pause, rawClient, until } from "./kit.ts";

const certificates = authorities();
const KB = 1024;

for (const tls of [false, true]) {
  const name = `hardened${tls ? " with TLS" : ""}`;
  const ca = () => tls ? certificates().authority.cert : undefined;
  const open = (options: ServeOptions, plane = echo) =>
    serve(plane, { hardened: true, ...(tls ? { tls: certificates().pair } : {}), ...options });

  Deno.test(`${name}: 64 KiB of headers are answered with 431`, async () => {
    await using server = await open({});
    const headers = (bytes: number) =>
      `GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Big: ${"a".repeat(bytes)}\r\n\r\n`;
    const fits = await rawClient(server.port, ca());
    fits.send(headers(60 * KB));
    await fits.closed;
    assert.match(fits.text(), /^HTTP\/1\.1 200 /);
    for (const bytes of [65 * KB, 1024 * KB]) {
      const tooBig = await rawClient(server.port, ca());
      tooBig.send(headers(bytes));
      await tooBig.closed;
      // Of much more than the limit the answer may be lost, as the rest is never read.
      if (bytes < 100 * KB) assert.match(tooBig.text(), /^HTTP\/1\.1 431 /);
      assert.doesNotMatch(tooBig.text(), /200/);
    }
  });

  Deno.test(`${name}: a client that sends nothing, or its headers too slowly, is cut off`, async () => {
    await using server = await open({ headersTimeout: 1000, requestTimeout: 120_000 });
    const silent = await rawClient(server.port, ca());
    const slow = await rawClient(server.port, ca());
    slow.send("GET / HTTP/1.1\r\nHost: x\r\n");
    let sent = 0;
    const timer = setInterval(() => slow.send(`X-${sent++}: y\r\n`), 50);
    const took = await Promise.all([silent.closed, slow.closed]);
    clearInterval(timer);
    for (const ms of took) assert.ok(ms > 900 && ms < 60_000, `${ms} ms`);
    assert.ok(sent > 3);
    assert.doesNotMatch(slow.text(), /200/);
  });

  Deno.test(`${name}: a body that trickles in is cut off, also after a quick beginning`, async () => {
    await using server = await open({ requestTimeout: 300, minBodyRate: 10 * KB });
    for (const first of [0, 1024 * KB]) {
      const client = await rawClient(server.port, ca());
      client.send(`PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: ${2048 * KB}\r\n\r\n`);
      if (first > 0) client.send(new Uint8Array(first));
      const timer = setInterval(() => client.send("a"), 20);
      const ms = await client.closed;
      clearInterval(timer);
      assert.ok(ms > 250 && ms < 60_000, `${ms} ms`);
      assert.match(client.text(), /^HTTP\/1\.1 408 /);
    }
  });

  Deno.test(`${name}: a body in chunks that trickles in is cut off`, async () => {
    await using server = await open({ requestTimeout: 300, minBodyRate: 10 * KB });
    const client = await rawClient(server.port, ca());
    client.send("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    const timer = setInterval(() => client.send("1\r\na\r\n"), 20);
    const ms = await client.closed;
    clearInterval(timer);
    assert.ok(ms > 250 && ms < 60_000, `${ms} ms`);
  });

  Deno.test(`${name}: a steady upload takes the time it needs`, async () => {
    await using server = await open({ requestTimeout: 500, minBodyRate: 10 * KB });
    const client = await rawClient(server.port, ca());
    const parts = 80;
    client.send(
      `PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${parts * KB}\r\n\r\n`,
    );
    // 30 KiB a second or so, for four times as long as the timeout.
    for (let i = 0; i < parts; i++) {
      await pause(25);
      client.send(new Uint8Array(KB));
    }
    const ms = await client.closed;
    assert.ok(ms > 1_800, `${ms} ms`);
    assert.match(client.text(), new RegExp(`"size":${parts * KB}`));
  });

  Deno.test(`${name}: a body that we read slowly is not the client's fault`, async () => {
    const plane = {
      async fetch(request: Request) {
        let size = 0;
        for await (const chunk of request.body!) {
          size += chunk.length;
          if (size === chunk.length) await pause(800);
        }
        return new Response(`read ${size}`);
      },
    };
    await using server = await open({ requestTimeout: 200 }, plane);
    const size = 4096 * KB;
    const client = await rawClient(server.port, ca());
    client.send(
      `PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${size}\r\n\r\n`,
    );
    client.send(new Uint8Array(size));
    await client.closed;
    assert.match(client.text(), new RegExp(`read ${size}`));
  });

  Deno.test(`${name}: an answer nobody reads is cut off, one read slowly is not`, async () => {
    let cancelled = 0;
    const plane = {
      fetch: () => {
        let left = 64;
        const body = new ReadableStream({
          pull(controller) {
            if (left-- > 0) controller.enqueue(new Uint8Array(256 * KB));
            else controller.close();
          },
          cancel: () => void cancelled++,
        }, { highWaterMark: 0 });
        return new Response(body);
      },
    };
    await using server = await open({ requestTimeout: 600 }, plane);
    // Not `node:tls`, which in Deno reads on when it is told to pause.
    const get = async () => {
      const where = { hostname: "127.0.0.1", port: server.port };
      const conn = tls
        ? await Deno.connectTls({ ...where, caCerts: [ca()!] })
        : await Deno.connect(where);
      await conn.write(
        new TextEncoder().encode("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
      );
      return conn;
    };
    const unread = await get();
    await until("the answer is cut off", () => cancelled === 1);
    unread.close();
    using slow = await get();
    const began = performance.now();
    const buffer = new Uint8Array(256 * KB);
    let read = 0;
    for (let got: number | null = 0; got !== null; got = await slow.read(buffer)) {
      read += got;
      // 8 MiB a second.
      while (performance.now() - began < read / (8 * KB)) await pause(2);
    }
    const ms = performance.now() - began;
    assert.ok(ms > 1_800, `${ms} ms`);
    assert.ok(read > 64 * 256 * KB, `${read} bytes in ${ms} ms`);
  });

  Deno.test(`${name}: an answer that takes us long is not cut off`, async () => {
    const plane = held();
    await using server = await open({
      requestTimeout: 1000,
      headersTimeout: 1000,
      keepAliveTimeout: 1000,
    }, plane);
    const client = await rawClient(server.port, ca());
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await pause(2500);
    plane.release();
    await client.closed;
    assert.match(client.text(), /done/);
  });

  Deno.test(`${name}: an answer that we give in pieces, far apart, is not cut off`, async () => {
    const plane = {
      fetch: () => {
        let left = 8;
        const body = new ReadableStream({
          async pull(controller) {
            await pause(100);
            if (left-- > 0) controller.enqueue(new TextEncoder().encode("piece "));
            else controller.close();
          },
        }, { highWaterMark: 0 });
        return new Response(body);
      },
    };
    await using server = await open({ requestTimeout: 200 }, plane);
    const client = await rawClient(server.port, ca());
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await client.closed;
    assert.equal(client.text().match(/piece/g)?.length, 8);
  });

  Deno.test(`${name}: a connection that waits too long for its next request is closed`, async () => {
    await using server = await open({ keepAliveTimeout: 2000 });
    const client = await rawClient(server.port, ca());
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await until("it is answered", () => client.text().includes('"GET"'));
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const ms = await client.closed;
    assert.ok(ms > 1_900 && ms < 60_000, `${ms} ms`);
    assert.equal(client.text().match(/"GET"/g)?.length, 2);
  });

  Deno.test(`${name}: connections above the most are closed at once, and make room when they end`, async () => {
    await using server = await open({ maxConnections: 3 });
    const first = await Promise.all([1, 2, 3].map(() => rawClient(server.port, ca())));
    const refused = await rawClient(server.port, ca()).then((it) => it.closed).catch(() => 0);
    assert.ok(refused < 30_000);
    for (const client of first) {
      client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
      await until("it is answered", () => client.text().includes('"GET"'));
    }
    first[0]!.socket.destroy();
    for (let answered = false; !answered;) {
      const next = await rawClient(server.port, ca()).catch(() => null);
      next?.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
      await next?.closed;
      answered = next?.text().includes('"GET"') ?? false;
    }
  });

  Deno.test(`${name}: what is no HTTP, or two things at once, is refused`, async () => {
    let asked = 0;
    await using server = await open({}, { fetch: () => new Response(String(++asked)) });
    const bad = [
      "\x16\x03\x01 hello\r\n\r\n",
      "GET / HTTP/1.1\r\n\r\n",
      "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
      "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc",
      "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      "GET / HTTP/1.1\r\nHost: x\r\nA\r\n B: c\r\n\r\n",
      "GET \\\\evil HTTP/1.1\r\nHost: x\r\n\r\n",
      "CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for (const text of bad) {
      const client = await rawClient(server.port, ca());
      client.send(text);
      // Those that are answered without being closed are closed by us.
      await Promise.race([client.closed, until("an answer", () => client.text() !== "")]);
      assert.doesNotMatch(client.text(), /^HTTP\/1\.1 (2|5)/, text);
      client.socket.destroy();
    }
    assert.ok(asked <= 1, "only the one with bad chunks has headers that are good");
  });
}

Deno.test("hardened with TLS: a client that never begins the handshake is cut off", async () => {
  const { pair } = certificates();
  await using server = await serve(echo, { hardened: true, tls: pair, headersTimeout: 300 });
  const began = performance.now();
  const socket = connect(server.port, "127.0.0.1");
  await new Promise((resolve) => socket.once("close", resolve));
  const ms = performance.now() - began;
  assert.ok(ms > 250 && ms < 60_000, `${ms} ms`);
  // One that hangs in it does not hold up the end either.
  const second = connect(server.port, "127.0.0.1");
  await new Promise((resolve) => second.once("connect", resolve));
  const ending = performance.now();
  await server.close(60_000);
  assert.ok(performance.now() - ending < 30_000);
  second.destroy();
});
