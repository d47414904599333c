/** Changes of a history in JetStream, by raw messages and calls of its API: each is found. */

import assert from "node:assert/strict";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { openJetStream, type SignedHead, type Store, verifyHistory } from "../../mod.ts";
import { sourceOf } from "../../src/core/history/source.ts";
import { switchOf } from "../../src/core/store/switching.ts";
import { createNkey, signPubOf } from "../../src/keys/nkey.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { testServer } from "../helpers/nats.ts";
import { until } from "../cli/serve/kit.ts";
import { change, signAs } from "./kit.ts";

/** A bucket whose history was signed in the middle and at its end, and a raw connection. */
interface World {
  store: Store;
  name: string;
  nc: Awaited<ReturnType<typeof connectNats>>;
  js: ReturnType<typeof jetstream>;
  jsm: Awaited<ReturnType<typeof jetstreamManager>>;
  signer: string;
  kept: SignedHead;
  revisions: string[];
}

let buckets = 0;

async function inWorld(
  nc: World["nc"],
  work: (world: World) => Promise<void>,
): Promise<void> {
  const name = `B${++buckets}`;
  const key = createNkey("user");
  const store = await openJetStream({ connection: nc, bucket: name });
  try {
    await change(store, 0, 2);
    await signAs(store, "n2", key);
    await change(store, 2, 3);
    const kept = await signAs(store, "n1", key);
    const revisions = (await store.history({ limit: 1000 })).items.map((it) => it.revision);
    const [js, jsm] = [jetstream(nc), await jetstreamManager(nc)];
    const archived = async () => (await jsm.streams.info(`${name}_HISTORY`)).state.messages;
    await until(async () => await archived() === revisions.length, "archive", 60_000);
    const signer = signPubOf(key.publicKey)!;
    await work({ store, name, nc, js, jsm, signer, kept, revisions });
  } finally {
    await store.close();
  }
}

interface Attack {
  what: string;
  /** The first wrong revision. */
  at: (world: World) => string | null;
  make: (world: World) => Promise<unknown>;
}

const archive = ({ name }: World) => `$UNIBUS.${name}.archive`;
const number = (revision: string) => Number(revision.split(".")[1]);
const value = (more: object) =>
  JSON.stringify({
    v: 1,
    g: 0,
    at: new Date().toISOString(),
    by: "eve",
    action: "user.added",
    ...more,
  });

/**
 * Makes the archive again from messages of its own or, as the server does not take messages that say that
 * they have a source, from another stream.
 */
async function again(
  world: World,
  from: "itself" | "another stream",
  each: (data: string, i: number) => string | null,
): Promise<void> {
  const { jsm, js, name } = world;
  const stream = `${name}_HISTORY`;
  const { config, state } = await jsm.streams.info(stream);
  const found: string[] = [];
  for (let seq = 1; seq <= state.last_seq; seq++) {
    found.push((await jsm.streams.getMessage(stream, { seq }))!.string());
  }
  await jsm.streams.delete(stream);
  const [source] = config.sources!;
  const other = {
    name: `${name}X`,
    subject_transforms: [{ src: `${name}X`, dest: archive(world) }],
  };
  if (from === "itself") await jsm.streams.add({ ...config, sources: [] });
  else {
    await jsm.streams.add({ name: `${name}X`, subjects: [`${name}X`] });
    await jsm.streams.add({ ...config, sources: [other] });
  }
  const subject = from === "itself" ? archive(world) : `${name}X`;
  let count = 0;
  for (const [i, data] of found.entries()) {
    const changed = each(data, i);
    if (changed === null) continue;
    const n = number(world.revisions[i]!);
    await js.publish(subject, changed.replace('"v":1', `"v":1,"n":${n}`));
    count++;
  }
  const isThere = async () => (await jsm.streams.info(stream)).state.messages >= count;
  await until(isThere, "archive", 60_000);
  // What is in the bucket's stream is not taken over once more.
  await jsm.streams.purge(`KV_${name}`, { filter: `$UNIBUS.${name}.history.>` });
  await jsm.streams.update(stream, { sources: from === "itself" ? [source!] : [source!, other] });
}

const ATTACKS: Attack[] = [
  {
    what: "an entry with a late number",
    at: () => "0.900000",
    make: (world) => world.js.publish(archive(world), value({ n: 900_000 })),
  },
  {
    what: "an entry with an early number",
    at: () => "0.1",
    make: (world) => world.js.publish(archive(world), value({ n: 1 })),
  },
  {
    what: "an entry without a number",
    at: () => "0.0",
    make: (world) => world.js.publish(archive(world), value({})),
  },
  {
    what: "an entry of a later generation",
    at: () => "9.1",
    make: (world) => world.js.publish(archive(world), value({ g: 9, n: 1 })),
  },
  {
    what: "a message that is no entry",
    at: () => null,
    make: (world) => world.js.publish(archive(world), "x"),
  },
  {
    what: "the oldest entries purged",
    at: ({ revisions }) => revisions[0]!,
    make: ({ jsm, name }) => jsm.streams.purge(`${name}_HISTORY`, { seq: 4 }),
  },
  {
    what: "the archive purged, and what is in the bucket's stream",
    at: () => null,
    make: async ({ jsm, name }) => {
      await jsm.streams.purge(`${name}_HISTORY`);
      await jsm.streams.purge(`KV_${name}`, { filter: `$UNIBUS.${name}.history.>` });
    },
  },
  {
    what: "an entry deleted from the bucket's stream",
    at: ({ revisions }) => revisions[5]!,
    make: async ({ jsm, name, revisions }) => {
      const stream = `KV_${name}`;
      const { subject } = (await jsm.streams.getMessage(stream, { seq: number(revisions[5]!) }))!;
      await jsm.streams.purge(stream, { filter: subject });
    },
  },
  ...(["itself", "another stream"] as const).flatMap((from): Attack[] => {
    // The numbers of what is taken over are those of its stream.
    const at: Attack["at"] = ({ revisions }) => from === "itself" ? revisions[0]! : "0.1";
    return [
      {
        what: `the archive made again from ${from}`,
        at,
        make: (world) => again(world, from, (data) => data),
      },
      {
        what: `the archive made again from ${from} without an entry`,
        at,
        make: (world) => again(world, from, (data, i) => i === 4 ? null : data),
      },
      {
        what: `the archive made again from ${from} with another author`,
        at,
        make: (world) =>
          again(
            world,
            from,
            (data, i) => i === 6 ? data.replace(/"by":"[^"]*"/, '"by":"eve"') : data,
          ),
      },
      {
        what: `the archive made again from ${from} without the newest entries`,
        at,
        make: (world) =>
          again(world, from, (data, i) => i < world.revisions.length - 2 ? data : null),
      },
    ];
  }),
  {
    what: "a signed head changed",
    at: ({ kept }) => kept.revision,
    make: ({ js, name, kept: { node: _, ...head } }) =>
      js.publish(
        `$KV.${name}.meta.head-n1`,
        JSON.stringify({ v: 1, ...head, head: "e".repeat(64) }),
      ),
  },
  {
    what: "the cut changed",
    at: () => null,
    make: ({ js, name, revisions }) => {
      const cut = { v: 1, revision: revisions[3], head: "e".repeat(64) };
      return js.publish(`$KV.${name}.meta.history`, JSON.stringify(cut));
    },
  },
];

Deno.test("each change of a history in JetStream by raw messages and calls is found", async (t) => {
  await using server = await testServer();
  await using nc = await connection(server.url);
  await t.step(
    "an honest one has no problem",
    () =>
      inWorld(nc.nc, async ({ store, signer, kept, revisions }) => {
        const report = await verifyHistory(store, { keys: [signer], kept: [kept] });
        assert.deepEqual(report.problems, []);
        assert.equal(report.entries, revisions.length);
        assert.deepEqual(report.witnesses.map((it) => it.found), ["equal", "equal", "equal"]);
        const part = await verifyHistory(store, { keys: [signer], last: 3 });
        assert.deepEqual([part.problems, part.entries], [[], 3]);
        await store.pruneHistory({ keep: 5 });
        await change(store, 9, 1);
        const pruned = await verifyHistory(store, { keys: [signer], kept: [kept] });
        assert.deepEqual(pruned.problems, []);
        assert.deepEqual((await sourceOf(switchOf(store).current).heads()).length, 2);
      }),
  );
  await t.step(
    "an archive that takes nothing over is found, until the next opening mends it",
    () =>
      inWorld(nc.nc, async ({ store, name, jsm }) => {
        await jsm.streams.update(`${name}_HISTORY`, { sources: [] });
        const { problems } = await verifyHistory(store);
        assert.match(problems[0]!.message, /configuration of stream/);
        await using other = await openJetStream({ connection: nc.nc, bucket: name });
        assert.deepEqual((await verifyHistory(other)).problems, []);
      }),
  );
  for (const { what, at, make } of ATTACKS) {
    await t.step(what, () =>
      inWorld(nc.nc, async (world) => {
        await make(world);
        // Another process, which has not written to it.
        await using store = await openJetStream({ connection: nc.nc, bucket: world.name });
        const { signer, kept } = world;
        const { problems } = await verifyHistory(store, { keys: [signer], kept: [kept] });
        assert.ok(problems.length > 0, "not found");
        const expected = at(world);
        if (expected !== null) assert.equal(problems[0]!.revision, expected, problems[0]!.message);
      }));
  }
});

async function connection(servers: string) {
  const nc = await connectNats({ servers });
  return { nc, [Symbol.asyncDispose]: () => nc.close() };
}
