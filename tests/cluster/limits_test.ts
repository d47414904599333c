/**
 * How long a caller waits at most when its node is cut off: docs/failures.md, "Time limits and retries".
 *
 * @module
 */

import assert from "node:assert/strict";
import { openObjectBlobs } from "../../src/blobs/mod.ts";
import { StoreError } from "../../src/core/errors.ts";
import { openJetStream } from "../../src/jetstream/mod.ts";
import { connectNats } from "../../src/nats/connection/connect.ts";
import { METHODS, seedStore } from "../conformance/kit/methods.ts";
import { eventually } from "../conformance/kit/kit.ts";
import { pauseServer, type TestCluster, testCluster, type TestServer } from "../helpers/nats.ts";

const OP_TIMEOUT = 4000;
/** How much longer a call may take than a timer of the same process, which a busy machine delays as well. */
const SLACK = 1.3;
/**
 * Of these not a call is bounded but each wait for the next message, or each page: they read or write
 * everything.
 */
const WHOLE = [
  ...["records", "restore"],
  ...["rooms", "roomsForEndpoint", "members", "waiting", "sealedKeys", "users", "invites"],
];

async function* bytes(): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(crypto.getRandomValues(new Uint8Array(50_000)));
}

/** Every call at once on a node that is cut off; gives how each ended. */
async function endings(
  node: TestServer,
  bucket: string,
  cut: () => Promise<unknown>,
  heal: () => void,
): Promise<string[]> {
  const connection = await connectNats({ servers: node.url, bootstrapTimeout: 20_000 });
  try {
    await using store = await openJetStream({
      connection,
      bucket,
      replicas: 3,
      opTimeout: OP_TIMEOUT,
    });
    await using blobs = await openObjectBlobs({
      connection,
      bucket: `${bucket}_BLOBS`,
      opTimeout: OP_TIMEOUT,
      replicas: 3,
    });
    const { id } = await blobs.put(bytes(), { maxBytes: 1e6 });
    await using patient = await openJetStream({ connection, bucket, opTimeout: 20_000 });
    const seed = await seedStore(patient);
    await eventually("a warm cache", () => store.hasAdmin(), 20_000);
    await cut();
    const calls: [string, () => Promise<unknown>][] = [
      ...METHODS.filter((it) => !WHOLE.includes(it.name)).map((
        it,
      ): [string, () => Promise<unknown>] => [
        it.name,
        () => it.name === "health" ? store.health() : it.call(store, seed),
      ]),
      // Its turn comes when those before it have failed; then its reads may be answered.
      ["pruneSealedKeys, a little later", async () => {
        await new Promise((resolve) => setTimeout(resolve, OP_TIMEOUT / 8));
        return await store.pruneSealedKeys("seed.room", 1);
      }],
      ["blobs.put", () => blobs.put(bytes(), { maxBytes: 1e6 })],
      ["blobs.stat", () => blobs.stat(id)],
      ["blobs.get", async () => await new Response((await blobs.get(id))?.body).arrayBuffer()],
      ["blobs.health", () => blobs.health()],
    ];
    const begun = performance.now();
    const timer = new Promise((resolve) => setTimeout(resolve, OP_TIMEOUT)).then(() => {
      return performance.now() - begun;
    });
    try {
      const ended = await Promise.all(calls.map(async ([name, call]) => {
        const code = await call().then(() => "ok", (error) => {
          assert.ok(error instanceof StoreError, `${name}: ${error}`);
          return error.code;
        });
        return { name: `${name} ${code}`, took: performance.now() - begun };
      }));
      const most = await timer * SLACK;
      const late = ended.filter(({ took }) => took > most);
      assert.deepEqual(late, [], `Later than ${Math.round(most)} ms`);
      return ended.map(({ name }) => name);
    } finally {
      heal();
    }
  } finally {
    await connection.close();
  }
}

Deno.test("every operation ends within opTimeout on a node that is cut off, whichever way", async (t) => {
  await using cluster: TestCluster = await testCluster(3);
  const [node, ...others] = cluster.servers as [TestServer, TestServer, TestServer];
  const stop = (which: TestServer[]) => () => Promise.all(which.map(pauseServer));
  const go = (which: TestServer[]) => () => which.forEach((it) => it.kill("SIGCONT"));
  const writes = METHODS.filter((it) => !it.reads && it.name !== "restore").map((it) => it.name);

  await t.step("the others hang: its server answers, without a majority", async () => {
    const ended = await endings(node, "CUT1", stop(others), go(others));
    for (const it of writes) assert.ok(ended.includes(`${it} unavailable`), `${it}: ${ended}`);
  });
  await t.step("its own server hangs", async () => {
    await cluster.ready();
    const ended = await endings(node, "CUT2", stop([node]), go([node]));
    const answered = ended.filter((it) => it.endsWith(" ok")).map((it) => it.split(" ")[0]);
    // These tell how it is, or answer from memory as long as that is fresh.
    const telling = [
      "getMember",
      "countMembers",
      "isAuthorized",
      "hasAdmin",
      "watchAccess",
      "health",
      "blobs.health",
    ];
    assert.deepEqual(answered.filter((it) => !telling.includes(it!)), []);
  });
  await t.step("its own server is gone", async () => {
    await cluster.ready();
    const ended = await endings(node, "CUT3", async () => await node.kill("SIGKILL"), () => {});
    for (const it of writes) assert.ok(ended.includes(`${it} unavailable`), `${it}: ${ended}`);
  });
});
