import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Client,
  type ClientOptions,
  createClient,
  createIdentity,
  type HttpFailure,
  isStoreError,
  type StoreErrorCode,
} from "../../../src/client/mod.ts";
import { verifyRequest } from "../../../src/signature/mod.ts";

const TOKEN = "7".repeat(64);

type Answer = (request: IncomingMessage, response: ServerResponse, nth: number) => void;

/** A server that answers as a test says, and counts. */
interface Fake extends AsyncDisposable {
  url: string;
  requests: string[];
  client: Client;
}

async function fake(answer: Answer, options: Partial<ClientOptions> = {}): Promise<Fake> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    answer(request, response, requests.length);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = createClient({ url, identity: createIdentity(), ...options });
  return {
    url,
    requests,
    client,
    [Symbol.asyncDispose]: async () => {
      client.close();
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

const json = (response: ServerResponse, value: unknown, status = 200, headers = {}) =>
  response.writeHead(status, { "content-type": "application/json", ...headers })
    .end(JSON.stringify(value));

const problem = (response: ServerResponse, status: number, code: string, more = {}, headers = {}) =>
  json(
    response,
    { status, code, detail: `It was ${code}`, requestId: "r-1", ...more },
    status,
    headers,
  );

async function fails(
  promise: Promise<unknown>,
  code: StoreErrorCode,
  message = /./,
): Promise<HttpFailure> {
  let cause: unknown;
  await assert.rejects(promise, (error) => {
    assert.ok(isStoreError(error), String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    cause = error.cause;
    return true;
  });
  return cause as HttpFailure;
}

/** A server whose clock is `ahead` milliseconds off ours, and which looks at it. */
function clockServer(ahead: number): Answer {
  return (request, response) => {
    const now = new Date(Date.now() + ahead);
    const headers = { date: now.toUTCString() };
    try {
      verifyRequest({
        method: request.method!,
        url: `http://${request.headers.host}${request.url}`,
        headers: new Headers(request.headers as Record<string, string>),
      }, { now: () => now, windowMs: 60_000 });
      json(response, { ok: true }, 200, headers);
    } catch (error) {
      assert.ok(isStoreError(error, "unauthenticated"));
      problem(response, 401, error.code, { reason: error.field, detail: error.message }, headers);
    }
  };
}

for (const [name, ahead] of [["ahead", 3_600_000], ["behind", -3_600_000]] as const) {
  Deno.test(`a server whose clock is an hour ${name} is followed after one refusal`, async () => {
    await using it = await fake(clockServer(ahead), { retries: 0 });
    await it.client.me();
    assert.equal(it.requests.length, 2);
    // Also what must not be done twice: the refused one was not done. And the offset is kept.
    await it.client.register(TOKEN, "ada");
    assert.equal(it.requests.length, 3);
  });
}

Deno.test("a clock is corrected once a call, however often it is refused", async () => {
  await using it = await fake((_, response) =>
    problem(response, 401, "unauthenticated", { reason: "created" })
  );
  const { status, reason, requestId, serverTime } = await fails(it.client.me(), "unauthenticated");
  assert.deepEqual([status, reason, requestId], [401, "created", "r-1"]);
  assert.ok(Math.abs(Date.parse(serverTime!) - Date.now()) < 5000);
  assert.equal(it.requests.length, 2);
});

Deno.test("other refusals of a signature are final", async () => {
  await using it = await fake((_, response) =>
    problem(response, 401, "unauthenticated", { reason: "nonce" })
  );
  await fails(it.client.me(), "unauthenticated");
  assert.equal(it.requests.length, 1);
});

Deno.test("who may sit in between cannot set our clock", async () => {
  const dates: string[] = [];
  const client = createClient({
    url: "http://bus.example:8470",
    identity: createIdentity(),
    fetch: (request) => {
      dates.push(/created=(\d+)/.exec(request.headers.get("signature-input")!)![1]!);
      const headers = { date: new Date(Date.now() + 3_600_000).toUTCString() };
      const body = { code: "unauthenticated", reason: "created", detail: "No" };
      return Promise.resolve(Response.json(body, { status: 401, headers }));
    },
  });
  await fails(client.me(), "unauthenticated");
  await fails(client.me(), "unauthenticated");
  assert.equal(dates.length, 2);
  for (const it of dates) assert.ok(Math.abs(Number(it) * 1000 - Date.now()) < 5000);
});

Deno.test("a rate limit is waited for, also by what must not be done twice", async () => {
  await using it = await fake((_, response, nth) =>
    nth === 1
      ? problem(response, 429, "rate_limited", {}, { "retry-after": "1" })
      : json(response, { ok: true })
  );
  const began = performance.now();
  await it.client.register(TOKEN, "ada");
  assert.ok(performance.now() - began >= 1000);
  assert.equal(it.requests.length, 2);
});

Deno.test("a rate limit that outlasts the timeout is told at once", async () => {
  const refuse: Answer = (_, response) =>
    problem(response, 429, "rate_limited", {}, { "retry-after": "120" });
  await using it = await fake(refuse, { timeout: 100_000 });
  const began = performance.now();
  const { retryAfter } = await fails(it.client.me(), "rate_limited", /^It was rate_limited$/);
  assert.equal(retryAfter, 120);
  assert.ok(performance.now() - began < 60_000);
  assert.equal(it.requests.length, 1);
});

Deno.test("a repetition that takes too long fails with what was answered first, unless it may have been done", async () => {
  const once: Answer = (_, response, nth) => {
    if (nth === 1) problem(response, 503, "unavailable", { reason: "not_ready" });
  };
  await using it = await fake(once, { timeout: 2000 });
  await fails(it.client.me(), "unavailable", /^It was unavailable$/);
  await using other = await fake(once, { timeout: 2000 });
  await fails(other.client.register(TOKEN, "ada"), "unavailable", /no response within 2000 ms/);
  for (const { requests } of [it, other]) assert.equal(requests.length, 2);
});

Deno.test("what cannot be answered now is asked again only where nothing is done twice", async () => {
  await using it = await fake((_, response) => problem(response, 503, "unavailable"));
  const endpoint = createIdentity().signPub;
  await fails(it.client.getUser(endpoint), "unavailable");
  assert.equal(it.requests.length, 3);
  const sealedKey = new Uint8Array(3);
  await fails(
    it.client.putSealedKey({ roomId: "r", epoch: 1, endpoint, sealedKey }),
    "unavailable",
  );
  assert.equal(it.requests.length, 6);
  await fails(it.client.register(TOKEN, "ada"), "unavailable");
  await fails(it.client.deleteUser(endpoint), "unavailable");
  await fails(it.client.restoreUser(endpoint), "unavailable");
  assert.deepEqual(it.requests.slice(6).map((line) => line.split(" ")[0]), [
    "POST",
    "DELETE",
    "POST",
  ]);
});

Deno.test("a connection that breaks before the answer is unavailable, and asked again only for reads", async () => {
  await using it = await fake((request) => request.socket.destroy());
  await fails(it.client.me(), "unavailable", /^GET \/v1\/me got no response/);
  const reads = it.requests.length;
  assert.ok(reads >= 3, `${reads}`);
  await fails(it.client.register(TOKEN, "ada"), "unavailable", /^POST/);
  assert.equal(it.requests.length - reads, 1);
});

Deno.test("a server that comes back in time is not noticed", async () => {
  await using it = await fake((request, response, nth) =>
    nth < 3 ? request.socket.destroy() : json(response, { ok: true })
  );
  await it.client.me();
});

Deno.test("nobody there is unavailable", async () => {
  const it = await fake(() => {});
  await it[Symbol.asyncDispose]();
  using client = createClient({ url: it.url, identity: createIdentity() });
  await fails(client.me(), "unavailable");
  assert.equal(await client.isAlive(), false);
});

Deno.test("a closed client asks nothing more", async () => {
  await using it = await fake((_, response) => json(response, { endpoint: "", user: null }));
  await it.client.me();
  it.client.close();
  await fails(it.client.me(), "closed");
  assert.equal(it.requests.length, 1);
});

Deno.test("the timeout ends a call whose answer or body does not come", async () => {
  const stalls: Answer[] = [
    () => {},
    (_, response) => void response.writeHead(200).write('{"ok":'),
    (_, response) => void response.writeHead(400).write('{"code":'),
  ];
  for (const stall of stalls) {
    await using it = await fake(stall, { timeout: 1000 });
    const began = performance.now();
    await fails(it.client.me(), "unavailable", /no response within 1000 ms$/);
    const took = performance.now() - began;
    assert.ok(took >= 990 && took < 60_000, `${took}`);
    assert.equal(it.requests.length, 1);
  }
});

Deno.test("the timeout holds also for a fetch that does not heed it", async () => {
  const client = createClient({
    url: "http://bus.example",
    identity: createIdentity(),
    timeout: 50,
    fetch: () => new Promise(() => {}),
  });
  await fails(client.me(), "unavailable", /within 50 ms$/);
  await fails(client.getBlob("ab".repeat(32), { timeout: Infinity }), "invalid", /timeout/);
});

Deno.test("a caller ends a call with its signal", async () => {
  await using it = await fake(() => {});
  const controller = new AbortController();
  const id = "ab".repeat(32);
  const call = it.client.getBlob(id, { signal: controller.signal });
  while (it.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  controller.abort();
  await fails(call, "aborted", /was aborted$/);
  await fails(it.client.getBlob(id, { signal: controller.signal }), "aborted");
  assert.equal(it.requests.length, 1);
});

Deno.test("what is no control plane is unsupported; redirects are not followed", async () => {
  await using it = await fake((request, response) => {
    const { url } = request;
    if (url === "/v1/me" || url === "/openapi.json") response.end("<html>Hello</html>");
    else if (url === "/v1/rooms/kitchen/keys") json(response, null);
    else if (request.url === "/v1/users") response.writeHead(302, { location: "/v1/me" }).end();
    else response.writeHead(405).end("no");
  });
  const foreign = await fails(it.client.me(), "unsupported", /not JSON/);
  assert.deepEqual([foreign.status, foreign.code], [200, null]);
  await fails(it.client.listUsers(), "unsupported", /GET \/v1\/users failed with status 302/);
  await fails(it.client.listInvites(), "unsupported", /405/);
  await fails(it.client.openApi(), "unsupported", /not JSON/);
  await fails(it.client.listSealedKeys("kitchen"), "unsupported", /not a list/);
  assert.equal(it.requests.length, 5);
});

Deno.test("errors keep the server's code, field and message; unknown codes go by the status", async () => {
  const answers: [number, Record<string, unknown>, StoreErrorCode][] = [
    [400, { code: "invalid", field: "handle" }, "invalid"],
    [409, { code: "last_admin" }, "last_admin"],
    [410, { code: "invite_expired" }, "invite_expired"],
    [404, { code: "toString" }, "not_found"],
    [418, { code: "teapot" }, "unsupported"],
    [500, { code: "internal" }, "unavailable"],
    [413, { code: undefined }, "too_large"],
  ];
  await using it = await fake((_, response, nth) => {
    const [status, more] = answers[nth - 1]!;
    problem(response, status, "", more);
  }, { retries: 0 });
  for (const [status, more, code] of answers) {
    const found = it.client.register(TOKEN, "ada");
    await assert.rejects(found, (error) => {
      assert.ok(isStoreError(error, code), String(error));
      assert.equal(error.field, more.field);
      assert.match(error.message, /^It was/);
      const cause = error.cause as HttpFailure;
      assert.deepEqual([cause.status, cause.code], [status, more.code ?? null]);
      return true;
    });
  }
});

const body = async (request: IncomingMessage) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
};

Deno.test("a blob in a file is sent again after a failure, one in a stream is not", async () => {
  const bytes = new Uint8Array(randomBytes(200_000));
  const id = createHash("sha256").update(bytes).digest("hex");
  const received: Buffer[] = [];
  await using it = await fake(async (request, response) => {
    received.push(await body(request));
    if (received.length === 1) problem(response, 503, "unavailable", {}, { "retry-after": "0" });
    else json(response, { id, size: received.at(-1)!.length });
  });
  const directory = await mkdtemp(join(tmpdir(), "unibus-client-"));
  try {
    const path = join(directory, "blob");
    await writeFile(path, bytes);
    assert.deepEqual(await it.client.putBlob({ path }), { id, size: 200_000 });
    assert.equal(received.length, 2);
    for (const it of received) assert.ok(it.equals(bytes));
    received.length = 0;
    const stream = new Blob([bytes]).stream();
    await fails(it.client.putBlob({ stream, digest: id }), "unavailable");
    assert.equal(received.length, 1);
  } finally {
    await rm(directory, { recursive: true });
  }
});

Deno.test("a blob with other bytes than its id ends in an error, not in an end", async () => {
  const bytes = randomBytes(100_000);
  const id = createHash("sha256").update(bytes).digest("hex");
  await using it = await fake((request, response) => {
    const sent = request.url!.endsWith(id) ? bytes : bytes.subarray(1);
    response.writeHead(200, { "content-length": sent.length }).end(sent);
  });
  const read = async (id: string) => {
    const blob = await it.client.getBlob(id);
    let length = 0;
    for await (const chunk of blob.body) length += chunk.length;
    return length;
  };
  assert.equal(await read(id), 100_000);
  await fails(read("ab".repeat(32)), "corrupt", /SHA-256 of its bytes is/);
});

Deno.test("a base path stays in front of what is asked", async () => {
  await using it = await fake((_, response) => json(response, { items: [], next: null }));
  const options = { identity: createIdentity() };
  for (const path of ["/bus", "/bus/"]) {
    const client = createClient({ url: it.url + path, ...options });
    await client.listUsers({ limit: 5, after: "a&b=ü" });
    assert.equal(it.requests.at(-1), "GET /bus/v1/users?limit=5&after=a%26b%3D%C3%BC");
    client.close();
  }
});

Deno.test("a URL that cannot be one of a control plane is refused, and not shown", () => {
  for (
    const url of ["", "bus.example", "ftp://bus.example", "http://u:secret@x", "http://x/?secret=1"]
  ) {
    assert.throws(() => createClient({ url }), (error) => {
      assert.ok(isStoreError(error, "invalid"));
      assert.equal(error.field, "url");
      return !error.message.includes("secret");
    });
  }
  assert.throws(() => createClient({ url: "http://x", ca: "PEM" }), {
    code: "invalid",
    field: "ca",
  });
});
