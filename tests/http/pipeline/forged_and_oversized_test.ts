/** What somebody with bad intentions tries: each was once possible, or is what one would try first. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { openDiskBlobs } from "../../../src/blobs/mod.ts";
import { createClient, createIdentity, isStoreError } from "../../../src/client/mod.ts";
import { serve } from "../../../src/http/serve/serve.ts";
import { signRequest } from "../../../src/signature/mod.ts";
import { isProblem, ORIGIN, recordsOf, requestOf, someone, testPlane } from "../kit.ts";
import { freePorts } from "../../helpers/nats.ts";
import { testTls } from "../../helpers/tls.ts";

/** A body that is sent when the test says so; `wanted` resolves when somebody waits for it. */
function heldBody(text: string): {
  body: ReadableStream<Uint8Array<ArrayBuffer>>;
  wanted: Promise<void>;
  send(): void;
} {
  const wanted = Promise.withResolvers<void>();
  const sent = Promise.withResolvers<void>();
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      wanted.resolve();
      await sent.promise;
      controller.enqueue(new TextEncoder().encode(text));
      controller.close();
    },
  }, { highWaterMark: 0 });
  return { body, wanted: wanted.promise, send: sent.resolve };
}

/** The same request with its body replaced by a stream. */
async function holding(line: string, ask: Parameters<typeof requestOf>[1] & { body: object }) {
  const held = heldBody(JSON.stringify(ask.body));
  const { url, method, headers } = await requestOf(line, ask);
  const init: RequestInit & { duplex: "half" } = {
    method,
    headers,
    body: held.body,
    duplex: "half",
  };
  return { ...held, request: new Request(url, init) };
}

Deno.test("a body that was signed cannot be taken away", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  const tamper = (request: Request) => {
    const headers = new Headers(request.headers);
    headers.set("content-length", "0");
    return new Request(request.url, { method: request.method, headers });
  };
  const before = await recordsOf(it.store);
  const body = { expiresIn: 1000, note: "for one second" };
  const answer = await it.ask("POST /v1/invites", { as: admin, body, tamper });
  isProblem(answer, 401, "unauthenticated");
  assert.equal(answer.json.reason, "content-digest");
  assert.deepEqual(await recordsOf(it.store), before);
  // None was signed, none came: that is what it says.
  assert.equal((await it.ask("POST /v1/invites", { as: admin, body: "" })).status, 201);
});

Deno.test("a right that ends while the body is under way is gone when it has come", async () => {
  await using it = await testPlane();
  const [admin, other] = [await it.user("admin"), await it.user("admin")];
  const { signPub, kexPub } = someone();
  const body = { signPub, kexPub, handle: "heir", role: "admin" };
  const held = await holding("POST /v1/users", { as: admin, body });
  const answer = it.plane.fetch(held.request);
  await held.wanted;
  await it.store.revokeUser(admin.signPub);
  const before = await recordsOf(it.store);
  held.send();
  const { status } = await answer;
  assert.equal(status, 403);
  assert.deepEqual(await recordsOf(it.store), before);
  assert.equal((await it.ask("GET /v1/me", { as: other })).status, 200);
});

Deno.test("who owned a room of that id before adds nobody to the one that is there now", async () => {
  await using it = await testPlane();
  const [before, now] = [await it.user(), await it.user()];
  const room = { id: "kitchen", encrypted: false };
  assert.equal((await it.ask("POST /v1/rooms", { as: before, body: room })).status, 201);
  const body = { endpoint: before.signPub, kexPub: before.kexPub };
  const held = await holding("POST /v1/rooms/kitchen/members", { as: before, body });
  const answer = it.plane.fetch(held.request);
  await held.wanted;
  assert.equal((await it.ask("DELETE /v1/rooms/kitchen", { as: before })).status, 204);
  assert.equal((await it.ask("POST /v1/rooms", { as: now, body: room })).status, 201);
  held.send();
  assert.equal((await answer).status, 404);
  const { items } = await it.store.listMembers("kitchen");
  assert.deepEqual(items.map(({ endpoint }) => endpoint), [now.signPub]);
});

Deno.test("methods nobody knows do not each become a time series", async () => {
  await using it = await testPlane();
  for (let i = 0; i < 200; i++) {
    await it.plane.fetch(new Request(`${ORIGIN}/v1/me`, { method: `FOO${i}` }));
  }
  const { text } = await it.ask("GET /metrics");
  assert.ok(text.split("\n").length < 120, `${text.split("\n").length} lines`);
  assert.match(text, /unibus_http_requests_total\{method="other",route="none",status="405"\} 200/);
});

Deno.test("keys that anybody makes do not fill the log: strangers are limited by address", async () => {
  await using it = await testPlane({ failuresPerMinute: 20 });
  const statuses: number[] = [];
  for (let i = 0; i < 50; i++) {
    statuses.push((await it.ask("GET /v1/me", { as: someone() })).status);
  }
  assert.deepEqual(statuses, [...Array(20).fill(403), ...Array(30).fill(429)]);
  assert.equal(it.events.filter(({ event }) => event === "refused").length, 20);
  // Neither users there nor users who may not are touched.
  const user = await it.user();
  assert.equal((await it.ask("GET /v1/me", { as: user })).status, 200);
  assert.equal((await it.ask("GET /v1/users", { as: user })).status, 403);
});

Deno.test("readiness names paths and servers to this machine, not to strangers", async () => {
  const dir = await mkdtemp(join(tmpdir(), "unibus-adversary-"));
  const blobs = await openDiskBlobs(join(dir, "blobs"));
  await using it = await testPlane({ blobs });
  await rm(dir, { recursive: true });
  const found = await it.ask("GET /readyz", { address: "192.0.2.1" });
  assert.equal(found.status, 503);
  assert.ok(!found.text.includes(dir) && !found.text.includes("ENOENT"), found.text);
  assert.deepEqual(
    found.json.checks.filter(({ ok }: { ok: boolean }) => !ok)
      .map(({ name }: { name: string }) => name),
    ["blobs"],
  );
  assert.match((await it.ask("GET /readyz")).text, /ENOENT/);
  await blobs.close();
});

Deno.test("a signed request is the URL that is sent, also with an empty query", async () => {
  await using it = await testPlane();
  const user = await it.user();
  const url = `${ORIGIN}/v1/me?`;
  for (const fragment of ["", "#", "#a", "#a#"]) {
    const headers = await signRequest({ method: "GET", url: url + fragment }, user);
    assert.equal((await it.plane.fetch(new Request(url, { headers }))).status, 200, fragment);
  }
});

Deno.test("a server cannot pass off other bytes as a blob by calling them a part of it", async () => {
  const fetch = () =>
    Promise.resolve(
      new Response("evil", { status: 206, headers: { "content-range": "bytes 0-3/4" } }),
    );
  using client = createClient({ url: ORIGIN, identity: createIdentity(), fetch });
  const { body } = await client.getBlob("0".repeat(64));
  await assert.rejects(new Response(body).text(), (error) => isStoreError(error, "corrupt"));
});

Deno.test("an answer without an end is an error before it fills the memory", async () => {
  for (const status of [200, 401]) {
    let pulled = 0;
    const fetch = () => {
      const body = new ReadableStream({
        pull(controller) {
          pulled++;
          controller.enqueue(new Uint8Array(65_536));
        },
      });
      return Promise.resolve(new Response(body, { status }));
    };
    using client = createClient({ url: ORIGIN, identity: createIdentity(), fetch });
    await assert.rejects(client.me(), (error) => isStoreError(error, "unsupported"));
    assert.ok(pulled < 1100, `${pulled} parts`);
  }
});

Deno.test("a part of a blob is that part or an error", async () => {
  const dir = await mkdtemp(join(tmpdir(), "unibus-adversary-"));
  const blobs = await openDiskBlobs(dir);
  await using it = await testPlane({ blobs });
  const identity = createIdentity();
  await it.store.addUser({ signPub: identity.signPub, kexPub: identity.kexPub, handle: "ada" });
  const fetch = (request: Request) => it.plane.fetch(request);
  using client = createClient({ url: ORIGIN, identity, fetch });
  const { id } = await client.putBlob(new TextEncoder().encode("0123456789"));
  const part = async (start?: number, end?: number) => {
    const { body } = await client.getBlob(id, {
      ...(start === undefined ? {} : { start }),
      ...(end === undefined ? {} : { end }),
    });
    return await new Response(body).text();
  };
  assert.equal(await part(2, 4), "234");
  assert.equal(await part(7), "789");
  assert.equal(await part(undefined, 2), "012");
  assert.equal(await part(8, 2 ** 52), "89");
  for (const [start, end] of [[5, 2], [-3, undefined], [1.5, 2], [NaN, undefined], [0, -1]]) {
    await assert.rejects(part(start, end), (error) => isStoreError(error, "invalid"));
  }
  await blobs.close();
  await rm(dir, { recursive: true });
});

Deno.test("a TLS server that answers nonsense is an error, not the end of the program", async () => {
  await using tls = await testTls();
  const cert = await readFile(tls.server.cert);
  let status = "";
  const server = createTlsServer({ cert, key: await readFile(tls.server.key) }, (socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end(`HTTP/1.1 ${status}\r\ncontent-length: 2\r\n\r\n{]`));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const ca = await readFile(tls.caFile, "utf8");
  using client = createClient({ url, ca, identity: createIdentity(), timeout: 60_000, retries: 0 });
  for (status of ["999 What", "600 X", "200 OK"]) {
    await assert.rejects(client.createInvite(), (error) => {
      assert.ok(isStoreError(error), String(error));
      // Told at once, not for want of an answer in time.
      assert.doesNotMatch(error.message, /within/, status);
      return true;
    });
  }
  status = "205 Reset";
  assert.equal(await client.deleteRoom("r"), undefined);
  server.close();
  await once(server, "close");
});

Deno.test("a password in a URL is refused, and shown to nobody", async () => {
  for (const url of ["http://:hunter2@127.0.0.1:1", "http://ada:hunter2@127.0.0.1:1"]) {
    await assert.rejects(
      async () => await createClient({ url, identity: createIdentity(), retries: 0 }).me(),
      (error) => isStoreError(error, "invalid") && !String(error).includes("hunter2"),
    );
  }
});

Deno.test({
  name: "uploads to a server that is not there leave no files open",
  // Where one can see which files are open.
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const dir = await mkdtemp(join(tmpdir(), "unibus-adversary-"));
    const path = join(dir, "file");
    await writeFile(path, new Uint8Array(1_000_000));
    const [port] = await freePorts(1);
    using client = createClient({
      url: `http://127.0.0.1:${port}`,
      identity: createIdentity(),
      retries: 0,
    });
    const open = async () => {
      const links = [];
      for (const fd of await readdir("/proc/self/fd")) {
        links.push(await Deno.readLink(`/proc/self/fd/${fd}`).catch(() => ""));
      }
      return links.filter((it) => it === path).length;
    };
    for (let i = 0; i < 30; i++) {
      await assert.rejects(client.putBlob({ path }), (error) => isStoreError(error, "unavailable"));
    }
    const deadline = Date.now() + 60_000;
    while (await open() > 0 && Date.now() < deadline) await new Promise((go) => setTimeout(go, 50));
    assert.equal(await open(), 0);
    await rm(dir, { recursive: true });
  },
});

/** Sends bytes, and gives what comes back until it ends or `done` says so. */
async function raw(port: number, bytes: string, done: (got: string) => boolean): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  let got = "";
  const ended = Promise.withResolvers<void>();
  socket.on("data", (chunk) => {
    got += chunk.toString("latin1");
    if (done(got)) ended.resolve();
  });
  socket.on("error", () => {});
  socket.on("close", () => ended.resolve());
  socket.write(Buffer.from(bytes, "latin1"));
  const timer = setTimeout(() => ended.resolve(), 30_000);
  await ended.promise;
  clearTimeout(timer);
  socket.destroy();
  return got;
}

for (const hardened of [false, true]) {
  const name = hardened ? "hardened" : "Deno.serve";

  Deno.test(`${name}: a refused body is no request of its own, and the next one is answered`, async () => {
    await using it = await testPlane({ busAuth: "enforce" });
    await using server = await serve(it.plane, { port: 0, hardened });
    const inner = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
    for (const size of [inner.length, 100_000, 3_000_000]) {
      const body = inner.padEnd(size, " ");
      const bytes = `POST /v1/rooms HTTP/1.1\r\nHost: a\r\ncontent-length: ${size}\r\n\r\n${body}` +
        "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
      const got = await raw(server.port, bytes, (it) => it.includes('{"ok":true}'));
      assert.match(got, /^HTTP\/1\.1 401 /);
      assert.ok(!got.includes("openapi"), got);
      // It is kept and answers, or is closed.
      const answers = got.match(/HTTP\/1\.1 \d+/g)!;
      assert.ok(["HTTP/1.1 401", "HTTP/1.1 401,HTTP/1.1 200"].includes(String(answers)), got);
    }
  });

  Deno.test(`${name}: a strange Host or target is answered below 500`, async () => {
    await using it = await testPlane({ busAuth: "enforce", failuresPerMinute: 1e6 });
    await using server = await serve(it.plane, { port: 0, hardened });
    const hosts = ["", "[", "a b", "a/../b?x#y", "ü", "a,b", ":80", "a:99999", "@", "%zz", "a\\b"];
    const targets = [
      "/v1/me",
      "*",
      "/",
      "//v1/me",
      "/v1/rooms/%",
      "/v1/rooms/%ff%FE",
      "/v1/me?%",
      "http://[/v1/me",
      "http://x",
      "/v1/rooms/a%00b",
      "/v1/../v1/me",
      "/v1/me#x",
      "ftp://x/y",
      "/%2e%2e/v1/me",
      "?",
      "/v1/me;x",
    ];
    const ask = async (target: string, host: string) => {
      const bytes = `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
      const got = await raw(server.port, bytes, () => false);
      assert.ok(!/^HTTP\/1\.1 5/.test(got), `${target} at ${host}: ${got.slice(0, 300)}`);
    };
    await Promise.all(hosts.map((host) => ask("/v1/me", host)));
    await Promise.all(targets.map((target) => ask(target, "a")));
    assert.deepEqual(it.events.filter(({ event }) => event === "failed"), []);
  });

  Deno.test(`${name}: a path is judged and answered as it was sent, or refused`, async () => {
    await using it = await testPlane({ busAuth: "enforce" });
    await using server = await serve(it.plane, { port: 0, hardened });
    const ada = await it.user();
    const url = `http://127.0.0.1:${server.port}/v1/me`;
    const ask = async (target: string) => {
      const fields = Object.entries(await signRequest({ method: "GET", url }, ada));
      const headers = fields.map(([name, value]) => `${name}: ${value}\r\n`).join("");
      const host = `Host: 127.0.0.1:${server.port}\r\n`;
      const bytes = `GET ${target} HTTP/1.1\r\n${host}Connection: close\r\n${headers}\r\n`;
      return await raw(server.port, bytes, () => false);
    };
    assert.match(await ask("/v1/me"), /^HTTP\/1\.1 200 /);
    assert.match(await ask(url), /^HTTP\/1\.1 200 /);
    // Signed for /v1/me, and sent to where a proxy may have let it pass as something else.
    const forms = ["/v1/x/../me", "/v1/./me", "/v1/x/%2e%2e/me", "/v1/x/%2E./me", "/../v1/me"];
    for (const target of [...forms, ...forms.map((it) => `http://127.0.0.1:${server.port}${it}`)]) {
      assert.match(await ask(target), /^HTTP\/1\.1 40[014] /, target);
    }
    // A fragment, which no request has, does not hide what was shortened.
    const hidden = await ask("/v1/x/../me#x");
    assert.match(hidden, hardened ? /^HTTP\/1\.1 400 / : /^HTTP\/1\.1 40[014] /);
  });

  Deno.test(`${name}: an upload that is cut off leaves no file, and is no failure of ours`, async () => {
    const dir = await mkdtemp(join(tmpdir(), "unibus-adversary-"));
    const blobs = await openDiskBlobs(dir);
    await using it = await testPlane({ blobs });
    await using server = await serve(it.plane, { port: 0, hardened });
    const user = await it.user();
    for (const framing of ["content-length: 1000000", "transfer-encoding: chunked"]) {
      const digest = `sha-256=:${"A".repeat(43)}=:`;
      const signed = await signRequest(
        { method: "PUT", url: `${server.url}/v1/blobs`, digest },
        user,
      );
      const fields = Object.entries(signed).map(([name, value]) => `${name}: ${value}\r\n`).join(
        "",
      );
      const socket = connect(server.port, "127.0.0.1");
      socket.on("error", () => {});
      socket.write(
        `PUT /v1/blobs HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\n${framing}\r\n${fields}\r\n` +
          (framing.startsWith("c") ? "x".repeat(300_000) : `186a0\r\n${"x".repeat(100_000)}\r\n`),
      );
      const tmp = () => readdir(join(dir, "tmp")).then((it) => it.length);
      const until = async (count: number) => {
        const deadline = Date.now() + 60_000;
        while (await tmp() !== count) {
          assert.ok(Date.now() < deadline, `${framing}: ${await tmp()} files, expected ${count}`);
          await new Promise((go) => setTimeout(go, 10));
        }
      };
      await until(1);
      socket.destroy();
      await until(0);
    }
    const deadline = Date.now() + 60_000;
    const ended = () => it.events.filter(({ event }) => event === "request").length;
    while (ended() < 2 && Date.now() < deadline) await new Promise((go) => setTimeout(go, 10));
    assert.equal(ended(), 2);
    assert.deepEqual(it.events.filter(({ level }) => level === "error"), []);
    await blobs.close();
    await rm(dir, { recursive: true });
  });
}

Deno.test("every status that is answered is in the OpenAPI document", async () => {
  const dir = await mkdtemp(join(tmpdir(), "unibus-adversary-"));
  const blobs = await openDiskBlobs(dir);
  await using it = await testPlane({ blobs, requireEncrypted: true });
  const as = await it.user();
  const { paths } = (await it.ask("GET /openapi.json")).json;
  const blob = "/v1/blobs/{id}";
  const id = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
  const get = (headers: Record<string, string> = {}) => ["GET", blob, { headers }, id] as const;
  const cases: [string, string, object, string?][] = [
    ["PUT", "/v1/blobs", { body: "hello" }],
    ["PUT", "/v1/blobs", { body: "hello" }],
    [...get()],
    [...get({ range: "bytes=1-2" })],
    [...get({ range: "bytes=99-" })],
    [...get({ "if-none-match": "*" })],
    ["POST", "/v1/rooms", { body: { id: "r", encrypted: false } }],
    ["POST", "/v1/rooms", { body: "{}", headers: { "content-type": "text/plain" } }],
    ["POST", "/v1/rooms", { body: "x".repeat(9_000_000) }],
  ];
  const statuses: number[] = [];
  for (const [method, path, ask, id] of cases) {
    const { status, headers } = await it.ask(`${method} ${path.replace("{id}", id!)}`, {
      as,
      ...ask,
    });
    statuses.push(status);
    const told = paths[path][method.toLowerCase()].responses[status];
    assert.ok(told, `${method} ${path}: ${status}`);
    const type = headers.get("content-type");
    if (status !== 304) assert.ok(type! in told.content, `${method} ${path}: ${status} ${type}`);
  }
  assert.deepEqual(statuses, [201, 200, 200, 206, 416, 304, 409, 415, 413]);
  await blobs.close();
  await rm(dir, { recursive: true });
});

Deno.test("a body in bits of one byte holds no more memory than one in a piece", async () => {
  await using it = await testPlane();
  const who = someone();
  const bits = 10_000;
  const text = " ".repeat(bits);
  const { url, headers } = await requestOf("POST /v1/register", { as: who, body: text });
  headers.set("content-type", "application/json");
  const before = Deno.memoryUsage().external;
  let most = 0;
  let sent = 0;
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      most = Math.max(most, Deno.memoryUsage().external - before);
      if (sent++ === bits) return controller.close();
      // As Deno.serve reads: each part in a buffer of its own.
      controller.enqueue(new Uint8Array(65_536).fill(32, 0, 1).subarray(0, 1));
    },
  }, { highWaterMark: 0 });
  const init: RequestInit & { duplex: "half" } = { method: "POST", headers, body, duplex: "half" };
  const response = await it.plane.fetch(new Request(url, init));
  assert.equal((await response.json()).detail, "The body must be JSON");
  assert.ok(most < 300e6, `${Math.round(most / 1e6)} MB`);
});

Deno.test("a request that is written in another way is still the one that was seen", async () => {
  await using it = await testPlane();
  const user = await it.user();
  const request = await requestOf("GET /v1/me", { as: user });
  const { url, headers } = request;
  assert.equal((await it.plane.fetch(request)).status, 200);
  const input = headers.get("signature-input")!;
  const signature = headers.get("signature")!;
  const other = signature.replace(/^sig/, "a");
  const again: [string, string][] = [
    [input, signature],
    [input.replace(/^sig/, "other"), signature.replace(/^sig/, "other")],
    [`${input} ,  x=("@method")`, signature],
    [`p=("@method");keyid="proxy", ${input}`, `${other}, ${signature}`],
    [input, `  ${signature} , ${other}`],
  ];
  for (const [signatureInput, signature] of again) {
    const sent = { "signature-input": signatureInput, signature, "x-request-id": "another" };
    const response = await it.plane.fetch(new Request(url, { headers: sent }));
    const { status, reason } = { reason: null, ...await response.json() };
    assert.deepEqual([response.status, status, reason], [401, 401, "nonce"], signatureInput);
  }
  // And what is not equal is not signed: another method, another spelling of the same path.
  for (
    const [method, path] of [["HEAD", "/v1/me"], ["GET", "/v1/%6de"], ["GET", "/v1/me?"]] as const
  ) {
    const response = await it.plane.fetch(new Request(ORIGIN + path, { method, headers }));
    assert.equal(response.status, 401, `${method} ${path}`);
  }
});

Deno.test("a deep or wide body is refused in no time", async () => {
  await using it = await testPlane();
  const as = await it.user();
  const headers = { "content-type": "application/json" };
  const some = someone();
  const member = { endpoint: some.signPub, kexPub: some.kexPub };
  const bodies = [
    "[".repeat(1_000_000),
    `${"[".repeat(500_000)}${"]".repeat(500_000)}`,
    `{"members":${"[".repeat(400_000)}${"]".repeat(400_000)},"id":"r"}`,
    `{${Array.from({ length: 80_000 }, (_, i) => `"k${i}":1`).join(",")}}`,
    JSON.stringify({ id: "r", encrypted: false, members: Array(5_000).fill(member) }),
    '{"__proto__":{"id":"r"},"encrypted":false}',
    '{"id":"r","constructor":{}}',
    `{"id":"r","encrypted":false,"n":1e999999}`,
    `\ufeff\ufeff{"id":"r"}`,
  ];
  const began = performance.now();
  for (const body of bodies) {
    const answer = await it.ask("POST /v1/rooms", { as, body, headers });
    isProblem(answer, 400, "invalid");
    assert.ok(answer.text.length < 2000, answer.text.slice(0, 300));
  }
  assert.ok(performance.now() - began < 30_000, `${performance.now() - began} ms`);
  assert.equal((await it.store.listRooms()).items.length, 0);
  // To parse as much as a large room may send would block the process for seconds.
  for (const small of ["[]", "{}", '{"":0}', "0"]) {
    const members = Array(Math.floor(8_000_000 / (small.length + 1))).fill(small).join();
    const body = `{"id":"r","members":[${members}]}`;
    const answer = await it.ask("POST /v1/rooms", { as, body, headers });
    isProblem(answer, 400, "invalid");
    assert.match(answer.json.detail, /too many values for its length/);
  }
  const all = Array.from({ length: 5_000 }, () => ({ ...someone(), accepted: false }));
  const members = all.map(({ signPub: endpoint, kexPub, accepted }) => ({
    endpoint,
    kexPub,
    accepted,
  }));
  const sealedKeys = [as, ...all].map(({ signPub: endpoint }) => ({ endpoint, sealedKey: "AA" }));
  const room = await it.ask("POST /v1/rooms", { as, body: { id: "r", members, sealedKeys } });
  assert.equal(room.status, 201, room.text);
});
