import assert from "node:assert/strict";
import { openBucket } from "../../../src/jetstream/mod.ts";
import { Feed, scan } from "../../../src/jetstream/log/feed.ts";
import { isHistory } from "../../../src/jetstream/records/keys.ts";
import { putWithEntry } from "../../follower/kit.ts";
import { testServer } from "../../helpers/nats.ts";
import { tampered } from "../tamper.ts";

/** The server's answer to a request for a consumer. */
const CREATED =
  /MSG \S+ \d+ \d+\r\n\{"type":"io\.nats\.jetstream\.api\.v1\.consumer_create_response".*\r\n/g;
/** The server's answer to a request for the state of a stream. */
const INFO =
  /MSG \S+ \d+ \d+\r\n\{"type":"io\.nats\.jetstream\.api\.v1\.stream_info_response".*\r\n/g;

/** A message of the bucket, with its headers. */
const DELIVERED = /HMSG \$KV\.\S+ \d+ \$JS\.ACK\S+ \d+ \d+\r\n[^]*?\r\n\r\n.*\r\n/g;

Deno.test("a scan waits for the one consumer that it asked a busy server for, longer than half a minute, and asks for no other", async () => {
  await using server = await testServer();
  const names = new Set<string>();
  let late = 6;
  const { now } = Date;
  let passed = 0;
  await using proxy = await tampered(server.url, (text) =>
    text.replaceAll(CREATED, (answer) => {
      names.add(/"name":"(unibus_\w+)"/.exec(answer)![1]!);
      if (late-- <= 0) return answer;
      passed += 10_000;
      return "";
    }));
  const { bucket, end } = await openBucket({ servers: proxy.url });
  try {
    await bucket.put("users.a", "1", now() + 60_000);
    Date.now = () => now() + passed;
    const keys: string[] = [];
    await scan(bucket, { patience: 500, onEntry: ({ key }) => void keys.push(key) });
    assert.deepEqual(keys.filter((key) => key === "users.a"), ["users.a"]);
    // It may have asked for that one once more before the answer came.
    assert.equal(names.size, 1);
    assert.ok(late < 0);
  } finally {
    Date.now = now;
    await end();
  }
});

for (const answers of [true, false]) {
  const what = answers ? "while the leader answers" : "from a lone server that answers pings";
  Deno.test(`a scan of some keys waits longer than half a minute for a message ${what}`, async () => {
    await using server = await testServer();
    const { now } = Date;
    let passed = Infinity;
    await using proxy = await tampered(server.url, (text) => {
      if (passed >= 60_000) return text;
      if (text.includes("stream_info_response")) passed += answers ? 1000 : 10_000;
      const rest = text.replaceAll(DELIVERED, "");
      return answers ? rest : rest.replaceAll(INFO, "");
    });
    const { bucket, end } = await openBucket({ servers: proxy.url });
    try {
      await bucket.put("users.a", "1", now() + 60_000);
      passed = 0;
      Date.now = () => now() + passed;
      const keys: string[] = [];
      const onEntry = ({ key }: { key: string }) => void keys.push(key);
      await scan(bucket, { pattern: "users.>", patience: answers ? 6000 : 2000, onEntry });
      assert.deepEqual(keys, ["users.a"]);
    } finally {
      Date.now = now;
      await end();
    }
  });
}

Deno.test("a scan whose server stops fails within its patience, as a timer of this process measures it", async () => {
  await using server = await testServer();
  const { bucket, end } = await openBucket({ servers: server.url });
  try {
    for (let i = 0; i < 3; i++) await bucket.put(`users.${i}`, "1", Date.now() + 60_000);
    const stopped = Promise.withResolvers<number>();
    const scanned = scan(bucket, {
      pattern: "users.>",
      // Nothing tells that this is all.
      minimum: 1e9,
      patience: 2000,
      onEntry: ({ key }) => {
        if (key !== "users.2") return;
        server.kill("SIGSTOP");
        stopped.resolve(performance.now());
      },
    });
    const timer = (async () => {
      const begun = await stopped.promise;
      await new Promise((resolve) => setTimeout(resolve, 2000));
      return performance.now() - begun;
    })();
    await assert.rejects(scanned, { code: "unavailable" });
    const took = performance.now() - await stopped.promise;
    const most = await timer * 1.3;
    assert.ok(took < most, `${took} ms, more than ${most}`);
  } finally {
    server.kill("SIGCONT");
    await end();
  }
});

Deno.test("a scan that waits for a busy server ends when it is aborted", async () => {
  await using server = await testServer();
  const abort = new AbortController();
  await using proxy = await tampered(server.url, (text) =>
    text.replaceAll(CREATED, () => {
      abort.abort();
      return "";
    }));
  const { bucket, end } = await openBucket({ servers: proxy.url });
  const begun = Date.now();
  const scanned = scan(bucket, { signal: abort.signal, patience: 60_000, onEntry: () => {} });
  await assert.rejects(scanned, ({ code }) => code === "aborted");
  assert.ok(Date.now() - begun < 30_000);
  await end();
});

Deno.test("a feed that begins with the records goes on with the history after them, and misses nothing", async () => {
  await using server = await testServer();
  const { bucket, end } = await openBucket({ servers: server.url });
  try {
    const written: number[] = [];
    for (let i = 0; i < 300; i++) {
      written.push(await putWithEntry(bucket, { [`users.${i}`]: "1" }, 86_400));
    }
    // After the last record there is nothing but history.
    for (let i = 0; i < 300; i++) written.push(await putWithEntry(bucket, {}, 86_400));
    const got: { key: string; revision: number }[] = [];
    let wanted = written.at(-1)!;
    let reached = Promise.withResolvers<void>();
    const feed = new Feed(bucket, {
      pattern: null,
      first: ">",
      heartbeat: 100,
      onEntry({ key, revision }) {
        got.push({ key, revision });
        if (revision >= wanted) reached.resolve();
      },
    });
    await feed.start();
    await reached.promise;
    reached = Promise.withResolvers();
    wanted = await putWithEntry(bucket, { "users.more": "1" }, 86_400);
    if (got.at(-1)!.revision < wanted) await reached.promise;
    feed.stop();
    const keys = got.filter(({ key }) => key.startsWith("users.")).map(({ key }) => key);
    assert.deepEqual(keys, [...Array.from({ length: 300 }, (_, i) => `users.${i}`), "users.more"]);
    const entries = got.filter(({ key }) => isHistory(key)).map(({ revision }) => revision);
    assert.ok(entries.length < 500, `${entries.length} entries read`);
    assert.deepEqual(entries.slice(-301), [...written.slice(-300), wanted]);
    const revisions = got.map(({ revision }) => revision);
    assert.deepEqual(revisions, [...revisions].sort((a, b) => a - b));
  } finally {
    await end();
  }
});

Deno.test("a feed with a pace pauses between pieces until few messages wait", async () => {
  await using server = await testServer();
  const { bucket, end } = await openBucket({ servers: server.url });
  try {
    for (let i = 0; i < 400; i++) await bucket.put(`users.${i}`, "1", Date.now() + 60_000);
    const keys: string[] = [];
    const ended = Promise.withResolvers<void>();
    const begun = performance.now();
    const feed = new Feed(bucket, {
      pattern: "users.*",
      piece: 64,
      pace: 0.0001,
      onEntry({ key }) {
        if (keys.push(key) === 400) ended.resolve();
      },
    });
    await feed.start();
    await ended.promise;
    // Of seven pieces the last ones come at once.
    assert.ok(performance.now() - begun >= 4 * 250);
    feed.stop();
    assert.deepEqual(keys, Array.from({ length: 400 }, (_, i) => `users.${i}`));
  } finally {
    await end();
  }
});
