/** Which URLs a node tells the others. */

import assert from "node:assert/strict";
import { hostname } from "node:os";
import { publicUrls } from "../../../cli/serve/public_urls.ts";
import { resolve } from "../../../cli/settings/resolve.ts";

function urlsOf(flags: Record<string, string>, names: string[] | null): string[][] {
  const { settings } = resolve({ flags, env: {}, file: null });
  const listening = { http: 8470, nats: "nats://127.0.0.1:4250", ws: null };
  const { urls, busUrls } = publicUrls(settings, names, listening);
  return [[...urls], [...busUrls]];
}

const PUBLIC = { bind: "0.0.0.0", busAuth: "enforce" };
const NONE = [[], []];

Deno.test("a node tells the URLs in its settings, and no others of that kind", () => {
  const publicUrl = "https://n1.example,https://n1.other.example:1,tls://n1.example:4250";
  assert.deepEqual(urlsOf({ ...PUBLIC, publicUrl }, ["n1.example"]), [
    ["https://n1.example", "https://n1.other.example:1"],
    ["tls://n1.example:4250"],
  ]);
  assert.deepEqual(urlsOf({ publicUrl: "nats://10.0.0.1:4250" }, null), [
    ["http://127.0.0.1:8470"],
    ["nats://10.0.0.1:4250"],
  ]);
});

Deno.test("without settings a node tells the listen address, or its name in the certificate", () => {
  assert.deepEqual(urlsOf({}, null), [["http://127.0.0.1:8470"], ["nats://127.0.0.1:4250"]]);
  assert.deepEqual(urlsOf({ bind: "::1" }, null)[0], ["http://[::1]:8470"]);
  const named = (name: string) => [[`https://${name}:8470`], [`tls://${name}:4250`]];
  assert.deepEqual(urlsOf(PUBLIC, ["n1.example"]), named("n1.example"));
  const own = `${hostname().split(".")[0]}.example`.toLowerCase();
  assert.deepEqual(urlsOf(PUBLIC, ["other.example", own]), named(own));
  const bind = { ...PUBLIC, bind: "10.0.0.7" };
  assert.deepEqual(urlsOf(bind, ["n1.example", "10.0.0.7"]), named("10.0.0.7"));
});

Deno.test("a node that cannot know how it is reached tells nothing", () => {
  assert.deepEqual(urlsOf(PUBLIC, null), NONE);
  assert.deepEqual(urlsOf(PUBLIC, ["n2.example", "n3.example"]), NONE, "the names of all nodes");
  assert.deepEqual(urlsOf(PUBLIC, ["*.example"]), NONE);
  // A name of a proxy says nothing of its port; another NATS server is not ours to name.
  assert.deepEqual(urlsOf({ authority: "bus.example" }, null)[0], []);
  assert.deepEqual(urlsOf({ natsUrl: "nats://10.0.0.1:4222" }, null)[1], []);
});

Deno.test("a node tells its WebSocket as its other listeners, or that of its proxy", () => {
  const of = (
    flags: Record<string, string>,
    names: string[] | null = null,
    ws: number | null = 1,
  ) => {
    const { settings } = resolve({ flags, env: {}, file: null });
    return publicUrls(settings, names, { http: 8470, nats: "nats://127.0.0.1:4250", ws }).wsUrls;
  };
  assert.deepEqual(of({}), ["ws://127.0.0.1:1"]);
  assert.deepEqual(of({}, null, null), []);
  // A page's policy cannot name an IPv6 address.
  assert.deepEqual(of({ bind: "::1" }), ["ws://localhost:1"]);
  assert.deepEqual(of(PUBLIC, ["n1.example"]), ["wss://n1.example:1"]);
  assert.deepEqual(of(PUBLIC, ["n2.example", "n3.example"]), []);
  const wsUrl = "wss://bus.example.org/bus";
  assert.deepEqual(of({ ...PUBLIC, wsUrl }), [wsUrl]);
  assert.deepEqual(of({ natsUrl: "nats://10.0.0.1:4222", wsUrl }, null, null), [wsUrl]);
});
