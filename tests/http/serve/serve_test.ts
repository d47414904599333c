/** Serving over real sockets: `Deno.serve`, the hardened server, and both with TLS. */

import assert from "node:assert/strict";
import { serve } from "../../../src/http/serve/serve.ts";
import type { HttpServer, ServeOptions } from "../../../src/http/serve/types.ts";
import { failsWith } from "../../helpers/sqlite.ts";
import { authorities, echo, held, rawClient, until } from "./kit.ts";

const certificates = authorities();

interface Kind {
  name: string;
  tls: boolean;
  options(): ServeOptions;
}

const KINDS: Kind[] = [false, true].flatMap((hardened) =>
  [false, true].map((tls) => ({
    name: `${hardened ? "hardened" : "Deno.serve"}${tls ? " with TLS" : ""}`,
    tls,
    options: () => ({ hardened, ...(tls ? { tls: certificates().pair } : {}) }),
  }))
);

const ca = () => certificates().authority.cert;

async function withClient(work: (client: Deno.HttpClient) => Promise<void>): Promise<void> {
  using client = Deno.createHttpClient({ caCerts: [ca()] });
  await work(client);
}

for (const { name, tls, options } of KINDS) {
  const raw = (server: HttpServer) => rawClient(server.port, tls ? ca() : undefined);

  Deno.test(`${name}: answers, and says who asks`, () =>
    withClient(async (client) => {
      await using server = await serve(echo, options());
      assert.equal(server.url, `${tls ? "https" : "http"}://127.0.0.1:${server.port}`);
      const response = await fetch(`${server.url}/a?b=c`, { client });
      assert.deepEqual(await response.json(), {
        method: "GET",
        url: `${server.url}/a?b=c`,
        peer: "127.0.0.1",
        size: 0,
      });
    }));

  Deno.test(`${name}: a large body streams in and out, byte for byte`, () =>
    withClient(async (client) => {
      const plane = { fetch: (request: Request) => new Response(request.body) };
      await using server = await serve(plane, options());
      const bytes = new Uint8Array(8 * 1024 * 1024).map((_, i) => i * 31 >> 3);
      const response = await fetch(server.url, { method: "PUT", body: bytes, client });
      const back = new Uint8Array(await response.arrayBuffer());
      assert.equal(back.length, bytes.length);
      assert.ok(back.every((it, i) => it === bytes[i]));
    }));

  Deno.test(`${name}: an answer is not changed on its way, not even for a client that takes gzip`, () =>
    withClient(async (client) => {
      const text = JSON.stringify({ text: "again and ".repeat(10_000) });
      const headers = { "content-type": "application/json", etag: '"x"' };
      await using server = await serve({ fetch: () => new Response(text, { headers }) }, options());
      const response = await fetch(server.url, {
        headers: { "accept-encoding": "gzip, br" },
        client,
      });
      assert.equal(response.headers.get("content-encoding"), null);
      assert.equal(response.headers.get("etag"), '"x"');
      assert.equal(await response.text(), text);
    }));

  Deno.test(`${name}: a client that goes away aborts the request's signal`, async () => {
    const plane = held();
    await using server = await serve(plane, options());
    const client = await raw(server);
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await until("the request arrives", () => plane.arrived === 1);
    assert.equal(plane.aborted, 0);
    client.socket.destroy();
    await until("its signal is aborted", () => plane.aborted === 1);
    plane.release();
  });

  Deno.test(`${name}: closing lets what is in flight finish, and takes nothing more`, () =>
    withClient(async (client) => {
      const plane = held();
      const server = await serve(plane, options());
      const idle = await raw(server);
      const answer = fetch(server.url, { client });
      await until("the request arrives", () => plane.arrived === 1);
      const began = performance.now();
      const closed = server.close(60_000);
      await until("nobody listens", () => {
        try {
          Deno.listen({ port: server.port, hostname: "127.0.0.1" }).close();
          return true;
        } catch {
          return false;
        }
      });
      plane.release();
      const response = await answer;
      assert.equal(await response.text(), "done");
      await closed;
      assert.ok(performance.now() - began < 30_000, "the grace is not waited for");
      await idle.closed;
      await server.close();
    }));

  Deno.test(`${name}: closing lets a body that is on its way arrive`, () =>
    withClient(async (client) => {
      let arrived = 0;
      const plane = {
        async fetch(request: Request) {
          arrived++;
          return new Response(String((await request.arrayBuffer()).byteLength));
        },
      };
      const server = await serve(plane, options());
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
      const writer = writable.getWriter();
      const answer = fetch(server.url, { method: "PUT", body: readable, client });
      await writer.write(new Uint8Array(1000));
      await until("the request arrives", () => arrived === 1);
      const closed = server.close(60_000);
      await writer.write(new Uint8Array(1000));
      await writer.close();
      assert.equal(await (await answer).text(), "2000");
      await closed;
    }));

  Deno.test(`${name}: closing cuts what is not done in time`, async () => {
    const plane = held();
    const server = await serve(plane, options());
    const client = await raw(server);
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await until("the request arrives", () => plane.arrived === 1);
    const began = performance.now();
    await server.close(200);
    const took = performance.now() - began;
    assert.ok(took >= 190 && took < 30_000, `${took} ms`);
    await client.closed;
    assert.doesNotMatch(client.text(), /200 OK|done/);
    plane.release();
  });

  Deno.test(`${name}: a port that is in use is unavailable, and the message names it`, async () => {
    await using server = await serve(echo, options());
    const { port } = server;
    const again = () => serve(echo, { ...options(), port });
    await failsWith("unavailable", again, new RegExp(`127\\.0\\.0\\.1, port ${port}: another`));
    const elsewhere = () => serve(echo, { ...options(), hostname: "192.0.2.1" });
    await failsWith("unavailable", elsewhere, /192\.0\.2\.1.*does not have this address/);
  });

  Deno.test(`${name}: a signal closes it`, async () => {
    const controller = new AbortController();
    const server = await serve(echo, { ...options(), signal: controller.signal });
    controller.abort();
    await server.close();
    await assert.rejects(rawClient(server.port));
    const { signal } = controller;
    await failsWith("aborted", () => serve(echo, { ...options(), signal }));
  });

  Deno.test(`${name}: a plane that throws is a 500 without a word about it`, () =>
    withClient(async (client) => {
      const plane = {
        fetch(): Response {
          throw new Error("secret 12345");
        },
      };
      await using server = await serve(plane, options());
      const response = await fetch(server.url, { client });
      assert.equal(response.status, 500);
      assert.doesNotMatch(await response.text(), /secret/);
      for (const [, value] of response.headers) assert.doesNotMatch(value, /secret/);
    }));

  if (tls) {
    Deno.test(`${name}: nothing older than TLS 1.2 is spoken`, async () => {
      await using server = await serve(echo, options());
      const { connect } = await import("node:tls");
      const speak = (version: "TLSv1.1" | "TLSv1.2" | "TLSv1.3") =>
        new Promise<string>((resolve) => {
          const socket = connect({
            port: server.port,
            host: "127.0.0.1",
            ca: ca(),
            servername: "localhost",
            minVersion: version,
            maxVersion: version,
            // Without it this client refuses to offer 1.1 at all.
            ciphers: "DEFAULT@SECLEVEL=0",
          }, () => {
            resolve(socket.getProtocol() ?? "none");
            socket.destroy();
          });
          socket.on("error", (error) => resolve(`refused: ${error.message}`));
        });
      assert.match(await speak("TLSv1.1"), /^refused/);
      assert.equal(await speak("TLSv1.2"), "TLSv1.2");
      assert.equal(await speak("TLSv1.3"), "TLSv1.3");
    });
  }
}

Deno.test("options that make no sense are refused, and say which", async () => {
  for (
    const options of [
      { port: -1 },
      { port: 65_536 },
      { maxHeaderBytes: 65_537 },
      { maxHeaderBytes: 0 },
      { headersTimeout: 0 },
      { requestTimeout: NaN },
      { maxConnections: 1.5 },
    ]
  ) {
    await failsWith("invalid", () => serve(echo, options), new RegExp(Object.keys(options)[0]!));
  }
});

Deno.test("a certificate or key that cannot be used is refused at once, and never shown", async () => {
  const { authority, pair } = certificates();
  const other = authority.issue("another");
  for (const hardened of [false, true]) {
    for (
      const tls of [
        { cert: "no certificate", key: pair.key },
        { cert: pair.cert, key: "no key" },
        { cert: pair.cert, key: other.key },
        { cert: pair.key, key: pair.cert },
      ]
    ) {
      const error = await serve(echo, { tls, hardened }).catch((it) => it);
      assert.equal(error.code, "invalid");
      assert.equal(error.field, "tls");
      const secret = pair.key.split("\n")[1]!;
      assert.ok(!Deno.inspect(error).includes(secret), Deno.inspect(error));
    }
  }
});

/** Whether the second process's message names the port; see `failsWith` above for the first's. */
Deno.test("a second process is told that the port is in use", async () => {
  await using server = await serve(echo);
  const path = new URL("../../../src/http/serve/serve.ts", import.meta.url).href;
  const script = `import { serve } from ${JSON.stringify(path)};
    const server = await serve({ fetch: () => new Response() }, { port: ${server.port} })
      .catch((error) => console.log(error.code, error.message));
    await server?.close();`;
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", script],
    stderr: "inherit",
  }).output();
  assert.ok(success);
  assert.match(
    new TextDecoder().decode(stdout),
    new RegExp(`^unavailable .*port ${server.port}: another program`),
  );
});
