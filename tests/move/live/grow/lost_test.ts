/**
 * A file that is frozen by a switch whose bucket is gone: nothing but an operator's word lets its writers go
 * on, and no mark that is still on its way counts then.
 *
 * @module
 */

import assert from "node:assert/strict";
import { connect } from "@nats-io/transport-node";
import { jetstreamManager } from "@nats-io/jetstream";
import {
  callOffGrow,
  growStore,
  openJetStream,
  openSqlite,
  settleGrow,
  type Store,
} from "../../../../mod.ts";
import { connectNats } from "../../../../src/nats/connection/connect.ts";
import { readMarker, writeMarker } from "../../../../src/jetstream/log/marker.ts";
import { openBucket } from "../../../../src/jetstream/mod.ts";
import { callOffJourney, markCalledOff } from "../../../../src/move/live/settle.ts";
import { openSource } from "../../../../src/sqlite/file/source.ts";
import { roleOf } from "../../../../src/sqlite/file/role.ts";
import { interposed } from "../../../helpers/interposed.ts";
import { failsWith, person } from "../../../helpers/sqlite.ts";
import { type Place, placeTests, populate } from "../../kit.ts";
import { openTarget, servingSide, sidesOf } from "./kit.ts";

const test = placeTests();

async function deleteBucket({ nats }: Place): Promise<void> {
  const nc = await connect({ servers: nats.servers });
  const jsm = await jetstreamManager(nc);
  await jsm.streams.delete(`KV_${nats.bucket}`);
  await nc.close();
}

/** Moves a file; right before its mark is sent, `meanwhile` is done. Returns why the move failed. */
async function disturbed(
  place: Place,
  store: Store,
  meanwhile: () => Promise<unknown>,
): Promise<unknown> {
  const nc = await connectNats({ servers: place.nats.servers });
  const connection = interposed(
    nc as Parameters<typeof interposed>[0],
    (payload) => payload.includes(`"action":"store.moved"`),
    { before: meanwhile },
  );
  try {
    await using target = await openJetStream({ ...place.nats, connection, allowInProgress: true });
    return await growStore(store, { target }).then(() => "moved", (error) => error);
  } finally {
    await nc.close();
  }
}

test("A frozen file whose bucket was deleted serves again by an operator's word only, and a late mark counts no more", async (place) => {
  const { db, nats } = place;
  await using store = openSqlite(db);
  await populate(store);
  const failure = await disturbed(place, store, async () => {
    assert.notEqual(roleOf(db).frozenAt, null);
    await deleteBucket(place);
    await failsWith("not_found", () => settleGrow({ db, nats }));
    await failsWith("not_found", () => callOffGrow({ db, nats }), /only its mark says whether/);
    assert.notEqual(roleOf(db).frozenAt, null);
    assert.equal(await callOffGrow({ db, nats, force: true }), true);
  });
  assert.match(String(failure), /another run has taken over|Another move or import/);
  const sides = await sidesOf(db, nats);
  assert.deepEqual([servingSide(sides), sides.file.frozen], ["file", false]);
  await store.addUser(person("after"));
  await using target = await openTarget(nats);
  await growStore(store, { target });
  assert.ok((await sidesOf(db, nats)).bucket.users.has(person("after").signPub));
});

test("A frozen file is not settled by a bucket that was deleted and created again", async (place) => {
  const { db, nats } = place;
  await using store = openSqlite(db);
  await populate(store);
  const failure = await disturbed(place, store, async () => {
    await deleteBucket(place);
    await using _again = await openTarget(nats);
    await failsWith("not_found", () => settleGrow({ db, nats }), /created again/);
    await failsWith("not_found", () => callOffGrow({ db, nats, force: true }), /created again/);
  });
  assert.notEqual(failure, "moved");
  assert.equal((await sidesOf(db, nats)).file.frozen, true);
  await deleteBucket(place);
  assert.equal(await callOffGrow({ db, nats, force: true }), true);
  await store.addUser(person("after"));
});

test("A move whose bucket was deleted before the switch is called off by an operator's word", async (place) => {
  const { db, nats } = place;
  await using store = openSqlite(db);
  await populate(store);
  {
    await using target = await openTarget(nats);
    const stop = AbortSignal.abort();
    const ready = () => Promise.reject(stop.reason);
    await assert.rejects(growStore(store, { target, ready }));
  }
  await deleteBucket(place);
  await failsWith("not_found", () => callOffGrow({ db, nats }), /does not exist on these servers$/);
  assert.equal(await callOffGrow({ db, nats, force: true }), true);
  await failsWith("not_found", () => callOffGrow({ db, nats, force: true }));
});

test("A move that was called off while its bucket was away begins again when the bucket is back", async (place) => {
  const { db, dir, nats } = place;
  {
    await using store = openSqlite(db);
    await populate(store);
    await using target = await openTarget(nats);
    const ready = () => Promise.reject(new Error("lost"));
    await assert.rejects(growStore(store, { target, ready }));
  }
  const copied = `${dir}/copy.db`;
  {
    using source = openSource(db);
    await source.backupTo(copied);
  }
  assert.equal(await callOffJourney(db, null), true);
  await using store = openSqlite(db);
  await store.addUser(person("after"));
  {
    // Another file of the same control plane does not know whether that move was called off.
    await using copy = openSqlite(copied);
    await using target = await openTarget(nats);
    await failsWith("refused", () => growStore(copy, { target }), /records of another move/);
  }
  await using target = await openTarget(nats);
  await growStore(store, { target, dryRun: true });
  await growStore(store, { target });
  assert.ok((await sidesOf(db, nats)).bucket.users.has(person("after").signPub));
});

test("The mark of a move out of the bucket is not that of a move that was called off", async ({ nats }) => {
  const { bucket, end } = await openBucket(nats);
  try {
    const at = new Date().toISOString();
    const begun = { state: "in_progress", by: "journey", source: null, startedAt: at } as const;
    const moved = { node: "n1", db: "/a.db", at, position: 1, digest: "00" };
    const deadline = Date.now() + 60_000;
    await writeMarker(bucket, { ...begun, journey: "a", moved }, 0, deadline);
    await markCalledOff(bucket, "a");
    const { marker, revision } = await readMarker(bucket, deadline);
    assert.equal(marker!.calledOff, undefined);
    await writeMarker(bucket, { ...begun, journey: "b" }, revision, deadline);
    await markCalledOff(bucket, "b");
    assert.notEqual((await readMarker(bucket, deadline)).marker!.calledOff, undefined);
  } finally {
    await end();
  }
});
