/** The control plane below a path of somebody else's server: what is signed there fits. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
// @ts-types="@types/express"
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import { openSqlite, type Store } from "@unibus/membership";
import { createClient, createIdentity, type Identity } from "@unibus/membership/client";
import { type ControlPlane, createControlPlane, nodeListener } from "@unibus/membership/http";
import { failsWith } from "../../helpers/sqlite.ts";

/** A control plane below `/bus` with one user, its admin. */
interface Place {
  store: Store;
  plane: ControlPlane;
  ada: Identity;
}

async function place(work: (it: Place) => Promise<void>, basePath?: string): Promise<void> {
  await using store = openSqlite(":memory:");
  const ada = createIdentity();
  const { signPub, kexPub } = ada;
  await store.addUser({ signPub, kexPub, handle: "ada", role: "admin" });
  const plane = createControlPlane(store, basePath === undefined ? {} : { basePath });
  await work({ store, plane, ada });
  plane.close();
}

async function listening(server: Server, work: (url: string) => Promise<void>): Promise<void> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}/bus`);
  } finally {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  }
}

/** What a client does there, with a body and without, and what a browser gets. */
async function works(url: string, ada: Identity): Promise<void> {
  using client = createClient({ url, identity: ada });
  assert.equal((await client.me()).user?.handle, "ada");
  const { token } = await client.createInvite({ note: "a body" });
  using bob = createClient({ url, identity: createIdentity() });
  assert.equal((await bob.register(token, "bob")).handle, "bob");
  assert.equal((await client.listUsers({ limit: 1 })).items.length, 1);
  assert.deepEqual(await (await fetch(`${url}/healthz`)).json(), { ok: true });
  const page = await fetch(`${url}/join`);
  const [, script] = /<script type="module" src="([^"]+)"/.exec(await page.text())!;
  assert.equal((await fetch(new URL(script!, page.url))).status, 200);
  assert.match(await (await fetch(`${url}/`)).text(), / href="\/bus\/docs"/);
}

Deno.test("Hono: mount() takes the base off, and a handler of the whole path leaves it on", () =>
  place(async ({ plane, ada }) => {
    const off = new Hono().mount("/bus", plane.fetch);
    const on = new Hono().all("/bus/*", (c) => plane.fetch(c.req.raw));
    for (const app of [off, on]) {
      const server = Deno.serve({ port: 0, onListen: () => {} }, app.fetch);
      await works(`http://127.0.0.1:${server.addr.port}/bus`, ada);
      await server.shutdown();
    }
  }, "/bus"));

Deno.test("Express: use() takes the base off", () =>
  place(async ({ plane, ada }) => {
    const app = express().use("/bus", nodeListener(plane)).use(express.json());
    await listening(createServer(app as RequestListener), (url) => works(url, ada));
  }, "/bus"));

Deno.test("Fastify: the request and its answer are handed on", () =>
  place(async ({ plane, ada }) => {
    const app = fastify();
    app.removeAllContentTypeParsers();
    app.addContentTypeParser("*", (_request, _payload, done) => done(null));
    const listener = nodeListener(plane);
    app.all("/bus/*", (request, reply) => {
      reply.hijack();
      return listener(request.raw, reply.raw);
    });
    const url = await app.listen({ port: 0, host: "127.0.0.1" });
    await works(`${url}/bus`, ada);
    await app.close();
  }, "/bus"));

Deno.test("node:http: the listener is one", () =>
  place(async ({ plane, ada }) => {
    await listening(createServer(nodeListener(plane)), (url) => works(url, ada));
  }, "/bus"));

Deno.test("without basePath the refusal says for which path the request came", () =>
  place(async ({ plane, ada }) => {
    const app = new Hono().mount("/bus", plane.fetch);
    using client = createClient({
      url: "http://localhost/bus",
      identity: ada,
      fetch: async (request) => await app.fetch(request),
    });
    await failsWith("unauthenticated", () => client.me(), /a request for "\/v1\/me"/);
  }));

Deno.test("a request for another path of the server is not taken for one below the base", () =>
  place(async ({ plane, ada }) => {
    const other = createClient({
      url: "http://localhost/bus2",
      identity: ada,
      fetch: (it) => plane.fetch(it),
    });
    // Its whole path would be /bus/bus2/v1/me.
    await failsWith("not_found", () => other.me());
    other[Symbol.dispose]();
  }, "/bus"));

Deno.test("a basePath that is none, or one of our own paths, is invalid", async () => {
  await using store = openSqlite(":memory:");
  for (const basePath of ["bus", "/", "/bus/", "/a b", "/v1", "/assets/x", "/rooms", "/a?b"]) {
    await failsWith("invalid", () => createControlPlane(store, { basePath }), /basePath/);
  }
  for (const basePath of ["", "/bus", "/a/b.c", "/v10"]) {
    createControlPlane(store, { basePath }).close();
  }
});

Deno.test("what is signed for one base is refused at another", () =>
  place(async ({ store, ada }) => {
    const other = createControlPlane(store, { basePath: "/other" });
    using client = createClient({
      url: "http://localhost/bus",
      identity: ada,
      // As a server would that takes the base off both.
      fetch: (it) => other.fetch(new Request(it.url.replace("/bus/", "/"), it)),
    });
    await failsWith("unauthenticated", () => client.me(), /"\/other\/v1\/me"/);
    other.close();
  }));
