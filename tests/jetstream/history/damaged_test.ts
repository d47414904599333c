/**
 * An archive with a message that cannot be read, or that is not in its place: readers say where, and hide
 * nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { openJetStream, type Store, verifyHistory } from "../../../mod.ts";
import { createNkey } from "../../../src/keys/nkey.ts";
import { signAs } from "../../history/kit.ts";
import { testServer } from "../../helpers/nats.ts";
import { person } from "../../helpers/sqlite.ts";
import { allEntries, Following, until } from "./kit.ts";

/** Ten entries, then a message by hand, then three entries. */
async function damaged(data: string, work: (world: World) => Promise<void>): Promise<void> {
  await using server = await testServer();
  const nc = await connect({ servers: server.url });
  try {
    const { streams } = await jetstreamManager(nc);
    const archived = async () => (await streams.info("B_HISTORY")).state.messages;
    await using store = await openJetStream({ servers: server.url, bucket: "B" });
    for (let i = 0; i < 10; i++) await store.addUser(person(i));
    await until(async () => await archived() === 10, "10 entries are archived");
    const entries = await allEntries(store);
    await jetstream(nc).publish("$UNIBUS.B.archive", data);
    for (let i = 10; i < 13; i++) await store.addUser(person(i));
    await until(async () => await archived() === 14, "all is archived");
    const later = (await store.history({ newest: true, limit: 2 })).items.toReversed();
    assert.deepEqual(later.map(({ user }) => user), [11, 12].map((i) => person(i).signPub));
    await work({ store, entries: entries.map((it) => it.revision), later });
  } finally {
    await nc.close();
  }
}

interface World {
  store: Store;
  /** The revisions before it. */
  entries: string[];
  /** The last two entries after it. */
  later: Awaited<ReturnType<typeof allEntries>>;
}

const huge = JSON.stringify({
  ...{ v: 1, g: 0, n: 900_000, at: new Date().toISOString() },
  ...{ by: "eve", action: "user.added" },
});

for (
  const [what, data, message] of [
    ["cannot be read", "x", /^Message 11 of stream B_HISTORY cannot be read: .* is not JSON$/],
    ["has no number", '{"v":1,"g":"0","n":{}}', /^Message 11 of stream B_HISTORY cannot be read/],
    ["has a huge number", huge, /revisions 0\.\d+ and 0\.900000 at message 12 of .* not in order/],
  ] as const
) {
  Deno.test(`a message of the archive that ${what} is named, and hides no entry`, () =>
    damaged(data, async ({ store, entries, later }) => {
      const isNamed = (error: { code: string; message: string; hint: string }) => {
        assert.equal(error.code, "corrupt");
        assert.match(error.message, /Message 11 of|message 1[12] of stream B_HISTORY/);
        assert.match(error.hint, /log verify .*repair --from follower/);
        return true;
      };
      await assert.rejects(allEntries(store), (error: Error) => {
        assert.match(error.message, message);
        return isNamed(error as never);
      });
      await assert.rejects(store.history({ newest: true }), isNamed);
      await assert.rejects(store.history({ since: "2026-01-01T00:00:00.000Z" }), isNamed);
      // What comes before and after it can be read.
      const before = await store.history({ before: entries[9]!, newest: true, limit: 9 });
      assert.deepEqual(before.items.map((it) => it.revision), entries.slice(0, 9).toReversed());
      assert.deepEqual((await store.history({ after: later[0]!.revision })).items, later.slice(1));
      await using following = new Following(store);
      await until(() => following.error !== null, "following ends");
      isNamed(following.error as never);
      assert.deepEqual(following.entries.slice(0, 10).map((it) => it.revision), entries);
      const { problems } = await verifyHistory(store);
      assert.ok(problems.length > 0);
      assert.ok(problems.some((it) => message.test(it.message) || /inserted/.test(it.message)));
      // One that looked only at the end has found nothing, and must not have signed what it did not see.
      await assert.rejects(signAs(store, "n1", createNkey("user")), isNamed);
    }));
}

Deno.test("pruning all begins a new history, whatever was in the old one", () =>
  damaged("x", async ({ store, later }) => {
    await assert.rejects(store.pruneHistory({ keep: 1 }), { code: "corrupt" });
    assert.equal(await store.pruneHistory({ all: true }), 14);
    await store.addUser(person(20));
    const [pruned, added, ...rest] = await allEntries(store);
    assert.deepEqual(
      [pruned!.action, pruned!.after!.upTo, added!.user, rest],
      ["history.pruned", later[1]!.revision, person(20).signPub, []],
    );
    assert.deepEqual((await verifyHistory(store)).problems, []);
    await signAs(store, "n1", createNkey("user"));
    const { problems, witnesses } = await verifyHistory(store);
    assert.deepEqual([problems, witnesses[0]!.found], [[], "equal"]);
    // The end that a node signed stays the beginning of what follows.
    await store.pruneHistory({ all: true });
    const again = await verifyHistory(store);
    assert.deepEqual([again.problems, again.witnesses[0]!.found], [[], "equal"]);
    await assert.rejects(store.pruneHistory({ all: true, keep: 1 }), { code: "invalid" });
    await assert.rejects(store.pruneHistory({}), { code: "invalid" });
  }));
