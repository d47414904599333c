/**
 * Stopping writers at the server, and what open stores and followers do when the control plane has left
 * their bucket.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { followStore, openJetStream, promoteFollower, type Store, StoreError } from "../../mod.ts";
import { callOff, freezeWriters, thawWriters } from "../../src/jetstream/freeze.ts";
import type { Bucket } from "../../src/jetstream/log/bucket.ts";
import { isWrittenSince } from "../../src/jetstream/log/fence.ts";
import { type Marker, readMarker, writeMarker } from "../../src/jetstream/log/marker.ts";
import { openBucket } from "../../src/jetstream/mod.ts";
import { callingOff, whyNoResponder } from "../../src/jetstream/moved.ts";
import { type TestServer, testServer } from "../helpers/nats.ts";
import { person } from "../helpers/sqlite.ts";

const soon = () => Date.now() + 60_000;
const ada = person("ada");

interface Place {
  dir: string;
  nats: { servers: string; bucket: string; opTimeout: number };
  /** The bucket on a connection of its own. */
  bucket: Bucket;
  store: Store;
}

let server: TestServer;
let buckets = 0;
Deno.test.beforeAll(async () => void (server = await testServer()));
Deno.test.afterAll(async () => await server[Symbol.asyncDispose]());

function test(name: string, work: (place: Place) => Promise<void>): void {
  Deno.test(name, async () => {
    const dir = await mkdtemp(join(tmpdir(), "unibus-moved-"));
    const nats = { servers: server.url, bucket: `MOVED_${++buckets}`, opTimeout: 10_000 };
    try {
      await using store = await openJetStream(nats);
      await store.addUser({ ...ada, role: "admin" });
      const { bucket, end } = await openBucket({ ...nats, create: false });
      await using _ = { [Symbol.asyncDispose]: end };
      await work({ dir, nats, bucket, store });
    } finally {
      await rm(dir, { recursive: true });
    }
  });
}

/** Marks a bucket as one that its control plane has left, as another process does. */
async function leave(bucket: Bucket, more: Partial<Marker> = {}): Promise<void> {
  const { revision } = await readMarker(bucket, soon());
  const moved = { node: "n1", db: "unibus.db", at: "now", position: 1, digest: "" };
  const marker: Marker = {
    state: "in_progress",
    by: "journey",
    source: randomUUID(),
    startedAt: new Date().toISOString(),
    journey: randomUUID(),
    generation: 1,
    moved,
    ...more,
  };
  await writeMarker(bucket, marker, revision, soon());
}

/** The text of what a call rejects with; it must be `refused`, field `moved`. */
async function refusal(call: Promise<unknown>): Promise<string> {
  const error = await call.then(() => assert.fail("it was not refused"), (error) => error);
  assert.ok(error instanceof StoreError, String(error));
  assert.deepEqual([error.code, error.field], ["refused", "moved"], error.message);
  return `${error.message} (${error.hint})`;
}

/** Waits until a store says no: within a second, if the machine is not busy with other tests. */
async function untilNo(store: Store): Promise<void> {
  const begun = performance.now();
  while (await store.isAuthorized(ada.signPub)) {
    assert.ok(performance.now() - begun < 20_000, "it still says yes");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("nothing is written behind the fence of a freeze, whoever writes", async ({ bucket, nats }) => {
  const kv = await new Kvm(bucket.nc).open(nats.bucket);
  const js = jetstream(bucket.nc);
  for (let round = 0; round < 5; round++) {
    let stopped = false;
    let written = 0;
    const write = async (one: (i: number) => Promise<unknown>) => {
      for (let i = 0; !stopped; i++) {
        await one(i).then(() => written++, () => {});
      }
    };
    const name = (i: number) => `users.${round}_${i}`;
    const puts = (i: number) => kv.put(name(i), "x");
    const publishes = (i: number) => js.publish(bucket.subject(name(i)), "x", { timeout: 300 });
    const batches = (i: number) =>
      bucket.commit(
        [0, 1, 2].map((it) => ({ key: `rooms.${i}_${it}`, value: "x" })),
        Date.now() + 300,
      );
    const writers = [puts, puts, publishes, publishes, batches, batches].map(write);
    while (written < 100) await new Promise((resolve) => setTimeout(resolve, 1));
    const fence = await freezeWriters(bucket, soon());
    const before = written;
    await new Promise((resolve) => setTimeout(resolve, 50));
    const except = (key: string) => key.startsWith("meta.");
    assert.equal(await isWrittenSince(bucket, { sequence: fence, except }, soon()), false);
    stopped = true;
    await thawWriters(bucket, soon());
    await Promise.all(writers);
    assert.ok(before > 0);
  }
});

test("a write waits while writers are stopped, and is made when they may go on", async ({ bucket, store }) => {
  await freezeWriters(bucket, soon());
  const adding = store.addUser(person("bob"));
  // Read and let in meanwhile.
  assert.equal((await store.getUser(ada.signPub))?.status, "active");
  assert.equal(await store.isAuthorized(ada.signPub), true);
  await thawWriters(bucket, soon());
  await adding;
  assert.equal((await store.listUsers()).items.length, 2);
});

test("a write is unavailable while writers stay stopped, with the reason", async ({ nats, bucket }) => {
  await using store = await openJetStream({ ...nats, opTimeout: 2000 });
  const shrink = { journey: randomUUID(), node: "n1", at: "now" };
  const mark: Marker = { state: "complete", by: "journey", source: null, startedAt: "now", shrink };
  await writeMarker(bucket, mark, 0, soon());
  await freezeWriters(bucket, soon());
  const room = {
    id: "r",
    subject: "chat.r",
    encrypted: false,
    owner: { endpoint: ada.signPub, kexPub: ada.kexPub },
  };
  for (const write of [() => store.addUser(person("bob")), () => store.createRoom(room)]) {
    await assert.rejects(write, (error: StoreError) => {
      assert.equal(error.code, "unavailable");
      assert.match(error.message, /takes no writes while its control plane moves to a file/);
      return true;
    });
  }
  // It was not long enough to call the move off.
  assert.deepEqual((await readMarker(bucket, soon())).marker?.shrink, shrink);
});

test("a bucket that was left frozen is thawed by the next who writes", async ({ bucket, store, nats }) => {
  await using other = await openJetStream(nats);
  const shrink = { journey: randomUUID(), node: "n1", at: "now" };
  const mark: Marker = { state: "complete", by: "journey", source: null, startedAt: "now", shrink };
  const first = await writeMarker(bucket, mark, 0, soon());
  await freezeWriters(bucket, soon());
  // Looked at first, and then its mark changes: it is not gone.
  const isCalledOff = callingOff(bucket, 100);
  assert.equal(await isCalledOff(), false);
  const revision = await writeMarker(bucket, mark, first, soon());
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.equal(await isCalledOff(), false);
  bucket.onNoResponder = whyNoResponder(bucket, 100);
  await bucket.commit([{ key: "users.x", value: "{}" }], soon());
  // What the one who is gone may still send comes too late.
  const moved = { node: "n1", db: "unibus.db", at: "now", position: 1, digest: "" };
  const late = writeMarker(bucket, { ...mark, state: "in_progress", moved }, revision, soon());
  await assert.rejects(late, { code: "conflict" });
  assert.equal((await readMarker(bucket, soon())).marker?.shrink, undefined);
  assert.equal(await store.isAuthorized(ada.signPub), true);
  await other.addUser(person("bob"));
});

test("callOff() changes nothing when the control plane has left", async ({ bucket }) => {
  const mark: Marker = { state: "complete", by: "journey", source: null, startedAt: "now" };
  await writeMarker(bucket, mark, 0, soon());
  const read = await readMarker(bucket, soon());
  await freezeWriters(bucket, soon());
  await leave(bucket);
  await assert.rejects(callOff(bucket, read, soon()), { code: "conflict" });
  await assert.rejects(bucket.put("users.x", "{}", soon()));
});

test("a store whose cache is loaded says no within a second, and refuses every call", async ({ nats, bucket }) => {
  await using store = await openJetStream(nats);
  let told = 0;
  store.watchAccess(() => void told++);
  while (!(await store.health()).ok) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(await store.isAuthorized(ada.signPub), true);
  const before = told;
  await leave(bucket);
  await untilNo(store);
  assert.equal(await store.hasAdmin(), false);
  assert.match(
    await refusal(store.getUser(ada.signPub)),
    /moved to unibus\.db on node n1 .*membershipd grow/,
  );
  await refusal(store.listUsers());
  await refusal(store.addUser(person("bob")));
  await refusal(store.listRooms());
  while (told === before) await new Promise((resolve) => setTimeout(resolve, 5));
});

test("a store that nobody asked before learns it too", async ({ nats, bucket }) => {
  await using store = await openJetStream(nats);
  await leave(bucket);
  const begun = performance.now();
  for (;;) {
    const answer = await store.getUser(ada.signPub).catch((error) => error);
    if (answer instanceof StoreError) break;
    assert.ok(performance.now() - begun < 20_000, "it still reads");
  }
  await refusal(store.listRooms());
});

test("the first answer of a store that was idle is no", async ({ nats, bucket }) => {
  await using store = await openJetStream(nats);
  await leave(bucket);
  assert.equal(await store.isAuthorized(ada.signPub), false);
  await using other = await openJetStream({ ...nats, allowInProgress: true });
  assert.equal(await other.isAuthorized(ada.signPub), true);
});

test("a store is refused that was away while the control plane left and came back", async ({ nats, bucket }) => {
  await using store = await openJetStream(nats);
  await leave(bucket, { state: "complete", moved: undefined, generation: 2 });
  await untilNo(store);
  assert.match(await refusal(store.listUsers()), /came back into it \(open it again\)/);
  await using again = await openJetStream(nats);
  assert.equal(await again.isAuthorized(ada.signPub), true);
});

test("a store that was opened while a move came in stays, when that begins again", async ({ nats, bucket }) => {
  const coming = { state: "in_progress", moved: undefined } as const;
  await leave(bucket, coming);
  await using store = await openJetStream({ ...nats, allowInProgress: true });
  while (!(await store.health()).ok) await new Promise((resolve) => setTimeout(resolve, 10));
  await leave(bucket, coming);
  await leave(bucket, { ...coming, state: "complete" });
  await store.addUser(person("bob"));
  assert.equal(await store.isAuthorized(person("bob").signPub), true);
});

test("opening and following a bucket that was left is refused", async ({ nats, bucket, dir }) => {
  await leave(bucket);
  await refusal(openJetStream(nats));
  await refusal(followStore({ nats, db: join(dir, "f.db") }));
});

test("a follower stops, and its file is not promoted", async ({ nats, bucket, dir, store }) => {
  const db = join(dir, "f.db");
  await using follower = await followStore({ nats, db });
  await follower.whenExact();
  await leave(bucket);
  await refusal(follower.whenExact());
  assert.equal(follower.state().failure?.field, "moved");
  await refusal(store.listUsers());
  await follower.close();
  await refusal(promoteFollower({ db, nats: { servers: "nats://127.0.0.1:1" }, dryRun: true }));
  // It follows again when the control plane has come back.
  const { revision, marker } = await readMarker(bucket, soon());
  await writeMarker(bucket, { ...marker!, state: "complete", moved: undefined }, revision, soon());
  await using again = await followStore({ nats, db });
  await again.whenExact();
  await again.close();
  const lost = { servers: "nats://127.0.0.1:1" };
  assert.equal(
    (await promoteFollower({ db, nats: lost, force: false, dryRun: true }).catch((error) => error))
      .field,
    "nats",
  );
});
