/** Restarting the nodes of a cluster one after another, and when their second copies count as equal. */

import assert from "node:assert/strict";
import {
  type Cluster,
  Compared,
  refuseWaiting,
  restartNodes,
} from "../../../cli/cluster/rolling.ts";
import type { NodeState } from "../../../cli/cluster/restarts.ts";
import { connect } from "@nats-io/transport-node";
import { type Marker, readMarker, writeMarker } from "../../../src/jetstream/log/marker.ts";
import { openBucket } from "../../../src/jetstream/mod.ts";
import { testServer } from "../../helpers/nats.ts";
import { failsWith } from "../../helpers/sqlite.ts";

function statesOf(digests: Record<string, Record<string, string> | null>): Map<string, NodeState> {
  return new Map(
    Object.entries(digests).map(([name, it]) => [name, {
      run: name,
      ready: true,
      failing: [],
      follows: it !== null,
      digests: it ?? {},
    }]),
  );
}

/** Three nodes, of which n1 leads the control plane. What is wrong after a restart heals look by look. */
class Nodes implements Cluster {
  /** What was restarted, with how many nodes were not well at that moment. */
  readonly restarts: [node: string, exit: boolean, unwell: number][] = [];
  readonly states = statesOf({ n1: { 5: "a" }, n2: { 5: "a" }, n3: { 5: "a" } });
  healthy = true;
  hasPlane = true;
  /** Whether a majority of the nodes answers. */
  isDecided = true;
  problems: string[] = [];
  /** Each is made by one look after the other. */
  after: ((node: string) => void)[] = [];
  #next: (() => void)[] = [];

  status() {
    this.#next.shift()?.();
    const nodes = [...this.states.keys()].map((name) => ({ name }));
    const buckets = [
      { holds: "blobs", leader: "n3" },
      { holds: "control plane", leader: "n1" },
    ];
    const { healthy, hasPlane, isDecided } = this;
    const it = {
      nodes,
      buckets: hasPlane ? buckets : buckets.slice(0, 1),
      problems: [...this.problems],
      quorum: { ok: isDecided },
      healthy: healthy && hasPlane,
    };
    return Promise.resolve(it as unknown as Awaited<ReturnType<Cluster["status"]>>);
  }

  /** Nodes that do not answer. */
  readonly gone = new Set<string>();

  state(node: string) {
    const it = this.states.get(node);
    return Promise.resolve(it === undefined || this.gone.has(node) ? null : { ...it });
  }

  restart(node: string, exit: boolean) {
    const unwell = [...this.states.values()].filter((it) => !it.ready).length + this.gone.size +
      (this.healthy ? 0 : 1);
    this.restarts.push([node, exit, unwell]);
    const steps = this.after.length > 0 ? this.after : [(it: string) => this.begin(it)];
    this.#next = steps.map((step) => () => step(node));
    return Promise.resolve({ way: exit ? "exit" as const : "in place" as const });
  }

  /** The server of a node begins another run. */
  begin(node: string, more: Partial<NodeState> = {}): void {
    const it = this.states.get(node)!;
    this.states.set(node, { ...it, run: `${it.run}+`, ready: true, ...more });
  }
}

async function restartAll(
  nodes: Nodes,
  more: { only?: string; exit?: boolean; wait?: number } = {},
): Promise<{ done: string[]; told: string[] }> {
  const told: string[] = [];
  const done = await restartNodes(nodes, {
    exit: false,
    wait: 60_000,
    signal: new AbortController().signal,
    onProgress: (text) => void told.push(text),
    ...more,
  });
  return { done: done.map(({ node, way }) => `${node} ${way}`), told };
}

Deno.test("nodes are restarted one after another, that of the control plane's leader last", async () => {
  const nodes = new Nodes();
  assert.deepEqual((await restartAll(nodes)).done, ["n2 in place", "n3 in place", "n1 in place"]);
  assert.deepEqual(nodes.restarts, [["n2", false, 0], ["n3", false, 0], ["n1", false, 0]]);
  const one = new Nodes();
  assert.deepEqual((await restartAll(one, { only: "n3", exit: true })).done, ["n3 exit"]);
  assert.deepEqual(one.restarts, [["n3", true, 0]]);
  await failsWith("not_found", () => restartAll(one, { only: "n4" }), /its nodes are n1, n2, n3/);
  assert.equal(one.restarts.length, 1);
});

Deno.test("the next node waits until the one before is another run, answers, is ready, and the cluster is healthy", async () => {
  const nodes = new Nodes();
  nodes.after = [
    () => {},
    // What it waits for is told once.
    () => {},
    (it) => nodes.gone.add(it),
    (it) => {
      nodes.gone.delete(it);
      nodes.begin(it, { ready: false, failing: ["store: opening"] });
      nodes.healthy = false;
    },
    (it) => void (nodes.states.get(it)!.ready = true),
    () => void (nodes.healthy = true),
  ];
  const { told } = await restartAll(nodes);
  assert.deepEqual(nodes.restarts.map(([name, , unwell]) => [name, unwell]), [
    ["n2", 0],
    ["n3", 0],
    ["n1", 0],
  ]);
  assert.deepEqual(told.slice(0, 5), [
    "n2: restarting, in place",
    "waiting: n2 has not stopped yet",
    "waiting: membershipd does not answer on n2; start it, or upgrade it",
    "waiting: n2 is not ready: store: opening",
    "waiting: the cluster is not healthy",
  ]);
});

Deno.test("no node is restarted while the cluster is not whole; the time for that is limited", async () => {
  const broken: [(nodes: Nodes) => unknown, RegExp][] = [
    [(it) => it.healthy = false, /Nothing was restarted; .* after 0\.5 s: the cluster is not heal/],
    [(it) => it.problems.push("KV_UNIBUS has no leader"), /after 0\.5 s: KV_UNIBUS has no leader$/],
    [(it) => it.gone.add("n2"), /membershipd does not answer on n2/],
    [(it) => it.begin("n2", { ready: false, failing: ["nats"] }), /n2 is not ready: nats/],
    [(it) => it.begin("n2", { digests: { 9: "a" } }), /not seen at one position yet: n2$/],
  ];
  for (const [breaking, expected] of broken) {
    const nodes = new Nodes();
    breaking(nodes);
    await failsWith("unavailable", () => restartAll(nodes, { wait: 500 }), expected);
    assert.deepEqual(nodes.restarts, []);
  }
  // Without a majority, that it is not found means nothing.
  const lost = Object.assign(new Nodes(), { hasPlane: false, isDecided: false });
  await failsWith(
    "unavailable",
    () => restartAll(lost, { wait: 500 }),
    /is not whole after 0\.5 s/,
  );
  const empty = Object.assign(new Nodes(), { hasPlane: false });
  await failsWith(
    "refused",
    () => restartAll(empty),
    /^Nothing was restarted: these nats-servers have no control plane$/,
  );
  assert.deepEqual(empty.restarts, []);
  const nodes = new Nodes();
  nodes.after = [(it) => nodes.gone.add(it)];
  await failsWith(
    "unavailable",
    () => restartAll(nodes, { wait: 500 }),
    /^n2 was told to restart; the cluster is not whole/,
  );
  assert.equal(nodes.restarts.length, 1);
  const differs = new Nodes();
  differs.after = [(it) => differs.begin(it, { digests: { 5: "x" } })];
  await failsWith("mismatch", () => restartAll(differs), /the second copies differ at position 5/);
  assert.equal(differs.restarts.length, 1);
});

Deno.test("copies count as equal once each was seen at a position of another with its digest", () => {
  const compared = new Compared();
  const first = statesOf({ n1: { 5: "a" }, n2: { 6: "b" }, n3: { 7: "c" } });
  compared.add(first);
  assert.deepEqual(compared.open(first), [
    "the second copies were not seen at one position yet: n1, n2, n3",
  ]);
  // Of several looks.
  const second = statesOf({ n1: { 6: "b" }, n2: { 8: "d" }, n3: {} });
  compared.add(second);
  assert.deepEqual(compared.open(second), [
    "the second copies were not seen at one position yet: n3",
  ]);
  const third = statesOf({ n1: {}, n2: {}, n3: { 8: "d" } });
  compared.add(third);
  assert.deepEqual(compared.open(third), []);
});

Deno.test("copies that differ at one position are a mismatch, and a single one has nothing to equal", () => {
  const compared = new Compared();
  const alone = statesOf({ n1: { 5: "a" }, n2: null });
  compared.add(alone);
  assert.deepEqual(compared.open(alone), []);
  assert.throws(() => compared.add(statesOf({ n2: { 5: "x" } })), {
    code: "mismatch",
    message: /differ at position 5: n1 a, n2 x/,
  });
});

Deno.test("nodes whose control plane has left, or is not there yet, are refused at once and not waited for", async () => {
  await using server = await testServer();
  await using connection = await connect({ servers: server.url });
  const refuse = () => refuseWaiting(connection, "UNIBUS");
  await refuse();
  const { bucket, end } = await openBucket({ connection });
  try {
    await refuse();
    const at = new Date().toISOString();
    const begun = { state: "in_progress", by: "journey", source: null, startedAt: at } as const;
    const mark = async (marker: Marker) => {
      const { revision } = await readMarker(bucket, Date.now() + 60_000);
      await writeMarker(bucket, marker, revision, Date.now() + 60_000);
    };
    for (
      const [marker, expected] of [
        [begun, /is being copied into them/],
        [{ ...begun, calledOff: at }, /was called off/],
        [{ ...begun, moved: { node: "n1", db: "/a.db", at } }, /serve nothing, .* moved to n1/],
      ] as const
    ) {
      await mark(marker as Marker);
      await failsWith("refused", refuse, expected);
    }
    await mark({ ...begun, state: "complete" });
    await refuse();
  } finally {
    await end();
  }
});
