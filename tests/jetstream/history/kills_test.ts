/**
 * Every acknowledged change has exactly one entry, no other exists, and all are followed once and in
 * order, while writers and servers are killed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { openJetStream } from "../../../mod.ts";
import { testCluster, type TestServer, testServer } from "../../helpers/nats.ts";
import { Child } from "../../helpers/sqlite.ts";
import { allEntries, Following, requireOrder, requireSameUsers, until } from "./kit.ts";

const SCRIPT = new URL("./child.ts", import.meta.url).pathname;
const BUCKET = "KILLS";

/** A writer in a process of its own; collects what was acknowledged. */
class Writer implements AsyncDisposable {
  readonly acknowledged: Set<string>;
  readonly #child: Child;
  readonly #done: Promise<void>;
  #killed = false;

  constructor(urls: readonly string[], name: string, acknowledged: Set<string>) {
    this.acknowledged = acknowledged;
    this.#child = new Child([urls.join(","), BUCKET, name], { script: SCRIPT });
    this.#done = this.#collect();
  }

  async #collect(): Promise<void> {
    for (;;) {
      const line = await this.#child.line().catch(() => null);
      if (line === null) return;
      if (line !== "ready") this.acknowledged.add(line);
    }
  }

  /** Kills it in the middle of its changes. */
  async kill(): Promise<void> {
    if (this.#killed) return;
    this.#killed = true;
    await this.#child.kill();
    await this.#done;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

/** Kills writers and servers in turn, then compares entries, changes and what was followed. */
async function play(
  urls: string[],
  replicas: number,
  kill: (round: number) => Promise<TestServer>,
  ready: () => Promise<void>,
): Promise<void> {
  const options = { servers: urls, bucket: BUCKET, replicas, opTimeout: 60_000 };
  await using store = await openJetStream(options);
  await using following = new Following(store);
  const acknowledged = new Set<string>();
  for (let round = 0; round < 3; round++) {
    await using one = new Writer(urls, `one ${round}`, acknowledged);
    await using two = new Writer(urls, `two ${round}`, acknowledged);
    const enough = acknowledged.size + 60;
    await until(() => acknowledged.size >= enough, `${enough} changes`);
    await one.kill();
    const killed = await kill(round);
    await killed.exited;
    await killed.restart();
    await ready();
    const more = acknowledged.size + 20;
    await until(() => acknowledged.size >= more, `${more} changes`);
    await two.kill();
  }
  // From the middle on another continues, as after a restart.
  const middle = following.entries[Math.floor(following.entries.length / 2)]!.revision;
  await using later = new Following(store, middle);
  const last = await store.addUser({ ...lastUser(), role: "admin" });
  await following.has([last.signPub]);
  await later.has([last.signPub]);
  const entries = await allEntries(store);
  requireOrder(entries);
  assert.deepEqual(following.entries, entries);
  assert.deepEqual(later.entries, entries.slice(entries.length - later.entries.length));
  const newest = await store.history({ newest: true, limit: 1000 });
  assert.deepEqual(newest.items, entries.toReversed().slice(0, 1000));
  const made = entries.map(({ action, user }) => `${action} ${user}`);
  assert.equal(new Set(made).size, made.length, "no change has two entries");
  assert.deepEqual([...acknowledged].filter((it) => !made.includes(it)), []);
  await requireSameUsers(store, entries);
  const revoked = new Set(made.filter((it) => it.startsWith("user.revoked ")));
  for await (const { signPub, status } of store.users()) {
    assert.equal(status === "revoked", revoked.has(`user.revoked ${signPub}`));
  }
}

function lastUser() {
  const key = "ab".repeat(32);
  return { signPub: key, kexPub: "09".padEnd(64, "0"), handle: "last" };
}

Deno.test("entries and changes are the same when writers and the server are killed", async () => {
  await using server = await testServer();
  const kill = () => {
    server.kill("SIGKILL");
    return Promise.resolve(server);
  };
  await play([server.url], 1, kill, () => Promise.resolve());
});

Deno.test({
  name: "entries and changes are the same when writers and leaders of three servers are killed",
  ignore: Deno.env.get("UNIBUS_CLUSTER") !== "1",
  async fn() {
    await using cluster = await testCluster(3);
    const kill = (round: number) => {
      const server = cluster.servers[round % 3]!;
      server.kill("SIGKILL");
      return Promise.resolve(server);
    };
    await play(cluster.urls, 3, kill, () => cluster.ready(120_000));
  },
});
