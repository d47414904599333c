/**
 * Three nodes come up from nothing, in whatever order, and nobody else gets in.
 *
 * @module
 */

import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { writeFile } from "node:fs/promises";
import { eventsOf, launch, until } from "../cli/serve/kit.ts";
import {
  CLUSTER,
  foreignTls,
  json,
  LONG,
  ready,
  run,
  type TestNode,
  type TestNodes,
  testNodes,
  tryRun,
} from "./kit.ts";

/** What a server gives itself to come up, milliseconds: `bootstrapTimeout` of the store. */
const BUDGET_MS = 120_000;
const TRIES = LONG ? 50 : 2;
/** In the long form every so many tries one node is late by half a minute. */
const LATE_EVERY = 10;

const flags = { more: ["--store", "jetstream", "--replicas", "3"] };

/** Numbers from 0 to 1 that are the same for the same seed. */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let it = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    it = (it + Math.imul(it ^ (it >>> 7), 61 | it)) ^ it;
    return ((it ^ (it >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Starts the nodes in an order and with waits that the seed decides; gives the plan, and what it took. */
async function coldStart(place: TestNodes, seed: number): Promise<string> {
  const next = random(seed);
  const late = LONG && seed % LATE_EVERY === 0;
  const order = place.nodes.map((node) => ({ node, at: next() })).sort((a, b) => a.at - b.at);
  const waits = order.map((_, i) => i === 0 ? 0 : next() < 0.4 ? 0 : Math.round(next() * 2000));
  if (late) waits[2] = 30_000;
  const plan = order.map(({ node }, i) => `${node.name}+${waits[i]}`).join(" ");
  const began = performance.now();
  const started: Promise<unknown>[] = [];
  for (const [i, { node }] of order.entries()) {
    await new Promise((resolve) => setTimeout(resolve, waits[i]));
    // A server says that it serves when its store is open, which takes a majority.
    const serving = node.start(flags);
    // Heard of below, when the last one has been started too.
    serving.catch(() => {});
    started.push(serving);
  }
  const last = performance.now();
  try {
    await Promise.all(started);
    await Promise.all(place.nodes.map((it) => ready(it, BUDGET_MS)));
  } catch (error) {
    throw new Error(`seed ${seed} (${plan}): ${(error as Error).message}`, { cause: error });
  }
  const took = performance.now() - last;
  assert.ok(performance.now() - began < BUDGET_MS, `seed ${seed} (${plan}) was over the budget`);
  return `seed ${seed}: ${plan}, ready ${Math.round(took)} ms after the last start`;
}

async function clean(place: TestNodes): Promise<void> {
  await Promise.all(place.nodes.map((it) => it.stop("SIGKILL")));
  for (const it of place.nodes) await rm(it.dir, { recursive: true, force: true });
}

Deno.test(`three nodes from clean stores, in any order, are ready every time in ${TRIES} tries; strangers do not join`, async () => {
  await using place = await testNodes(3);
  const all = place.flags(...place.nodes);
  const base = LONG ? 0 : Math.floor(Math.random() * 1e6) * LATE_EVERY;
  for (let i = 1; i <= TRIES; i++) {
    console.log(await coldStart(place, base + i));
    const { buckets } = await json("cluster", "status", ...all);
    assert.deepEqual(buckets.map((it: { replicas: number }) => it.replicas), [3, 3, 3]);
    const key = (i % 256).toString(16).padStart(2, "0").repeat(32);
    const user = ["--handle", "ada", "--sign-pub", key, "--kex-pub", key];
    await run("user", "add", ...user, ...place.flags(place.nodes[i % 3]!));
    if (i < TRIES) await clean(place);
    else if (CLUSTER) await restart(place, base + i);
  }
  await strangers(place);
});

/** All killed at once, and started in another order on what they have. */
async function restart(place: TestNodes, seed: number): Promise<void> {
  await Promise.all(place.nodes.map((it) => it.stop("SIGKILL")));
  console.log(`again: ${await coldStart(place, seed + 1)}`);
  const { users } = await json("user", "list", ...place.flags(...place.nodes));
  assert.equal(users.length, 1);
}

/** Nodes that lack what it takes; each must have tried, and been turned away. */
async function strangers(place: TestNodes): Promise<void> {
  const foreign = await foreignTls(place.dir);
  await writeFile(`${place.dir}/wrong.secret`, "not the secret", { mode: 0o600 });
  const kinds: [name: string, instead: Record<string, string>, without: string[]][] = [
    ["wrong-secret", { "--cluster-pass-file": `${place.dir}/wrong.secret` }, []],
    // With TLS and without a secret it would not even start.
    ["nothing", { "--bus-auth": "off" }, [
      ...["--cluster-user", "--cluster-pass-file"],
      ...["--route-tls-cert", "--route-tls-key", "--route-tls-ca"],
    ]],
    ["foreign-certificate", {
      "--route-tls-cert": foreign.cert,
      "--route-tls-key": foreign.key,
    }, []],
    ["foreign-authority", {
      "--route-tls-cert": foreign.cert,
      "--route-tls-key": foreign.key,
      "--route-tls-ca": foreign.ca,
    }, []],
    ["no-tls", {}, ["--route-tls-cert", "--route-tls-key", "--route-tls-ca"]],
  ];
  const [model] = place.nodes as [TestNode];
  const members = model.args(flags);
  const routes = place.nodes.map((it) => it.args()[it.args().indexOf("--cluster-port") + 1])
    .map((port) => `127.0.0.1:${port}`).join(",");
  const started = await Promise.all(kinds.map(async ([name, instead, without]) => {
    const args = model.args({
      ...flags,
      instead: {
        "--server-name": name,
        "--cluster-port": "0",
        "--nats-port": "0",
        "--http-port": "0",
        "--routes": routes,
        ...instead,
      },
    });
    for (const flag of without) args.splice(args.indexOf(flag), 2);
    assert.ok(args.length >= members.length - 10);
    return await launch(`${place.dir}/${name}`, args, { UNIBUS_NATS_DEBUG: "1" });
  }));
  try {
    for (const [i, child] of started.entries()) {
      const told = () =>
        eventsOf(child.stderr()).filter((it) => it.event === "nats.log").map((it) => it.line);
      const turnedAway = /TLS route handshake error|Router connection closed/;
      await until(
        () => told().filter((it) => turnedAway.test(it)).length >= place.nodes.length,
        `word that ${kinds[i]![0]} was turned away by all`,
      );
      assert.ok(!eventsOf(child.stderr()).some((it) => it.event === "ready"), kinds[i]![0]);
    }
    const { code, stdout } = await tryRun(
      "cluster",
      "status",
      ...place.flags(...place.nodes),
      "--json",
    );
    assert.equal(code, 0, stdout);
    const { nodes, quorum } = JSON.parse(stdout);
    assert.deepEqual(nodes.map((it: { name: string }) => it.name), ["n1", "n2", "n3"]);
    assert.equal(quorum.size, 3);
  } finally {
    for (const it of started) {
      it.kill("SIGKILL");
      await it.ended;
    }
  }
}
