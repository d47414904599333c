/**
 * Restarts nodes one after another, each only while the cluster can do without it.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { pause } from "../../src/core/async/wait.ts";
import { StoreError } from "../../src/core/errors.ts";
import type { ClusterStatus } from "../../src/core/operations.ts";
import { Bucket } from "../../src/jetstream/log/bucket.ts";
import { readMarker } from "../../src/jetstream/log/marker.ts";
import { findStream } from "../../src/jetstream/log/wire.ts";
import { type NodeState, restartNode, type RestartWay, stateOf } from "./restarts.ts";
import { fullStatus } from "./status.ts";

/** Interval of the looks while it waits, in milliseconds. */
const INTERVAL_MS = 500;

/** How long the leader of the bucket may take to say what is there, milliseconds. */
const LOOK_MS = 5_000;

/** The cluster. */
export interface Cluster {
  /** Reads how it is. */
  status(): Promise<Pick<ClusterStatus, "nodes" | "buckets" | "problems" | "quorum" | "healthy">>;
  /** Reads how a node is; `null` if it does not answer. */
  state(node: string): Promise<NodeState | null>;
  /** Tells a node to restart. */
  restart(node: string, exit: boolean): Promise<{ way: RestartWay }>;
}

/**
 * Returns the cluster of a bucket.
 *
 * @param service A connection to the control plane's account
 * @param system A connection to the system account
 */
export function clusterOf(
  service: NatsConnection,
  system: NatsConnection,
  { bucket, signal }: { bucket: string; signal: AbortSignal },
): Cluster {
  return {
    status: () => fullStatus(service, system, bucket, signal),
    state: (node) => stateOf(service, node),
    restart: (node, exit) => restartNode(service, node, exit),
  };
}

/** Options of {@link restartNodes}. */
export interface RestartOptions {
  /** Restart only this node. Default: all, that of the bucket's leader last. */
  only?: string;
  /** Let the servers exit, for their service manager to start them again. */
  exit: boolean;
  /** How long to wait for a cluster that is whole, milliseconds; each time. */
  wait: number;
  /** Called with what it waits for and what it does. */
  onProgress: (text: string) => void;
  signal: AbortSignal;
}

/** A node that was restarted. */
export interface Restarted {
  node: string;
  /** How its server restarted. */
  way: RestartWay;
  /** Milliseconds until the cluster was whole again. */
  took: number;
}

/** How the whole cluster is. */
interface Look {
  status: Awaited<ReturnType<Cluster["status"]>>;
  states: Map<string, NodeState>;
  /** Why no node may be restarted now. */
  problems: string[];
}

/**
 * Restarts nodes one after another. Before the first one and after each, it waits until every copy is
 * current, every node is ready, and the second copies of all nodes are equal where their positions are.
 *
 * @throws {StoreError} `unavailable`: the cluster is not whole in time; `not_found`: no such node;
 * `refused`: the cluster has no control plane; `mismatch`: the second copies differ
 */
export async function restartNodes(
  cluster: Cluster,
  { only, exit, wait, onProgress, signal }: RestartOptions,
): Promise<Restarted[]> {
  const whole = (what: string, run?: { node: string; before: string }) =>
    whenWhole(cluster, { what, wait, onProgress, signal, ...run && { run } });
  let look = await whole("Nothing was restarted");
  const names = look.status.nodes.map((it) => it.name);
  if (only !== undefined && !names.includes(only)) {
    throw new StoreError(
      "not_found",
      `No node ${only} in the cluster; its nodes are ${names.join(", ")}`,
    );
  }
  const done: Restarted[] = [];
  for (const node of only === undefined ? ordered(look.status) : [only]) {
    const began = performance.now();
    const before = look.states.get(node)!.run;
    const { way } = await cluster.restart(node, exit);
    onProgress(`${node}: restarting, ${way}`);
    look = await whole(`${node} was told to restart`, { node, before });
    const took = Math.round(performance.now() - began);
    onProgress(`${node}: restarted, and the cluster is whole after ${(took / 1000).toFixed(1)} s`);
    done.push({ node, way, took });
  }
  return done;
}

/** Returns the nodes, the leader of the control plane last: so it changes once. */
function ordered({ nodes, buckets }: Look["status"]): string[] {
  const leader = buckets.find((it) => it.holds === "control plane")?.leader;
  const names = nodes.map((it) => it.name).sort();
  return [...names.filter((it) => it !== leader), ...names.filter((it) => it === leader)];
}

interface WaitOptions extends Pick<RestartOptions, "wait" | "onProgress" | "signal"> {
  /** What was done so far, for the error. */
  what: string;
  /** A node whose server must have begun another run than `before`. */
  run?: { node: string; before: string };
}

async function whenWhole(cluster: Cluster, options: WaitOptions): Promise<Look> {
  const { what, wait, run, onProgress, signal } = options;
  const deadline = performance.now() + wait;
  const compared = new Compared();
  let told = "";
  for (;;) {
    const look = await lookAt(cluster, compared);
    refuseWithout(look.status, what);
    if (run !== undefined && look.states.get(run.node)?.run === run.before) {
      look.problems.unshift(`${run.node} has not stopped yet`);
    }
    if (look.problems.length === 0) return look;
    const [first = ""] = look.problems;
    if (performance.now() > deadline) {
      throw new StoreError(
        "unavailable",
        `${what}; the cluster is not whole after ${wait / 1000} s: ${look.problems.join("; ")}`,
        { hint: "run membershipd cluster status, fix what it says, and run the command again" },
      );
    }
    if (first !== told) onProgress(`waiting: ${first}`);
    told = first;
    await pause(INTERVAL_MS, signal);
  }
}

/**
 * Refuses nodes that wait because no control plane is in their bucket, or not all of one: they are not
 * ready before one has come.
 *
 * @throws {StoreError} `refused`: they serve nothing; `unavailable`: no leader answers
 */
export async function refuseWaiting(service: NatsConnection, bucket: string): Promise<void> {
  const deadline = Date.now() + LOOK_MS;
  if (await findStream(service, `KV_${bucket}`, deadline) === null) return;
  const { marker } = await readMarker(new Bucket(service, bucket), deadline);
  if (marker?.state !== "in_progress") return;
  const { moved, calledOff } = marker;
  const why = moved !== undefined
    ? `the control plane moved to ${moved.node}`
    : calledOff !== undefined
    ? "the move into them was called off"
    : "the control plane is being copied into them";
  throw new StoreError("refused", `Nothing was restarted: the nodes serve nothing, ${why}`, {
    hint:
      "restart membershipd of a node that waits on its own machine; others need not wait for it",
  });
}

/** Waiting does not help where a majority answers that there is no control plane. */
function refuseWithout({ quorum, buckets }: Look["status"], what: string): void {
  if (quorum?.ok !== true || buckets.some((it) => it.holds === "control plane")) return;
  throw new StoreError("refused", `${what}: these nats-servers have no control plane`, {
    hint:
      "restart a server that serves from its file on its machine; see membershipd cluster status",
  });
}

async function lookAt(cluster: Cluster, compared: Compared): Promise<Look> {
  const status = await cluster.status();
  const names = status.nodes.map((it) => it.name);
  const states = new Map<string, NodeState>();
  const problems = [...status.problems];
  const found = await Promise.all(names.map((it) => cluster.state(it)));
  for (const [i, name] of names.entries()) {
    const state = found[i] ?? null;
    if (state === null) {
      problems.push(`membershipd does not answer on ${name}; start it, or upgrade it`);
    } else {
      states.set(name, state);
      if (!state.ready) problems.push(`${name} is not ready: ${state.failing.join(", ")}`);
    }
  }
  if (!status.healthy && problems.length === 0) problems.push("the cluster is not healthy");
  compared.add(states);
  return { status, states, problems: [...problems, ...compared.open(states)] };
}

/** Digests of the second copies, of several looks: copies are rarely at one position at once. */
export class Compared {
  readonly #seen = new Map<string, Map<string, string>>();
  readonly #equal = new Set<string>();

  /**
   * Adds what was seen.
   *
   * @throws {StoreError} `mismatch`: copies differ
   */
  add(states: ReadonlyMap<string, NodeState>): void {
    for (const [name, { digests }] of states) {
      for (const [position, digest] of Object.entries(digests)) {
        const at = this.#seen.get(position) ?? new Map<string, string>();
        this.#seen.set(position, at.set(name, digest));
      }
    }
    for (const [position, at] of this.#seen) {
      if (new Set(at.values()).size > 1) {
        const which = [...at].map(([name, digest]) => `${name} ${digest.slice(0, 12)}`).join(", ");
        throw new StoreError(
          "mismatch",
          `No further node is restarted: the second copies differ at position ${position}: ${which}`,
          { hint: "run membershipd verify on each node to see what differs" },
        );
      }
      if (at.size > 1) { for (const name of at.keys()) this.#equal.add(name); }
    }
  }

  /** Returns why the copies do not count as equal. */
  open(states: ReadonlyMap<string, NodeState>): string[] {
    const following = [...states].filter(([, it]) => it.follows).map(([name]) => name);
    const open = following.filter((it) => !this.#equal.has(it));
    return following.length < 2 || open.length === 0
      ? []
      : [`the second copies were not seen at one position yet: ${open.join(", ")}`];
  }
}
