/** Following changes through a client: every change once, in order, whatever happens to the servers. */

import assert from "node:assert/strict";
import { openSqlite, type Store } from "@unibus/membership";
import { type Client, createClient, createIdentity } from "@unibus/membership/client";
import { createControlPlane } from "@unibus/membership/http";
import { failsWith } from "../../helpers/sqlite.ts";

type Answer = (request: Request) => Promise<Response>;

interface World extends AsyncDisposable {
  store: Store;
  /** How each node answers; a test may change it. */
  nodes: Answer[];
  /** A client of so many nodes. */
  client(count?: number): Client;
  /** Adds an invite; returns its id. */
  invite(): Promise<string>;
}

async function world(): Promise<World> {
  const store = openSqlite(":memory:");
  const identity = createIdentity();
  await store.addUser({ ...identity, handle: "ada", role: "admin" });
  const plane = createControlPlane(store);
  const nodes: Answer[] = Array.from({ length: 3 }, () => (request) => plane.fetch(request));
  const clients: Client[] = [];
  return {
    store,
    nodes,
    client: (count = 1) => {
      const client = createClient({
        url: Array.from({ length: count }, (_, i) => `http://127.0.0.1:${8471 + i}`),
        identity,
        fetch: (request) => nodes[Number(new URL(request.url).port) - 8471]!(request),
        retries: 0,
      });
      clients.push(client);
      return client;
    },
    invite: async () => (await store.createInvite({ createdBy: "test" })).invite.id,
    [Symbol.asyncDispose]: async () => {
      for (const it of clients) it.close();
      plane.close();
      await store.close();
    },
  };
}

/** Takes so many changes of a client; the ids of their invites. */
async function take(client: Client, count: number, after?: string | null): Promise<string[]> {
  const found: string[] = [];
  for await (const it of client.follow(after === undefined ? {} : { after })) {
    if (it.invite !== null) found.push(it.invite);
    if (found.length === count) break;
  }
  return found;
}

Deno.test("following begins now, at the oldest change, or behind a given one", async () => {
  await using it = await world();
  const client = it.client();
  const first = await it.invite();
  const { items } = await client.changes({ newest: true });
  const second = await it.invite();
  const asked = Promise.withResolvers<void>();
  const [answer] = it.nodes as [Answer];
  it.nodes[0] = (request) => {
    if (request.url.includes("wait=")) asked.resolve();
    return answer(request);
  };
  const fromNow = take(client, 1);
  await asked.promise;
  const third = await it.invite();
  assert.deepEqual(await fromNow, [third]);
  assert.deepEqual(await take(client, 3, null), [first, second, third]);
  assert.deepEqual(await take(client, 2, items[0]!.revision), [second, third]);
});

Deno.test("failures of nodes lose no change and repeat none", async () => {
  await using it = await world();
  const client = it.client(3);
  const whole = it.nodes[0]!;
  const failures: Answer[] = [
    () => Promise.reject(new TypeError("connection refused")),
    () => Promise.resolve(new Response("<html>bad gateway", { status: 502 })),
    async (request) => {
      // The answer is lost on its way.
      await whole(request);
      throw new TypeError("connection reset");
    },
    () => Promise.resolve(Response.json({ code: "rate_limited" }, { status: 429 })),
  ];
  const made: string[] = [];
  let asked = 0;
  it.nodes.fill(async (request) => {
    if (!request.url.includes("/v1/changes")) return await whole(request);
    const turn = asked++;
    if (turn % 3 === 0 && made.length < 8) made.push(await it.invite());
    // Two of three requests fail, each time in another way.
    return await (turn % 3 === 2 ? whole : failures[turn % 4]!)(request);
  });
  assert.deepEqual(await take(client, 8, null), made);
  assert.ok(asked >= 24, `${asked} requests`);
});

Deno.test("it ends when its signal is aborted, and with what only its caller can mend", async () => {
  await using it = await world();
  const client = it.client();
  const end = new AbortController();
  const following = (async () => {
    for await (const _ of client.follow({ signal: end.signal })) assert.fail("there is no change");
  })();
  end.abort();
  await following;
  // Also while a request waits: that is given up, too.
  const [whole] = it.nodes as [Answer];
  const waiting = Promise.withResolvers<Request>();
  it.nodes[0] = (request) => {
    waiting.resolve(request);
    return new Promise(() => {});
  };
  const soon = new AbortController();
  const hanging = (async () => {
    for await (const _ of client.follow({ after: null, signal: soon.signal })) assert.fail();
  })();
  const { signal } = await waiting.promise;
  soon.abort("enough");
  await hanging;
  assert.equal(signal.reason, "enough");
  // And while it waits to try again.
  const failed = Promise.withResolvers<void>();
  let tries = 0;
  const began = performance.now();
  it.nodes[0] = () => {
    if (++tries === 3) failed.resolve();
    return Promise.reject(new TypeError("connection refused"));
  };
  const later = new AbortController();
  const trying = (async () => {
    for await (const _ of client.follow({ after: null, signal: later.signal })) assert.fail();
  })();
  await failed.promise;
  assert.ok(performance.now() - began > 550, "it waits longer each time");
  later.abort();
  await trying;
  it.nodes[0] = whole;
  await it.invite();
  await it.store.pruneHistory({ keep: 1 });
  await failsWith("too_old", () => take(client, 1, "0.0"));
  await failsWith("invalid", () => take(client, 1, "nonsense"));
  const closing = take(client, 100);
  client.close();
  await failsWith("closed", () => closing);
});
