/** What admins are told of rooms, blobs, the server, its cluster and its last hour. */

import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { type ClusterStatus, clusterStatus, openSqlite, type Store } from "@unibus/membership";
import { type BlobStore, openDiskBlobs, openObjectBlobs } from "../../../src/blobs/mod.ts";
import { recorderOf } from "../../../src/http/admin/history.ts";
import { OPERATION_ANSWER } from "../../../src/http/admin/shapes.ts";
import { usageOf } from "../../../src/http/admin/operations.ts";
import { openJetStream } from "../../../src/jetstream/mod.ts";
import type { RosterEntry } from "../../../src/core/operations.ts";
import { isProblem, sealedFor, type Someone, someone, testPlane } from "../kit.ts";
import { type TestServer, testServer } from "../../helpers/nats.ts";
import { daemon } from "../../cli/serve/kit.ts";
import { createClient, createIdentity } from "@unibus/membership/client";

let server: TestServer;
let buckets = 0;

Deno.test.beforeAll(async () => {
  server = await testServer();
});
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

const STORES: Record<string, () => Promise<Store>> = {
  sqlite: () => Promise.resolve(openSqlite(":memory:")),
  jetstream: () => openJetStream({ servers: server.url, bucket: `STATUS_${++buckets}` }),
};

const memberOf = ({ signPub, kexPub }: Someone) => ({ endpoint: signPub, kexPub });

for (const [name, open] of Object.entries(STORES)) {
  Deno.test(`${name}: the roster tells who lacks the current key, by name, and shows no key to an admin`, async () => {
    await using it = await testPlane({ store: await open() });
    const admin = await it.user("admin");
    const owner = await it.user();
    const people = await Promise.all(Array.from({ length: 9 }, () => it.user()));
    const [gone, revoked, late, ...rest] = people as [Someone, Someone, Someone, ...Someone[]];
    const id = "a/b%ü";
    const body = {
      id,
      members: [gone, revoked, ...rest].map(memberOf),
      sealedKeys: sealedFor(owner, gone, revoked, ...rest),
    };
    assert.equal((await it.ask("POST /v1/rooms", { as: owner, body })).status, 201);
    const path = `/v1/rooms/${encodeURIComponent(id)}`;
    const roster = async (query = "") => {
      const answer = await it.ask(`GET ${path}/roster${query}`, { as: admin });
      assert.equal(answer.status, 200, answer.text);
      OPERATION_ANSWER.roster.read("", answer.json);
      for (const { signPub } of [owner, ...people]) {
        const sealed = Buffer.from(`sealed for ${signPub}`).toString("base64url");
        assert.ok(!answer.text.includes(sealed), "no sealed key");
      }
      return answer.json;
    };
    const before = await roster();
    assert.deepEqual([before.members, before.lacking, before.room.epoch], [9, 0, 1]);
    // One that joins without a key, and a key of an earlier epoch is none of the current one.
    await it.ask(`POST ${path}/members`, { as: owner, body: memberOf(late) });
    await it.store.revokeUser(revoked.signPub);
    await it.store.deleteUser(gone.signPub);
    const lacking = await roster("?lacking=true");
    assert.deepEqual([lacking.members, lacking.lacking], [10, 1]);
    const { joinedAt, ...entry } = lacking.items[0];
    assert.ok(joinedAt);
    assert.deepEqual(entry, {
      endpoint: late.signPub,
      role: "member",
      accepted: false,
      handle: "user",
      status: "active",
      hasKey: false,
    });
    const everybody = [owner, gone, revoked, late, ...rest];
    const sealedKeys = sealedFor(...everybody);
    await it.ask(`POST ${path}/rekey`, { as: owner, body: { epoch: 2, sealedKeys } });
    assert.equal((await roster()).lacking, 0);
    // Page by page, each once and in order, whoever they are.
    const found: RosterEntry[] = [];
    let after = "";
    do {
      const { items, next } = await roster(`?limit=3${after}`);
      assert.ok(items.length <= 3);
      found.push(...items);
      after = next === null ? "" : `&after=${next}`;
    } while (after !== "");
    assert.deepEqual(
      found.map((it) => it.endpoint),
      everybody.map((it) => it.signPub).sort(),
    );
    const of = (who: Someone) => {
      const { role, handle, status, hasKey } = found.find((it) => it.endpoint === who.signPub)!;
      return [role, handle, status, hasKey];
    };
    assert.deepEqual(of(owner), ["owner", "user", "active", true]);
    assert.deepEqual(of(revoked), ["member", "user", "revoked", true]);
    assert.deepEqual(of(gone), ["member", null, null, true]);
    // Neither a member nor the owner asks this, and a room that is not there is told so.
    isProblem(await it.ask(`GET ${path}/roster`, { as: owner }), 403, "forbidden");
    isProblem(await it.ask("GET /v1/rooms/none/roster", { as: admin }), 404, "not_found");
    for (const query of ["limit=0", "limit=1001", "lacking=1", "after=x&all=1"]) {
      isProblem(await it.ask(`GET ${path}/roster?${query}`, { as: admin }), 400, "invalid");
    }
    await it.store.createRoom({
      id: "clear",
      subject: "clear",
      encrypted: false,
      owner: memberOf(owner),
    });
    const clear = await it.ask("GET /v1/rooms/clear/roster", { as: admin });
    assert.deepEqual([clear.json.lacking, clear.json.items[0].hasKey], [0, null]);
  });
}

Deno.test("nobody seems to lack the key of a room that is rekeyed while it is read", async () => {
  await using inner = openSqlite(":memory:");
  const [owner, joining] = [someone(), someone()];
  const keys = (...people: Someone[]) =>
    people.map(({ signPub: endpoint }) => ({ endpoint, sealedKey: KEY }));
  const room = { id: "r", subject: "r", owner: memberOf(owner), sealedKeys: keys(owner) };
  await inner.createRoom(room);
  let isChanged = false;
  const store: Store = {
    ...inner,
    async *members(...args) {
      if (!isChanged) {
        isChanged = true;
        await inner.rekeyRoom("r", { epoch: 2, sealedKeys: keys(owner) });
        await inner.addMember("r", memberOf(joining), { epoch: 2, sealedKey: KEY });
      }
      yield* inner.members(...args);
    },
  };
  await using it = await testPlane({ store });
  const admin = await it.user("admin");
  const { json } = await it.ask("GET /v1/rooms/r/roster", { as: admin });
  assert.deepEqual([json.members, json.lacking, json.room.epoch], [2, 0, 2]);
});

const KEY = new Uint8Array([1, 2, 3]);

async function* bytes(n: number, fill: number): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(n).fill(fill);
}

async function sum(blobs: BlobStore): Promise<{ count: number; bytes: number }> {
  const found = { count: 0, bytes: 0 };
  for await (const { size } of blobs.list()) {
    found.count++;
    found.bytes += size;
  }
  return found;
}

const BLOBS: Record<string, (work: (blobs: BlobStore) => Promise<void>) => Promise<void>> = {
  disk: async (work) => {
    const dir = await Deno.makeTempDir();
    try {
      await using blobs = await openDiskBlobs(dir);
      await work(blobs);
      // What is none of ours does not count.
      await Deno.writeTextFile(`${dir}/notes.txt`, "x".repeat(1000));
      await Deno.mkdir(`${dir}/ab/cd`, { recursive: true });
      await Deno.writeTextFile(`${dir}/ab/cd/notes`, "x".repeat(1000));
      assert.equal((await sum(blobs)).count, 42);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
  jetstream: async (work) => {
    const connection = await connect({ servers: server.url });
    try {
      await using blobs = await openObjectBlobs({ connection, bucket: `USAGE_${++buckets}` });
      await work(blobs);
    } finally {
      await connection.close();
    }
  },
};

for (const [name, withBlobs] of Object.entries(BLOBS)) {
  Deno.test(`${name}: blobs are counted as they are, the same bytes once`, () =>
    withBlobs(async (blobs) => {
      assert.deepEqual(await sum(blobs), { count: 0, bytes: 0 });
      const put = (n: number, fill: number) => blobs.put(bytes(n, fill), { maxBytes: 1e6 });
      for (let i = 0; i < 39; i++) await put(1_000, i);
      await put(1_000, 0);
      await put(300_000, 1);
      await put(0, 0);
      assert.deepEqual(await sum(blobs), { count: 41, bytes: 39_000 + 300_000 });
      await using it = await testPlane({ blobs });
      const admin = await it.user("admin");
      const { json } = await it.ask("GET /v1/usage", { as: admin });
      OPERATION_ANSWER.usage.read("", json);
      assert.deepEqual([json.blobs.count, json.blobs.bytes], [41, 339_000]);
      // Counted anew in a minute, not for every one who asks.
      await put(5, 5);
      const again = await it.ask("GET /v1/usage", { as: admin });
      assert.deepEqual(again.json, json);
      // For the one who counts what is not ours, as it was.
      assert.equal((await sum(blobs)).count, 42);
      await using bare = await testPlane();
      const other = await bare.user("admin");
      assert.deepEqual((await bare.ask("GET /v1/usage", { as: other })).json, { blobs: null });
    }));
}

Deno.test("blobs are counted once for all who ask at once, and a count that fails is tried again", async () => {
  let counts = 0;
  const dir = await Deno.makeTempDir();
  await using blobs = await openDiskBlobs(dir);
  const usage = usageOf(
    {
      list: () => {
        if (++counts === 1) throw new Error("the disk is away");
        return blobs.list();
      },
    },
    () => new Date(),
  );
  await assert.rejects(usage(), /away/);
  await Promise.all(Array.from({ length: 20 }, usage));
  assert.equal(counts, 2);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("the status tells what the server rests on; without a cluster it says so", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  const { json } = await it.ask("GET /v1/status", { as: admin });
  OPERATION_ANSWER.status.read("", json);
  assert.deepEqual(
    [json.backend, json.busAuth, json.ok, json.cluster],
    ["sqlite", "enforce", true, null],
  );
  assert.ok(json.checks.every((it: { detail: string }) => it.detail !== ""));
});

Deno.test("many who ask for the status at once are one look at the cluster", async () => {
  const connection = await connect({ servers: server.url });
  const store = await openJetStream({ servers: server.url, bucket: "LOOK" });
  let looks = 0;
  const cluster = (): Promise<ClusterStatus> => {
    looks++;
    return clusterStatus({ connection, bucket: "LOOK" });
  };
  await using it = await testPlane({ store, cluster });
  const admin = await it.user("admin");
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => it.ask("GET /v1/status", { as: admin })),
  );
  for (const { json } of answers) {
    OPERATION_ANSWER.status.read("", json);
    assert.deepEqual(
      json.cluster.buckets.map((it: { bucket: string; whole: boolean }) => [it.bucket, it.whole]),
      [["LOOK", true], ["LOOK_HISTORY", true]],
    );
  }
  assert.equal(looks, 1);
  await connection.close();
});

Deno.test("membershipd tells of the cluster it runs on what cluster status tells", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await using it = await daemon(dir, ["--bus-auth", "off", "--store", "jetstream"]);
    using client = createClient({ url: it.http, identity: createIdentity() });
    const { cluster, backend } = await client.status();
    assert.equal(backend, "jetstream");
    assert.ok(cluster !== null);
    assert.deepEqual(cluster.buckets.map(({ bucket }) => bucket), [
      "UNIBUS",
      "UNIBUS_HISTORY",
      "UNIBUS_BLOBS",
    ]);
    assert.ok(cluster.buckets.every((it) => it.whole && it.messages !== null));
    assert.deepEqual((await client.usage()).blobs?.count, 0);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("the history counts requests, refusals and failures, and knows how long they took", () => {
  let now = Date.parse("2026-01-01T00:00:10Z");
  const recorder = recorderOf(() => new Date(now));
  for (let i = 1; i <= 1000; i++) recorder.request(200, i);
  recorder.request(503, 70_000);
  recorder.denial();
  now += 95_000;
  recorder.request(200, 0);
  for (let i = 0; i < 5_000; i++) recorder.request(503, null);
  const { seconds, buckets } = recorder.read();
  assert.equal(seconds, 30);
  assert.deepEqual(buckets.map((it) => [it.at.slice(14, 19), it.requests, it.denied, it.failed]), [
    ["00:00", 1001, 1, 1],
    ["00:30", 0, 0, 0],
    ["01:00", 0, 0, 0],
    ["01:30", 5001, 0, 5000],
  ]);
  const [first, second] = buckets as [typeof buckets[0], typeof buckets[0]];
  for (const [share, ms] of [[500, first.p50], [950, first.p95], [990, first.p99]] as const) {
    assert.ok(ms! >= share && ms! <= share * 1.26, `${ms} for ${share}`);
  }
  assert.deepEqual([second.p50, second.p99], [null, null]);
  // What was turned away at once says nothing of how long work takes.
  assert.equal(buckets.at(-1)!.p99, 0.05);
  // After an hour it is gone, also from the place that it had.
  now += 3_600_000;
  recorder.request(200, 1);
  const later = recorder.read().buckets;
  assert.equal(later.length, 120);
  assert.equal(later.reduce((sum, it) => sum + it.requests, 0), 1);
  // A clock that is set back, or far ahead, breaks nothing.
  now -= 7_200_000;
  recorder.request(200, 1);
  assert.ok(recorder.read().buckets.length <= 120);
  now += 1e12;
  recorder.request(200, 1);
  assert.equal(recorder.read().buckets.at(-1)!.requests, 1);
});

Deno.test("the history is of requests as they are answered; those that wait do not count", async () => {
  await using it = await testPlane();
  const admin = await it.user("admin");
  await it.ask("GET /v1/me", { as: admin });
  isProblem(await it.ask("GET /v1/me", { as: someone() }), 403, "forbidden");
  isProblem(await it.ask("GET /v1/me"), 401, "unauthenticated");
  isProblem(await it.ask("GET /v1/nothing"), 404, "not_found");
  await it.ask("GET /v1/changes", { as: admin });
  await it.ask("GET /v1/changes?room=none&wait=5", { as: admin });
  const { json } = await it.ask("GET /v1/history", { as: admin });
  OPERATION_ANSWER.history.read("", json);
  const sum = (key: "requests" | "denied" | "failed") =>
    json.buckets.reduce((n: number, it: Record<string, number>) => n + it[key]!, 0);
  assert.deepEqual([sum("requests"), sum("denied"), sum("failed")], [4, 2, 0]);
  assert.ok(json.buckets.at(-1).p99 < 3_500);
});
