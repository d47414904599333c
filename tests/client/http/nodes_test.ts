/** What a client does with several nodes, each a control plane of one store on a port of its own. */

import assert from "node:assert/strict";
import {
  type Client,
  type ClientOptions,
  createClient,
  createIdentity,
  openSession,
} from "@unibus/membership/client";
import {
  type ControlPlaneNode,
  type ControlPlaneOptions,
  createControlPlane,
  type HttpServer,
  serve,
} from "@unibus/membership/http";
import { openSqlite, type Store } from "@unibus/membership";
import { notReady } from "../../../src/http/serve/not_ready.ts";
import { parseSession } from "../../../src/keys/codec/session.ts";
import { until } from "../../cli/serve/kit.ts";
import { testTls } from "../../helpers/tls.ts";
import { failsWith } from "../../helpers/sqlite.ts";

/** How a node answers instead; `null` for as the control plane does. */
type Answer = (request: Request) => Promise<Response> | Response | null;

/** A node. A test may change how it answers. */
interface TestNode extends AsyncDisposable {
  url: string;
  /** Paths that it was asked for. */
  asked: string[];
  answer: Answer | null;
  /** What it says the nodes are. */
  nodes: readonly ControlPlaneNode[];
  server: HttpServer;
}

interface NodeOptions extends ControlPlaneOptions {
  tls?: { cert: string; key: string };
  port?: number;
}

async function nodeOf(store: Store, options: NodeOptions = {}): Promise<TestNode> {
  const { tls, port = 0, ...more } = options;
  const asked: string[] = [];
  const plane = createControlPlane(store, { nodes: () => node.nodes, ...more });
  const server = await serve({
    fetch: (request, peer) => {
      asked.push(`${request.method} ${new URL(request.url).pathname}`);
      return Promise.resolve(node.answer?.(request) ?? plane.fetch(request, peer));
    },
  }, { port, ...tls && { tls } });
  const node: TestNode = {
    url: server.url,
    asked,
    answer: null,
    nodes: [],
    server,
    [Symbol.asyncDispose]: async () => {
      plane.close();
      await server.close(0);
    },
  };
  return node;
}

const listed = (...nodes: string[]): ControlPlaneNode[] =>
  nodes.map((url, i) => ({
    name: `n${i + 1}`,
    urls: [url],
    busUrls: [],
    wsUrls: [],
    answers: true,
  }));

/** Takes requests and never answers, as a process that was stopped by SIGSTOP. */
const hang = () => new Promise<Response>(() => {});

interface World extends AsyncDisposable {
  store: Store;
  nodes: TestNode[];
  client(options: Partial<ClientOptions>): Client;
  add(options?: NodeOptions): Promise<TestNode>;
}

async function world(n: number, options: NodeOptions = {}): Promise<World> {
  const store = openSqlite(":memory:");
  const identity = createIdentity();
  await store.addUser({ ...identity, handle: "ada", role: "admin" });
  const nodes: TestNode[] = [];
  const clients: Client[] = [];
  const add = async (own: NodeOptions = options) => {
    const node = await nodeOf(store, own);
    nodes.push(node);
    return node;
  };
  for (let i = 0; i < n; i++) await add();
  return {
    store,
    nodes,
    add,
    client: (its) => {
      const client = createClient({ url: nodes.map((it) => it.url), identity, ...its });
      clients.push(client);
      return client;
    },
    [Symbol.asyncDispose]: async () => {
      for (const it of clients) it.close();
      for (const it of nodes) await it[Symbol.asyncDispose]();
      await store.close();
    },
  };
}

const of = (node: TestNode, path: string) => node.asked.filter((it) => it.endsWith(path)).length;
/** The node that a client uses. */
const used = (nodes: TestNode[], path: string) => nodes.find((it) => of(it, path) > 0)!;

Deno.test("a client with several URLs stays with a node that is ready", async () => {
  await using it = await world(3);
  const [a, b, c] = it.nodes as [TestNode, TestNode, TestNode];
  for (const node of [a, b]) {
    node.answer = (request) => request.url.endsWith("/readyz") ? notReady("Not yet") : null;
  }
  const client = it.client({});
  for (let i = 0; i < 5; i++) await client.me();
  assert.deepEqual([of(a, "/me"), of(b, "/me"), of(c, "/me")], [0, 0, 5]);
  assert.equal(of(c, "/readyz"), 1, "one probe");
});

Deno.test("a node that stops is left at once, for reads and writes, and no call fails", async () => {
  await using it = await world(3);
  const client = it.client({ retries: 0 });
  await client.me();
  const first = used(it.nodes, "/me");
  await first.server.close(0);
  const began = performance.now();
  await client.createRoom({ id: "kitchen", encrypted: false });
  await client.me();
  assert.ok(performance.now() - began < 5_000, "no wait");
  assert.equal((await it.store.getRoom("kitchen")).id, "kitchen");
});

Deno.test("what a node that starts or stops refuses is sent to another, also a write", async () => {
  await using it = await world(2);
  const client = it.client({ retries: 0 });
  await client.me();
  used(it.nodes, "/me").answer = () => notReady("The server is stopping");
  await client.createRoom({ id: "kitchen", encrypted: false });
});

Deno.test("with one URL, what a node that starts refuses is retried there, also a write", async () => {
  await using it = await world(1);
  const [node] = it.nodes;
  let refused = 0;
  node!.answer = () => ++refused < 2 ? notReady("The server is starting") : null;
  await it.client({}).createRoom({ id: "kitchen", encrypted: false });
  assert.equal(refused, 2);
});

Deno.test("a write without a response is sent once, and the next call goes to another node", async () => {
  await using it = await world(2);
  const client = it.client({});
  await client.me();
  const first = used(it.nodes, "/me");
  // The proxy before it lost the response, and the room may exist.
  first.answer = () => new Response("", { status: 502 });
  await failsWith("unavailable", () => client.createRoom({ id: "kitchen", encrypted: false }));
  const other = it.nodes.find((node) => node !== first)!;
  assert.equal(of(first, "/rooms") + of(other, "/rooms"), 1);
  await client.me();
  assert.equal(of(other, "/me"), 1);
});

Deno.test("a blob that does not exist is an answer, and no other node is asked", async () => {
  await using at = await world(2);
  const [one, other] = at.nodes as [TestNode, TestNode];
  // In one text they are two as well.
  const client = at.client({ url: `${one.url}, ${other.url}` });
  await client.listUsers();
  // To a HEAD it says no more than that.
  const none = (request: Request) =>
    request.method === "HEAD" ? new Response(null, { status: 404 }) : null;
  for (const it of at.nodes) it.answer = none;
  const id = "ab".repeat(32);
  await failsWith("not_found", () => client.statBlob(id));
  assert.equal(of(one, id) + of(other, id), 1);
});

Deno.test("an overloaded node is not followed by requests to all others at once", async () => {
  await using it = await world(3);
  const overloaded = () =>
    Response.json({ code: "unavailable", detail: "No", reason: "overloaded" }, {
      status: 503,
      headers: { "retry-after": "0" },
    });
  for (const node of it.nodes) {
    node.answer = (request) => request.url.endsWith("/readyz") ? null : overloaded();
  }
  await failsWith("unavailable", () => it.client({ retries: 2 }).me());
  assert.equal(it.nodes.reduce((sum, node) => sum + of(node, "/me"), 0), 3, "as with one URL");
});

Deno.test("a node that hangs costs the first read two seconds, and later calls nothing", async () => {
  await using it = await world(2);
  const client = it.client({});
  await client.me();
  const first = used(it.nodes, "/me");
  first.answer = hang;
  const asked = first.asked.length;
  const began = performance.now();
  await client.me();
  const took = performance.now() - began;
  assert.ok(took > 1_900 && took < 9_000, `${took} ms`);
  const again = performance.now();
  for (let i = 0; i < 10; i++) await client.me();
  assert.ok(performance.now() - again < 9_000);
  assert.ok(first.asked.length <= asked + 2, "the call and at most one probe");
});

Deno.test("no write is sent to a node that hangs, if the last response is two seconds old", async () => {
  await using it = await world(2);
  const client = it.client({});
  await client.me();
  const first = used(it.nodes, "/me");
  first.answer = hang;
  await new Promise((resolve) => setTimeout(resolve, 2_100));
  const began = performance.now();
  await client.createRoom({ id: "kitchen", encrypted: false });
  assert.ok(performance.now() - began < 9_000, "one probe that fails, one that does not");
});

Deno.test("a slow response still counts if no node is faster", async () => {
  await using it = await world(2);
  const late = async () => {
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    return Response.json({ endpoint: "slow", user: null });
  };
  for (const node of it.nodes) {
    node.answer = (request) => request.url.endsWith("/me") ? late() : null;
  }
  assert.equal((await it.client({ retries: 0 }).me()).endpoint, "slow");
});

Deno.test("a node with a certificate that is not valid gets nothing, not even a write", async () => {
  await using tls = await testTls();
  const good = tls.authority.issue("good");
  await using other = await testTls();
  await using it = await world(0);
  const foreign = await it.add({ tls: other.authority.issue("foreign") });
  const own = await it.add({ tls: good });
  const url = [foreign.url, own.url];
  const client = it.client({ url, ca: tls.authority.cert, retries: 0 });
  await client.createRoom({ id: "kitchen", encrypted: false });
  await client.me();
  assert.deepEqual(foreign.asked, []);
  // And when it is the only one that is ready.
  own.answer = () => notReady("The server is stopping");
  await failsWith("unavailable", () => client.me());
  assert.deepEqual(foreign.asked, []);
});

Deno.test("a client learns the other nodes from one URL, and survives its node", async () => {
  await using it = await world(3);
  const [a, b, c] = it.nodes as [TestNode, TestNode, TestNode];
  a.nodes = listed(a.url, b.url, c.url);
  const client = it.client({ url: a.url, retries: 0 });
  assert.deepEqual((await client.nodes()).nodes, a.nodes);
  await client.me();
  assert.equal(of(a, "/nodes"), 2, "one question of the client's own");
  await a.server.close(0);
  for (let i = 0; i < 3; i++) await client.createRoom({ id: `room-${i}`, encrypted: false });
  // Without learning there is only one node.
  await using alone = await it.add();
  alone.nodes = listed(alone.url, b.url);
  const told = it.client({ url: alone.url, retries: 0, learnNodes: false });
  await told.me();
  assert.equal(of(alone, "/nodes"), 0);
  await alone.server.close(0);
  await failsWith("unavailable", () => told.me());
});

Deno.test("a learned node is used only while no given one answers", async () => {
  await using it = await world(2);
  const [a, b] = it.nodes as [TestNode, TestNode];
  a.nodes = b.nodes = listed(a.url, b.url);
  let now = 0;
  const clock = performance.now;
  const client = it.client({ url: a.url, retries: 0 });
  await client.me();
  a.answer = () => notReady("The server is stopping");
  await client.me();
  assert.deepEqual([of(a, "/me"), of(b, "/me")], [2, 1]);
  a.answer = null;
  await client.me();
  assert.equal(of(b, "/me"), 2, "not asked at every call");
  try {
    performance.now = () => clock.call(performance) + now;
    now = 31_000;
    await client.me();
    await until(async () => {
      await client.me();
      return of(a, "/me") > 2;
    }, "return to the given node");
  } finally {
    performance.now = clock;
  }
});

Deno.test("a control plane that names another one as its node gets no session for that", async () => {
  await using it = await world(2);
  const [mine, other] = it.nodes as [TestNode, TestNode];
  mine.nodes = listed(mine.url, other.url);
  const client = it.client({ url: mine.url, retries: 0 });
  using session = await openSession({ identity: createIdentity(), client });
  await client.me();
  mine.answer = () => notReady("The server is stopping");
  await client.me();
  assert.equal(of(other, "/me"), 1);
  using next = await openSession({ identity: createIdentity(), client });
  for (const { certificate } of [session, next]) {
    assert.equal(parseSession(certificate)!.audience, new URL(mine.url).host);
  }
});

Deno.test("the clock of a control plane stays known while no node is in use", async () => {
  await using it = await world(2);
  for (const node of it.nodes) {
    let isRefused = false;
    node.answer = (request) => {
      if (!request.url.endsWith("/me")) return null;
      if (isRefused) return Response.json({ endpoint: "x", user: null });
      isRefused = true;
      const headers = { date: new Date(Date.now() + 7_200_000).toUTCString() };
      const problem = { code: "unauthenticated", reason: "created" };
      return Response.json(problem, { status: 401, headers });
    };
  }
  const client = it.client({ retries: 0 });
  await client.me();
  const { clockOffset } = client;
  assert.ok(Math.abs(clockOffset - 7_200_000) < 60_000, `${clockOffset} ms`);
  for (const node of it.nodes) node.answer = () => notReady("The server is stopping");
  await failsWith("unavailable", () => client.me());
  assert.equal(client.clockOffset, clockOffset);
});

Deno.test("only the list of a given node counts, and a learned one cannot raise the generation", async () => {
  await using it = await world(3);
  const [a, b, c] = it.nodes as [TestNode, TestNode, TestNode];
  a.nodes = listed(a.url, b.url);
  // The learned one is false: it names another, and a generation that shuts out the given one.
  b.nodes = listed(b.url, c.url);
  b.answer = (request) =>
    request.url.endsWith("/me")
      ? Response.json({ endpoint: "false", user: null }, {
        headers: { "unibus-nodes": "new", "unibus-generation": "99" },
      })
      : null;
  const client = it.client({ url: a.url, retries: 0 });
  await client.me();
  a.answer = () => notReady("The server is stopping");
  assert.equal((await client.me()).endpoint, "false");
  assert.equal(client.generation, 0);
  b.answer = () => notReady("The server is stopping");
  await failsWith("unavailable", () => client.me());
  assert.deepEqual(c.asked, []);
  a.answer = null;
  await client.me();
});

Deno.test("a node of a lower generation is left, and a read goes to another", async () => {
  await using it = await world(2);
  const [a, b] = it.nodes as [TestNode, TestNode];
  b.answer = (request) => request.url.endsWith("/readyz") ? notReady("Not yet") : null;
  const client = it.client({ generation: 0, retries: 0 });
  const now = (request: Request) =>
    Response.json(request.url.endsWith("/readyz") ? { ok: true } : { endpoint: "a", user: null }, {
      headers: { "unibus-generation": "1" },
    });
  a.answer = now;
  await client.me();
  assert.equal(client.generation, 1);
  // The node is put back to an old state; the other has the new one.
  a.answer = null;
  b.answer = now;
  assert.equal((await client.me()).endpoint, "a");
  await failsWith("refused", async () => {
    b.answer = null;
    await client.me();
  });
});

const FALSE_LISTS: [name: string, from: string, list: string[]][] = [
  ["http for https", "https://bus.example", ["http://n2.bus.example:8470"]],
  ["loopback for another machine", "https://bus.example", [
    "https://127.0.0.1:9",
    "https://localhost",
    "https://[::1]",
    "http://127.0.0.1:9",
  ]],
  ["http on another machine for loopback", "http://127.0.0.1:8470", ["http://10.0.0.2:8470"]],
  ["anything over cleartext", "http://10.0.0.1:8470", ["https://n2.example", "http://10.0.0.2"]],
  ["no URLs", "https://bus.example", [
    "ftp://n2.example",
    "https://u:p@n2.example",
    "https://n2.example/?a=1",
    "n2",
    "",
  ]],
];

for (const [name, url, list] of FALSE_LISTS) {
  Deno.test(`a false list diverts no client: ${name}`, async () => {
    const asked = new Set<string>();
    let isDown = false;
    using client = createClient({
      url,
      identity: createIdentity(),
      retries: 0,
      fetch: (request) => {
        const { origin, pathname } = new URL(request.url);
        asked.add(origin);
        if (isDown && origin === new URL(url).origin) return Promise.reject(new Error("Down"));
        const body = pathname === "/v1/nodes"
          ? { nodes: [...listed(...list), { urls: 7 }, null, { urls: [null, 7] }] }
          : { endpoint: "e", user: null };
        return Promise.resolve(Response.json(body, { headers: { "unibus-nodes": "v" } }));
      },
    });
    await client.me();
    isDown = true;
    await failsWith("unavailable", () => client.me());
    assert.deepEqual([...asked], [new URL(url).origin]);
  });
}

Deno.test("a list may name 32 nodes, and over TLS they are used", async () => {
  const asked = new Set<string>();
  let isDown = false;
  const list = Array.from({ length: 50 }, (_, i) => `https://n${i}.example:8470`);
  using client = createClient({
    url: "https://bus.example",
    identity: createIdentity(),
    retries: 0,
    fetch: (request) => {
      const { origin, pathname } = new URL(request.url);
      asked.add(origin);
      if (isDown) return Promise.reject(new Error("Down"));
      const body = pathname === "/v1/nodes" ? { nodes: listed(...list) } : { endpoint: "e" };
      return Promise.resolve(Response.json(body, { headers: { "unibus-nodes": "v" } }));
    },
  });
  await client.me();
  isDown = true;
  await failsWith("unavailable", () => client.me());
  assert.equal(asked.size, 33);
});

Deno.test("a refusal by a learned node is the answer, unless it concerns the signature", async () => {
  await using it = await world(2);
  const [a, b] = it.nodes as [TestNode, TestNode];
  a.nodes = listed(a.url, b.url);
  const client = it.client({ url: a.url, retries: 0 });
  await client.me();
  a.answer = () => notReady("The server is stopping");
  const asked = a.asked.length;
  await failsWith("not_found", () => client.getRoom("nowhere"));
  await failsWith("not_found", () => client.getRoom("nowhere"));
  assert.ok(a.asked.length <= asked + 2, "the call and at most one probe");
  b.answer = (request) =>
    request.url.endsWith("/readyz")
      ? null
      : Response.json({ code: "unauthenticated", detail: "No", reason: "keyid" }, { status: 401 });
  a.answer = null;
  await client.createRoom({ id: "kitchen", encrypted: false });
});

Deno.test("a client without an identity probes its nodes too", async () => {
  await using it = await world(2);
  const [a, b] = it.nodes as [TestNode, TestNode];
  a.answer = () => notReady("Not yet");
  using client = createClient({ url: it.nodes.map((node) => node.url), retries: 0 });
  await failsWith("not_found", () => client.checkInvite("7".repeat(64)));
  assert.deepEqual([of(a, "/check"), of(b, "/check")], [0, 1]);
});

Deno.test("a stream that was begun is not sent to another node", async () => {
  await using it = await world(2);
  const client = it.client({});
  await client.me();
  const first = used(it.nodes, "/me");
  first.answer = () => notReady("The server is stopping");
  const stream = new Blob(["soup"]).stream();
  const digest = "0".repeat(64);
  await failsWith("unavailable", () => client.putBlob({ stream, digest }));
  assert.equal(it.nodes.reduce((sum, node) => sum + of(node, "/blobs"), 0), 1);
});

Deno.test("only users are told the nodes", async () => {
  await using it = await world(1);
  const [node] = it.nodes;
  node!.nodes = listed(node!.url, "http://127.0.0.1:1");
  using stranger = createClient({ url: node!.url, identity: createIdentity() });
  await failsWith("forbidden", () => stranger.nodes());
  const { headers } = await fetch(`${node!.url}/v1/me`).then(async (it) => {
    await it.body?.cancel();
    return it;
  });
  assert.equal(headers.get("unibus-nodes"), null);
  // A node that is alone has nothing to say.
  node!.nodes = listed(node!.url);
  const client = it.client({});
  await client.me();
  assert.equal(of(node!, "/nodes"), 1, "the stranger's");
});

Deno.test("a URL that is none, and an empty list, are refused", () => {
  const identity = createIdentity();
  for (const url of [[], ["http://127.0.0.1:1", "ftp://x"], ["https://u:p@x"]]) {
    assert.throws(() => createClient({ url, identity }), { code: "invalid", field: "url" });
  }
  const url = ["https://a.example", "http://127.0.0.1:1"];
  assert.throws(() => createClient({ url, identity, ca: "x" }), { code: "invalid", field: "ca" });
});
