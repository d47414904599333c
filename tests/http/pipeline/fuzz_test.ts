/**
 * Malformed requests of every kind: never a 5xx, never a crash, never a secret in the log.
 * 100,000 of them with UNIBUS_LONG=1.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { openDiskBlobs } from "../../../src/blobs/mod.ts";
import { ROUTES } from "../../../src/http/routes.ts";
import { requestOf, sealedFor, type Someone, someone, testPlane } from "../kit.ts";

const RUNS = Deno.env.get("UNIBUS_LONG") === "1" ? 100_000 : 3_000;

/** Values that were trouble somewhere. */
const odd = fc.oneof(
  fc.constantFrom(
    "",
    " ",
    ".",
    "..",
    "%",
    "%2",
    "%00",
    "%2e%2e",
    "*",
    ">",
    "$SYS",
    "_INBOX.a",
    "__proto__",
    "constructor",
    "toString",
    "\u0000",
    "\u202e",
    "\ud800",
    "0".repeat(64),
    "f".repeat(64),
    "1e3",
    "-1",
    "NaN",
    "9".repeat(30),
    "x".repeat(5000),
  ),
  fc.string({ unit: "binary", maxLength: 80 }),
  fc.string({ maxLength: 80 }),
);

const json = fc.oneof(
  odd,
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(null, true, -1, 0, 1.5, 1e308, 2 ** 53, [], {}, [[]], [null]),
);

interface Parts {
  route: number;
  param: string;
  query: [string, string][];
  body: "good" | "part" | "json" | "bytes" | "none";
  field: unknown;
  at: number;
  bytes: Uint8Array;
  as: "admin" | "user" | "stranger" | "nobody" | "garbled";
  header: [string, string];
  type: string;
  garble: string;
}

const parts: fc.Arbitrary<Parts> = fc.record({
  route: fc.nat(ROUTES.length - 1),
  param: odd,
  query: fc.array(
    fc.tuple(
      fc.oneof(
        fc.constantFrom("limit", "after", "epoch", "force", "all"),
        fc.constantFrom("search", "role", "status", "state", "lacking"),
        odd,
      ),
      odd,
    ),
    { maxLength: 3 },
  ),
  body: fc.constantFrom("good", "part", "json", "bytes", "none"),
  field: json,
  at: fc.nat(20),
  bytes: fc.uint8Array({ maxLength: 300 }),
  as: fc.constantFrom("admin", "user", "stranger", "nobody", "garbled"),
  header: fc.tuple(
    fc.constantFrom(
      "signature",
      "signature-input",
      "content-digest",
      "content-length",
      "range",
      "if-none-match",
      "if-range",
      "x-request-id",
      "accept",
      "transfer-encoding",
      "host",
      "content-encoding",
    ),
    fc.oneof(
      odd,
      fc.constantFrom(
        "bytes=0-",
        "bytes=-0",
        "bytes=5-1",
        "bytes=99999999999999999999-",
        "*",
        'sig=();keyid="' + "a".repeat(64) + '"',
        'sig=("@method";req "@authority");created=1;nonce="12345678";keyid="' + "a".repeat(64) +
          '"',
        "sig=:AAAA:",
        "sha-256=:AAAA:",
      ),
    ),
  ),
  type: fc.constantFrom("application/json", "application/json; charset=utf-16", "text/plain", ""),
  garble: odd,
});

/** A body that a route takes, to be spoiled. */
function goodBody(id: string, token: string, who: Someone): Record<string, unknown> {
  const other = someone();
  const bodies: Record<string, Record<string, unknown>> = {
    register: { token, kexPub: other.kexPub, handle: "New" },
    createRoom: { id: other.signPub, sealedKeys: sealedFor(who), members: [] },
    addMember: {
      endpoint: other.signPub,
      kexPub: other.kexPub,
      key: { epoch: 1, sealedKey: "AA" },
    },
    rekeyRoom: { epoch: 2, sealedKeys: sealedFor(who) },
    putSealedKey: { epoch: 1, endpoint: who.signPub, sealedKey: "AA" },
    addUser: { signPub: other.signPub, kexPub: other.kexPub, handle: "New", role: "user" },
    createInvite: { role: "user", note: "n", expiresIn: 1000 },
    revokeUser: { force: false },
    setUserRole: { role: "admin", force: false },
  };
  return bodies[id] ?? {};
}

Deno.test(`${RUNS} malformed requests are answered below 500, and none tells a secret`, async () => {
  const dir = await Deno.makeTempDir();
  await using blobs = await openDiskBlobs(dir);
  await using it = await testPlane({
    blobs,
    failuresPerMinute: 1e9,
    registrationsPerMinute: 1e9,
    maxJsonBytes: 20_000,
    maxBlobBytes: 200,
  });
  const people = { admin: await it.user("admin"), user: await it.user(), stranger: someone() };
  await it.user("admin");
  const { token } = await it.store.createInvite({ createdBy: "cli" });
  const { token: other } = await it.store.createInvite({ createdBy: "cli" });
  const statuses = new Map<number, number>();
  try {
    await fc.assert(
      fc.asyncProperty(parts, async (p) => {
        const route = ROUTES[p.route]!;
        let path = route.path.replace(
          /\{\w+\}/g,
          () =>
            p.at % 3 === 0
              ? people.user.signPub
              : encodeURIComponent(p.param.toWellFormed()) || "-",
        );
        if (p.query.length > 0) {
          path += `?${new URLSearchParams(
            p.query.map(([k, v]) => [k.toWellFormed(), v.toWellFormed()]),
          )}`;
        }
        const who = p.as === "garbled" ? people.user : p.as === "nobody" ? null : people[p.as];
        const body = goodBody(route.id, p.at % 2 === 0 ? token : other, who ?? people.user);
        const names = Object.keys(body);
        if (p.body === "part" && names.length > 0) body[names[p.at % names.length]!] = p.field;
        if (p.body === "json") body[String(p.garble)] = p.field;
        const hasBody = route.method !== "GET" && p.body !== "none" &&
          (route.method !== "DELETE" || p.at === 0);
        let request: Request;
        try {
          request = await requestOf(`${route.method} ${path}`, {
            as: who,
            ...(hasBody ? { body: p.body === "bytes" ? p.bytes : body } : {}),
            headers: p.type === "" ? {} : { "content-type": p.type },
          });
          if (p.as === "garbled" || p.at % 4 === 0) request.headers.set(...p.header);
        } catch {
          // No runtime lets such a header or URL through to us.
          return fc.pre(false);
        }
        const answer = await it.plane.fetch(request, { address: "192.0.2.1" });
        const text = await answer.text();
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        assert.ok(answer.status < 500, `${answer.status} to ${route.id}: ${text}`);
        const log = JSON.stringify(it.events.splice(0));
        for (const secret of [token, other]) {
          assert.ok(!log.includes(secret), `A token in the log of ${route.id}: ${log}`);
          assert.ok(!text.includes(secret), `A token in the answer of ${route.id}: ${text}`);
        }
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
  // It must have come further than the first guard.
  for (const status of [200, 400, 401, 403, 404, 415]) assert.ok(statuses.has(status), `${status}`);
});
