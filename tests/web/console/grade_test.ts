/**
 * How the console grades a server: from what it reports, and from not being able to ask it.
 */

import assert from "node:assert/strict";
import type { BucketStatus, ClusterStatus, ServerStatus } from "@unibus/membership/client";
import { Failure } from "../../../src/web/console/data/failure.ts";
import { gradeOf } from "../../../src/web/console/data/grade.ts";
import { linesOf } from "../../../src/web/console/overview/cluster_map.tsx";

const WELL: ServerStatus = {
  version: "0.2.0",
  busAuth: "enforce",
  startedAt: "2026-11-22T08:00:00.000Z",
  backend: "sqlite",
  search: true,
  ok: true,
  checks: [{ name: "writable", ok: true, detail: "/a.db is writable" }],
  follower: null,
  cluster: null,
  journey: null,
};

/** A cluster of three of which so many are reachable. */
function clusterOf(reachable: number, problems: string[] = []): ClusterStatus {
  const nodes = ["n1", "n2", "n3"].map((name, i) => ({
    name,
    version: i < reachable ? "2.15.1" : null,
    reachable: i < reachable,
    leads: i === 0,
    current: i < reachable,
    syncs: true,
  }));
  const control: BucketStatus = {
    bucket: "UNIBUS",
    holds: "control plane",
    replicas: reachable < 2 ? null : 3,
    leader: reachable < 2 ? null : "n1",
    whole: reachable === 3,
    copies: [],
    messages: 7,
    bytes: 70,
  };
  return {
    cluster: "bus",
    healthy: problems.length === 0,
    quorum: { ok: reachable >= 2, size: 3, reachable, needed: 2 },
    nodes,
    buckets: [control],
    problems,
  };
}

function graded(more: Partial<ServerStatus>, failure: Failure | null = null) {
  const found = gradeOf({ ...WELL, ...more }, failure)!;
  return { ...found, texts: found.problems.map((it) => it.text).join("\n") };
}

const failing = (name: string) => [{ name, ok: false, detail: "No answer" }];

Deno.test("a server is well, degraded while requests are served, and down when they are not", () => {
  for (
    const [what, more, grade] of [
      ["nothing is wrong", {}, "well"],
      ["a check fails on the only server", { ok: false, checks: failing("writable") }, "down"],
      ["a check fails on a lone nats-server", {
        ok: false,
        checks: failing("nats"),
        cluster: { ...clusterOf(3), quorum: { ok: true, size: 1, reachable: 1, needed: 1 } },
      }, "down"],
      ["a check is degraded", {
        checks: [{ name: "follower", ok: true, degraded: true, detail: "An invalid record" }],
      }, "degraded"],
      ["three nodes", { cluster: clusterOf(3) }, "well"],
      [
        "one of three is away",
        { cluster: clusterOf(2, ["n3 is not reachable; start it"]) },
        "degraded",
      ],
      ["two of three are away", {
        ok: false,
        cluster: clusterOf(1, ["No quorum: 1 of 3 nodes are reachable, 2 are required"]),
      }, "down"],
      ["a check fails while a quorum serves", {
        ok: false,
        checks: failing("callout"),
        cluster: clusterOf(3),
      }, "degraded"],
      [
        "a server of a cluster says no without a reason",
        { ok: false, cluster: clusterOf(3) },
        "degraded",
      ],
      ["the bucket has no leader", {
        cluster: { ...clusterOf(3), buckets: clusterOf(1).buckets },
      }, "down"],
      ["the second copy has an alarm", {
        cluster: clusterOf(3),
        follower: { ...FOLLOWER, alarm: "The stream went back; run repair" },
      }, "down"],
      ["the second copy has stopped", {
        cluster: clusterOf(3),
        follower: { ...FOLLOWER, failure: "disk full" },
      }, "degraded"],
    ] as [string, Partial<ServerStatus>, string][]
  ) assert.equal(graded(more).grade, grade, what);
  assert.equal(gradeOf(null, null), null);
});

const FOLLOWER: NonNullable<ServerStatus["follower"]> = {
  role: "apply",
  position: 7,
  lag: 0,
  exact: true,
  digest: "00",
  entries: 7,
  quarantined: 0,
  updatedAt: null,
  alarm: null,
  degraded: null,
  failure: null,
};

Deno.test("each problem has a sentence that helps, and the whole says what is missing", () => {
  const one = graded({ cluster: clusterOf(2, ["n3 is not reachable; start it, or replace it"]) });
  assert.deepEqual(one.problems, [{
    text: "n3 is not reachable",
    help: "Start it, or replace it.",
  }]);
  assert.equal(one.meaning, "Requests are served.");
  const two = graded({ ok: false, cluster: clusterOf(1) });
  assert.equal(
    two.meaning,
    "Requests fail. Start 1 more node of n2, n3: 2 of 3 are needed.",
  );
  const electing = clusterOf(3);
  electing.quorum!.ok = false;
  assert.match(graded({ cluster: electing }).meaning, /electing a leader/);
  const disk = graded({ ok: false, checks: failing("writable") });
  assert.deepEqual(disk.problems.map((it) => it.text), ["writable: No answer"]);
  assert.match(disk.problems[0]!.help!, /free disk space/);
  assert.match(graded({ ok: false, checks: failing("new") }).problems[0]!.help!, /log/);
  const silent = graded({ ok: false, cluster: clusterOf(3) });
  assert.deepEqual(silent.problems.map((it) => it.text), ["A check failed"]);
  assert.match(silent.meaning, /this server does not accept all/);
  // What fails comes before what is only degraded.
  const both = graded({
    ok: false,
    checks: [{ name: "b", ok: true, degraded: true, detail: "x" }, ...failing("a")],
  });
  assert.deepEqual(both.problems.map((it) => it.text), ["a: No answer", "b: x"]);
});

Deno.test("a server that cannot be asked is down, and the nodes that were away are named", () => {
  const silent = new Failure("unreachable", "no response");
  assert.equal(gradeOf(null, silent)!.grade, "down");
  assert.match(gradeOf(null, silent)!.problems[0]!.help!, /membershipd runs/);
  const shut = new Failure("problem", "x", { code: "unavailable" });
  const { problems } = gradeOf({ ...WELL, cluster: clusterOf(2) }, shut)!;
  assert.equal(problems[0]!.help, "Start n3: a majority of the nodes must run.");
  const helpFor = (backend: ServerStatus["backend"]) =>
    gradeOf({ ...WELL, backend }, shut)!.problems[0]!.help!;
  assert.match(helpFor("jetstream"), /a majority must run/);
  assert.match(helpFor("sqlite"), /free disk space/);
  // One question too many is no failure of the server.
  const busy = new Failure("problem", "x", { code: "rate_limited" });
  assert.equal(gradeOf(WELL, busy)!.grade, "degraded");
  assert.equal(gradeOf(null, busy), null);
  const alarm = new Failure("problem", "x", { code: "corrupt", detail: "The stream went back" });
  assert.match(gradeOf(null, alarm)!.problems[0]!.text, /The stream went back/);
});

Deno.test("the picture of a node tells each copy as it is", () => {
  const copy = { node: "n1", leads: false, current: true, reachable: true, lag: 0 };
  const bucket = (more: object): BucketStatus[] => [
    { ...clusterOf(3).buckets[0]!, copies: [{ ...copy, ...more }] },
  ];
  const node = { ...clusterOf(3).nodes[0]!, follower: { ...FOLLOWER } };
  const told = (more: object, also: object = {}) =>
    linesOf({ ...node, ...also }, bucket(more)).map((it) => `${it.name} ${it.tone} ${it.value}`);
  const exact = "second copy good exact";
  assert.deepEqual(told({}), ["control plane good current", exact]);
  assert.deepEqual(told({ leads: true }), ["control plane good leader", exact]);
  assert.deepEqual(told({ lag: 1200 }), ["control plane good 1,200 behind", exact]);
  assert.deepEqual(told({ current: false }), ["control plane warn catching up", exact]);
  assert.deepEqual(told({ reachable: false }), ["control plane bad missing", exact]);
  assert.deepEqual(told({ node: "n2" }), [exact]);
  const follower = (more: object) => told({ node: "n2" }, { follower: { ...FOLLOWER, ...more } });
  assert.deepEqual(follower({ alarm: "x" }), ["second copy bad alarm"]);
  assert.deepEqual(follower({ degraded: "x" }), ["second copy warn degraded"]);
  assert.deepEqual(follower({ lag: 3 }), ["second copy good 3 behind"]);
  assert.deepEqual(follower({ exact: false }), ["second copy warn not exact yet"]);
  assert.deepEqual(told({ node: "n2" }, { follower: null }), []);
});
