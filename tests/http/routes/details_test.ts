/**
 * `/metrics` is for this machine, also where the server listens on one address that is not loopback.
 *
 * @module
 */

import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { createControlPlane, serve } from "@unibus/membership/http";
import { openSqlite } from "@unibus/membership";

/** An address of this machine that others reach as well. */
const OWN = Object.values(networkInterfaces()).flat()
  .find((it) => it?.family === "IPv4" && !it.internal)?.address;

Deno.test("a peer on this machine reads /metrics and a stranger does not", async () => {
  await using store = openSqlite(":memory:");
  const plane = createControlPlane(store);
  const read = async (peer: { address: string; isLocal?: boolean }, headers = {}) =>
    (await plane.fetch(new Request("http://192.0.2.9:1/metrics", { headers }), peer)).status;
  assert.equal(await read({ address: "192.0.2.9", isLocal: true }), 200);
  assert.equal(await read({ address: "192.0.2.9", isLocal: false }), 403);
  assert.equal(await read({ address: "192.0.2.9" }), 403);
  // A proxy on this machine asks for others.
  const proxied = { "x-forwarded-for": "192.0.2.7" };
  assert.equal(await read({ address: "192.0.2.9", isLocal: true }, proxied), 403);
  plane.close();
});

Deno.test({
  name: "/metrics can be scraped on the host where the bind is one address",
  // Without a network there is loopback only.
  ignore: OWN === undefined,
  fn: async () => {
    await using store = openSqlite(":memory:");
    const plane = createControlPlane(store);
    await using server = await serve(plane, { hostname: OWN!, hardened: true });
    const response = await fetch(`${server.url}/metrics`);
    assert.match(await response.text(), /unibus_http_requests_total/);
    assert.equal(response.status, 200);
    plane.close();
  },
});
