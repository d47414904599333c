/** Which failures of the runtime's own connections mean that nothing was sent. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { httpsFetch } from "../../../src/client/node/https.ts";
import { wasUnsent } from "../../../src/client/node/unsent.ts";
import { serve } from "../../../src/http/mod.ts";
import { freePorts } from "../../helpers/nats.ts";
import { testTls } from "../../helpers/tls.ts";

async function failureOf(work: () => Promise<Response>): Promise<unknown> {
  try {
    await (await work()).body?.cancel();
  } catch (error) {
    return error;
  }
  throw new Error("A failure was expected");
}

Deno.test("a connection that was refused or is not trusted got nothing", async () => {
  const [port] = await freePorts(1);
  await using tls = await testTls();
  await using other = await testTls();
  const pair = tls.authority.issue("server");
  const plane = { fetch: () => Promise.resolve(new Response("")) };
  await using server = await serve(plane, { port: 0, tls: pair });
  const trusting = httpsFetch(other.authority.cert);
  try {
    const post = { method: "POST", body: "x" };
    for (
      const work of [
        () => fetch(`http://127.0.0.1:${port}`, post),
        () => fetch("http://nosuch.invalid", post),
        () => trusting.fetch(new Request(`https://127.0.0.1:${port}`, post)),
        () => trusting.fetch(new Request(server.url, post)),
        () => fetch(server.url, post),
      ]
    ) {
      const failure = await failureOf(work);
      assert.equal(wasUnsent(failure), true, String(failure));
    }
  } finally {
    trusting.close();
  }
});

Deno.test("a connection that was cut may have got the request", async () => {
  const server = createServer((socket) => {
    socket.on("error", () => {}).on("data", () => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const post = { method: "POST", body: "x" };
  assert.equal(wasUnsent(await failureOf(() => fetch(`http://127.0.0.1:${port}`, post))), false);
  for (const failure of [new Error("client error"), "x", null, { code: "ECONNREFUSED" }]) {
    assert.equal(wasUnsent(failure), false);
  }
  const closed = once(server, "close");
  server.close();
  await closed;
});
