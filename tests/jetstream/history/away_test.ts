/**
 * An archive that is away hides nothing, and has everything when it is back.
 *
 * @module
 */

import assert from "node:assert/strict";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { openJetStream, type Store } from "../../../mod.ts";
import { testServer } from "../../helpers/nats.ts";
import { person } from "../../helpers/sqlite.ts";
import { allEntries, Following, requireOrder, until } from "./kit.ts";

async function addUsers(store: Store, name: string, count: number): Promise<string[]> {
  const users = Array.from({ length: count }, (_, i) => person(`${name} ${i}`));
  await Promise.all(users.map((it) => store.addUser(it)));
  return users.map(({ signPub }) => signPub);
}

Deno.test("entries are read while the archive is away, and are in it when it is back", async () => {
  await using server = await testServer();
  const options = { servers: server.url, bucket: "AWAY" };
  const nc = await connect({ servers: server.url });
  const { streams } = await jetstreamManager(nc);
  const archived = async () => (await streams.info("AWAY_HISTORY")).state.messages;
  try {
    await using store = await openJetStream(options);
    await using following = new Following(store);
    await addUsers(store, "before", 20);
    await until(async () => await archived() === 20, "20 entries are archived");
    await streams.update("AWAY_HISTORY", { sources: [] });
    const away = await addUsers(store, "away", 20);
    await following.has(away);
    const entries = await allEntries(store);
    assert.equal(entries.length, 40);
    requireOrder(entries);
    assert.deepEqual(
      (await store.history({ newest: true, limit: 40 })).items,
      entries.toReversed(),
    );
    const { revision } = entries[30]!;
    const after = await store.history({ after: revision });
    assert.deepEqual(after.items, entries.slice(31));
    const before = await store.history({ newest: true, before: revision, limit: 15 });
    assert.deepEqual(before.items, entries.slice(15, 30).toReversed());
    assert.equal(await archived(), 20);
    // What is cut before it was archived does not come back with it.
    assert.equal(await store.pruneHistory({ keep: 10 }), 30);
    // Opening a store lets the archive take entries again.
    await using _other = await openJetStream(options);
    await until(async () => await archived() >= 11, "the archive is back");
    await until(
      async () => (await streams.info("AWAY_HISTORY")).state.last_seq === 41,
      "the archive has everything",
    );
    const kept = await allEntries(store);
    assert.deepEqual(kept.slice(0, 10), entries.slice(30));
    assert.equal(kept.length, 11);
    await following.has(away);
    requireOrder(following.entries);
    // The next pruning clears what the first one could not.
    assert.equal(await store.pruneHistory({ keep: 5 }), 6);
    await until(async () => await archived() <= 6, "the archive is cleared");
  } finally {
    await nc.close();
  }
});

Deno.test("entries that have left the bucket's stream are read from the archive", async () => {
  await using server = await testServer();
  const options = { servers: server.url, bucket: "LEFT" };
  const nc = await connect({ servers: server.url });
  const { streams } = await jetstreamManager(nc);
  try {
    await using store = await openJetStream(options);
    await addUsers(store, "a", 30);
    const entries = await allEntries(store);
    await until(
      async () => (await streams.info("LEFT_HISTORY")).state.messages === 30,
      "30 entries are archived",
    );
    // As their time to live does after a week.
    await streams.purge("KV_LEFT", { filter: "$UNIBUS.LEFT.history.*" });
    await using other = await openJetStream(options);
    assert.deepEqual(await allEntries(other), entries);
    await using following = new Following(other, entries[9]!.revision);
    const more = await addUsers(store, "b", 5);
    await following.has(more);
    assert.deepEqual(following.entries.slice(0, 20), entries.slice(10));
    assert.equal(following.entries.length, 25);
  } finally {
    await nc.close();
  }
});

Deno.test("what follows too slowly learns that entries were pruned", async () => {
  await using server = await testServer();
  const nc = await connect({ servers: server.url });
  const { streams } = await jetstreamManager(nc);
  const archived = async () => (await streams.info("SLOW_HISTORY")).state.last_seq;
  try {
    await using store = await openJetStream({ servers: server.url, bucket: "SLOW" });
    await addUsers(store, "a", 5);
    await until(async () => await archived() === 5, "5 entries are archived");
    const following = store.follow({ after: null })[Symbol.asyncIterator]();
    for (let i = 0; i < 5; i++) assert.equal((await following.next()).done, false);
    await addUsers(store, "b", 10);
    await until(async () => await archived() === 15, "15 entries are archived");
    assert.equal(await store.pruneHistory({ keep: 2 }), 13);
    await assert.rejects(() => Promise.resolve(following.next()), { code: "too_old" });
    const oldest = (await allEntries(store))[0]!;
    await assert.rejects(store.history({ after: "0.1" }), { code: "too_old" });
    assert.equal(
      (await store.history({ newest: true, limit: 3 })).items.at(-1)!.revision,
      oldest.revision,
    );
  } finally {
    await nc.close();
  }
});

/** Runs work with this process's clock so many hours later. */
async function later(hours: number, work: () => Promise<void>): Promise<void> {
  const { now } = Date;
  Date.now = () => now() + hours * 3_600_000;
  try {
    await work();
  } finally {
    Date.now = now;
  }
}

for (
  const [what, hours, meanwhile] of [
    ["for an hour", 1, "nothing else"],
    ["for a day, while entries leave the bucket", 25, "entries leave"],
    ["for a day, while the archive is away", 25, "the archive is away"],
  ] as const
) {
  Deno.test(`a reader that sleeps ${what} gets every entry, once and in order`, async () => {
    await using server = await testServer();
    const nc = await connect({ servers: server.url });
    try {
      const { streams } = await jetstreamManager(nc);
      const archived = async () => (await streams.info("SLEEP_HISTORY")).state.messages;
      await using store = await openJetStream({ servers: server.url, bucket: "SLEEP" });
      const users = await addUsers(store, "a", 5);
      await until(async () => await archived() === 5, "5 entries are archived");
      const following = store.follow({ after: null })[Symbol.asyncIterator]();
      const take = async (count: number) => {
        const found = [];
        while (found.length < count) found.push((await following.next()).value!.user);
        return found;
      };
      assert.deepEqual((await take(5)).toSorted(), users.toSorted());
      // From here on it reads the bucket's stream.
      const next = take(1);
      assert.deepEqual(await addUsers(store, "b", 1), await next);
      if (meanwhile === "the archive is away") {
        await streams.update("SLEEP_HISTORY", { sources: [] });
      }
      const more: string[] = [];
      for (let i = 0; i < 10; i++) more.push(...await addUsers(store, `c${i}`, 1));
      if (meanwhile === "entries leave") {
        await until(async () => await archived() === 16, "all is archived");
        await streams.purge("KV_SLEEP", { filter: "$UNIBUS.SLEEP.history.*" });
      }
      await later(hours, async () => assert.deepEqual(await take(10), more));
    } finally {
      await nc.close();
    }
  });
}
