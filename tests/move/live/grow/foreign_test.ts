/**
 * A program that has the bucket of a live move open and does not know of moves: what it writes before the
 * switch is not in the control plane that moved.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import { growStore, openJetStream, openSqlite, type StoreError } from "../../../../mod.ts";
import { connectNats } from "../../../../src/nats/connection/connect.ts";
import { interposed } from "../../../helpers/interposed.ts";
import { person } from "../../../helpers/sqlite.ts";
import { type Place, placeTests, populate, snapshot } from "../../kit.ts";
import { openTarget, sidesOf } from "./kit.ts";

const test = placeTests();

/** Writes a user as a program does that knows nothing of marks. */
async function writeRaw({ nats }: Place, name: string): Promise<void> {
  const nc = await connect({ servers: nats.servers });
  const { signPub, ...fields } = person(name);
  const createdAt = "2026-01-02T03:04:05.006Z";
  const user = { v: 1, ...fields, role: "user", status: "active", createdAt };
  const kv = await new Kvm(nc).open(nats.bucket);
  await kv.put(`users.${signPub}`, JSON.stringify(user));
  await nc.close();
}

test("A user that another program writes after the comparison does not come along", async (place) => {
  const { db, nats } = place;
  await using store = openSqlite(db);
  await populate(store);
  const before = await snapshot(store);
  await using target = await openTarget(nats);
  let isWritten = false;
  const ready = async () => {
    if (isWritten) return;
    isWritten = true;
    await writeRaw(place, "stranger");
    assert.ok((await sidesOf(db, nats)).bucket.users.has(person("stranger").signPub));
  };
  const { attempts } = await growStore(store, { target, ready });
  assert.equal(await snapshot(store), before);
  assert.ok(attempts <= 2, `${attempts} attempts`);
});

test("A program that does not stop writing to the bucket ends the move, which can be continued", async (place) => {
  const { db, nats } = place;
  await using store = openSqlite(db);
  await populate(store);
  const before = await snapshot(store);
  let written = 0;
  let writing = Promise.resolve();
  const reasons = new Set<string | null>();
  {
    await using target = await openTarget(nats);
    const growing = growStore(store, {
      target,
      signal: AbortSignal.timeout(120_000),
      hold: () => new Promise(() => {}),
      onProgress: ({ phase, reason }) => {
        reasons.add(reason);
        if (phase === "ready") writing = writing.then(() => writeRaw(place, `s${written++}`));
      },
    });
    await assert.rejects(
      growing,
      (error: StoreError) =>
        error.code === "conflict" && error.field === "records" &&
        /another program writes to it; 20 comparisons/.test(error.message),
    );
    await writing;
  }
  assert.ok(written >= 20, `${written}`);
  assert.match([...reasons].join(), /^,Switching: users\.\w+ was written to the bucket by another/);
  await using target = await openTarget(nats);
  await growStore(store, { target });
  assert.equal(await snapshot(store), before);
});

test("A user that another program writes right before the mark calls the switch off, and does not come along", async (place) => {
  const { db, nats } = place;
  await using store = openSqlite(db);
  await populate(store);
  const before = await snapshot(store);
  const nc = await connectNats({ servers: nats.servers });
  const connection = interposed(
    nc as Parameters<typeof interposed>[0],
    // The last message of the mark's batch, on whose condition it is stored.
    (payload) => payload.includes(`"action":"store.moved"`),
    { before: () => writeRaw(place, "stranger") },
  );
  const reasons = new Set<string | null>();
  {
    await using target = await openJetStream({ ...nats, connection, allowInProgress: true });
    const onProgress = ({ reason }: { reason: string | null }) => void reasons.add(reason);
    const { attempts } = await growStore(store, { target, onProgress });
    assert.equal(await snapshot(store), before);
    assert.ok(attempts > 1);
  }
  const written = [...reasons].filter((it) => /a record was written to the bucket/.test(it ?? ""));
  assert.equal(written.length, 1, [...reasons].join("; "));
  await store.addUser(person("after"));
  await store.close();
  await nc.close();
});
