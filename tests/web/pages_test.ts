/** The pages as they are served: what is built in, how it is protected, how it is kept by browsers. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { Hono } from "hono";
import { hasConsole } from "../../cli/settings/guards.ts";
import { resolve } from "../../cli/settings/resolve.ts";
import { busSources, pageOf } from "../../src/http/pages/pages.ts";
import { ASSETS, DOCUMENTS } from "../../src/http/pages/web_assets.ts";
import { build, GENERATED } from "../../src/web/build.ts";
import { testPlane } from "../http/kit.ts";

Deno.test("src/http/pages/web_assets.ts is what `deno task web` makes of the sources", async () => {
  assert.ok(await readFile(GENERATED, "utf8") === await build(), "`deno task web` makes it anew");
});

/** Most bytes of each page with all that it loads, compressed. */
const LIMITS = { console: 90_000, docs: 60_000, front: 60_000, join: 60_000, rooms: 130_000 };

Deno.test("each page loads no more than its limit, compressed", () => {
  const sizeOf = (text: string) => gzipSync(text, { level: 9 }).length;
  for (const [page, html] of Object.entries(DOCUMENTS)) {
    const loads = [...html.matchAll(/"\/assets\/([^"]+)"/g)].map(([, name]) => name!);
    const sizes = loads.map((name) => ({ name, size: sizeOf(ASSETS[name]!) }));
    const total = sizes.reduce((sum, it) => sum + it.size, sizeOf(html));
    const limit = LIMITS[page as keyof typeof LIMITS];
    assert.ok(total < limit, `${page}: ${total} bytes, of ${limit}: ${JSON.stringify(sizes)}`);
  }
});

Deno.test("a page names all the scripts that it loads, so that they are loaded at once", () => {
  for (const [page, html] of Object.entries(DOCUMENTS)) {
    const names = [...html.matchAll(/"\/assets\/([^"]+\.js)"/g)].map(([, name]) => name!);
    const imported = names.flatMap((name) =>
      [...ASSETS[name]!.matchAll(/(?:from|import)\s*"\.\/([^"]+)"/g)].map(([, it]) => it!)
    );
    assert.deepEqual(imported.filter((it) => !names.includes(it)), [], page);
    // The rest is its own script, if it has one.
    const own = html.includes("<script") ? 1 : 0;
    assert.equal(names.length, new Set(imported).size + own, page);
  }
});

Deno.test("no page has a script or style in it, and none names another host", () => {
  for (const [page, html] of Object.entries(DOCUMENTS)) {
    assert.doesNotMatch(html, /<script(?![^>]* src=)|<style| style=| on\w+=|https?:/i, page);
  }
  for (const [name, text] of Object.entries(ASSETS)) {
    const hosts = [...text.matchAll(/https?:\/\/[\w.-]+/g)].map(([it]) => it);
    // The name of a markup language, and loopback in a text: no addresses of others.
    const fine = ["http://www.w3.org", "http://127.0.0.1"];
    assert.deepEqual(hosts.filter((it) => !fine.includes(it.replace(/\.$/, ""))), [], name);
  }
});

Deno.test("a page is served with a strict policy, and its parts for ever", async () => {
  await using it = await testPlane();
  for (const page of ["join", "rooms", "console"]) {
    const answer = await it.ask(`GET /${page}`);
    assert.equal(answer.status, 200);
    const policy = answer.headers.get("content-security-policy")!;
    for (
      const part of [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "require-trusted-types-for 'script'",
      ]
    ) assert.ok(policy.split("; ").includes(part), part);
    assert.doesNotMatch(policy, /unsafe|\*|https?:|data:/);
    assert.equal(answer.headers.get("referrer-policy"), "no-referrer");
    assert.equal(answer.headers.get("cross-origin-opener-policy"), "same-origin");
    assert.equal(answer.headers.get("cross-origin-resource-policy"), "same-origin");
    assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
    assert.equal(answer.headers.get("cache-control"), "no-cache");
    assert.equal(answer.headers.get("set-cookie"), null);
    const parts = [...answer.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url]) => url!);
    assert.ok(parts.length >= 4);
    for (const url of parts) {
      const part = await it.ask(`GET ${url}`);
      assert.equal(part.status, 200, url);
      assert.equal(part.headers.get("cache-control"), "public, max-age=31536000, immutable");
      assert.equal(part.headers.get("x-content-type-options"), "nosniff");
      assert.match(part.headers.get("content-type")!, /javascript|css|svg/);
    }
  }
});

Deno.test("a browser that has a page is told so, in the form that it has", async () => {
  await using it = await testPlane();
  const plain = await it.ask("GET /join");
  const packed = await it.ask("GET /join", { headers: { "accept-encoding": "br, gzip;q=0.5" } });
  const refused = await it.ask("GET /join", { headers: { "accept-encoding": "gzip;q=0" } });
  assert.equal(packed.headers.get("content-encoding"), "gzip");
  assert.equal(plain.headers.get("content-encoding"), null);
  assert.equal(refused.headers.get("content-encoding"), null);
  assert.equal(plain.headers.get("vary"), "accept-encoding");
  const [one, other] = [plain, packed].map((it) => it.headers.get("etag")!);
  assert.notEqual(one, other);
  const again = (tag: string) => it.ask("GET /join", { headers: { "if-none-match": tag } });
  for (const tag of [one!, `W/${one}`, `"x", ${one}`]) {
    const { status, text, headers } = await again(tag);
    assert.deepEqual([status, text, headers.get("etag")], [304, "", one]);
    assert.equal(headers.get("vary"), "accept-encoding");
    assert.equal(headers.get("cache-control"), "no-cache");
    assert.ok(headers.has("x-request-id"));
  }
  assert.equal((await again("*")).status, 304);
  assert.equal((await again(other!)).status, 200);
  assert.equal((await again('"x"')).status, 200);
});

Deno.test("a page may connect to what it is given of the bus, and is loaded again when that changes", async () => {
  let nodes = [{ wsUrls: ["ws://127.0.0.1:4252"] }, { wsUrls: ["wss://n2.example/bus"] }];
  const app = new Hono().get("/rooms", (c) => pageOf("join", c, "", busSources(nodes)));
  const ask = (headers: Record<string, string> = {}) => app.request("/rooms", { headers });
  const first = await ask();
  const policy = first.headers.get("content-security-policy")!;
  const allowed = "connect-src 'self' ws://127.0.0.1:4252 wss://n2.example/bus";
  assert.ok(policy.split("; ").includes(allowed), policy);
  const tag = first.headers.get("etag")!;
  assert.equal((await ask({ "if-none-match": tag })).status, 304);
  // Text that would end the directive, or allow more, is no URL of a WebSocket.
  const odd = [
    "wss://a; script-src *",
    "wss://*.example",
    "https://a",
    "wss://a b",
    "wss://a,b",
    "",
  ];
  nodes = [{ wsUrls: [...odd, "wss://n3.example"] }];
  assert.deepEqual(busSources(nodes), ["wss://n3.example"]);
  const again = await ask({ "if-none-match": tag });
  assert.equal(again.status, 200);
  assert.match(again.headers.get("content-security-policy")!, /'self' wss:\/\/n3\.example;/);
});

Deno.test("HEAD tells what GET would, other methods and other names are refused", async () => {
  await using it = await testPlane();
  const head = await it.ask("HEAD /join");
  assert.deepEqual([head.status, head.text], [200, ""]);
  const [get] = Object.keys(ASSETS);
  assert.equal((await it.ask(`HEAD /assets/${get}`)).status, 200);
  assert.equal((await it.ask("POST /join")).status, 405);
  for (const name of ["nothing.js", "constructor", "__proto__", "..%2Fjoin", "%00", ""]) {
    assert.equal((await it.ask(`GET /assets/${name}`)).status, 404, name);
  }
});

Deno.test("pages can be left out; the parts of the others stay", async () => {
  const [asset] = Object.keys(ASSETS);
  const statuses = async (pages: { join?: boolean; rooms?: boolean; console?: boolean }) => {
    await using it = await testPlane({ pages });
    const paths = ["/join", "/rooms", "/console", `/assets/${asset}`];
    return await Promise.all(paths.map(async (path) => (await it.ask(`GET ${path}`)).status));
  };
  assert.deepEqual(await statuses({}), [200, 200, 200, 200]);
  assert.deepEqual(await statuses({ console: false }), [200, 200, 404, 200]);
  assert.deepEqual(await statuses({ rooms: false }), [200, 404, 200, 200]);
  assert.deepEqual(await statuses({ join: false, console: false }), [404, 200, 404, 200]);
  const none = { join: false, rooms: false, console: false };
  assert.deepEqual(await statuses(none), [404, 404, 404, 200]);
});

Deno.test("where nobody's signature is demanded, the console is for this machine only", async () => {
  for (const busAuth of ["off", "soft"] as const) {
    await using it = await testPlane({ busAuth });
    const from = async (address: string) => (await it.ask("GET /console", { address })).status;
    assert.equal(await from("127.0.0.1"), 200);
    assert.equal(await from("::1"), 200);
    assert.equal(await from("10.0.0.9"), 403);
    assert.equal((await it.ask("GET /join", { address: "10.0.0.9" })).status, 200);
  }
});

Deno.test("the program serves the console where it must be, and nowhere else", () => {
  const of = (flags: Record<string, string>) =>
    hasConsole(resolve({ flags, env: {}, file: null }).settings);
  const far = { bind: "0.0.0.0" };
  assert.equal(of({}), true);
  assert.equal(of({ ...far, busAuth: "enforce" }), true);
  assert.equal(of({ busAuth: "soft" }), true);
  // The server does not start like that; and if it did, there would be no console.
  assert.equal(of({ ...far, busAuth: "off" }), false);
  assert.equal(of({ ...far, busAuth: "soft" }), false);
  assert.equal(of({ console: "false", busAuth: "enforce" }), false);
});
