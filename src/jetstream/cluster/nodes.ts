/**
 * Queries the nodes of a cluster in the system account, and removes nodes.
 *
 * @module
 */

import { createInbox, type NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import { retry, Transient } from "../log/wire.ts";
import type { ClusterNode } from "../../core/operations.ts";

/** The nodes of a cluster. */
export interface Nodes {
  /** The cluster's name; null for a standalone server. */
  cluster: string | null;
  /** The leader. */
  leader: string | null;
  /** Number of nodes, reachable or not. */
  size: number;
  /** Number of nodes required for a quorum. */
  needed: number;
  /** All of them, by name. */
  nodes: ClusterNode[];
}

/** The parts of a server's `JSZ` answer that are used. */
export interface Answer {
  server: { name: string; ver: string };
  data: {
    disabled?: boolean;
    config?: { sync_always?: boolean };
    meta_cluster?: {
      name?: string;
      leader?: string;
      cluster_size?: number;
      quorum_needed?: number;
      replicas?: { name: string; peer?: string; current?: boolean; offline?: boolean }[];
    };
  };
}

type View = NonNullable<Answer["data"]["meta_cluster"]>;

/** Timeout for the nodes' answers in milliseconds. */
const PATIENCE_MS = 2_000;
/** Time in milliseconds to wait for more answers when all known nodes have answered. */
const REST_MS = 150;

/**
 * Queries all nodes.
 *
 * @throws {StoreError} unavailable: no node answers
 */
export async function askNodes(system: NatsConnection): Promise<Nodes> {
  const answers = await ping(system);
  if (answers.length === 0) {
    throw new StoreError("unavailable", "No node answers in the system account");
  }
  return nodesIn(answers);
}

/** Returns the nodes that the answers of one or more of them name. */
export function nodesIn(answers: readonly Answer[]): Nodes {
  const views = answers.map((it) => it.data.meta_cluster).filter((it) => it !== undefined);
  nameUnknown(views);
  const leaderName = views.find((it) => it.leader)?.leader ?? null;
  // Only the leader has information about all others.
  const leader = answers.find((it) => it.server.name === leaderName)?.data.meta_cluster;
  const names = new Set([
    ...answers.filter((it) => it.data.disabled !== true).map((it) => it.server.name),
    ...members(views),
  ]);
  const nodes = [...names].sort().map((name): ClusterNode => {
    const answer = answers.find((it) => it.server.name === name);
    const seen = leader?.replicas?.find((it) => it.name === name);
    return {
      name,
      version: answer?.server.ver ?? null,
      reachable: answer !== undefined,
      leads: views.length > 0 && name === leaderName,
      current: name === leaderName ? true : seen?.current ?? null,
      syncs: answer === undefined ? null : answer.data.config?.sync_always === true,
    };
  });
  const size = Math.max(1, leader?.cluster_size ?? views[0]?.cluster_size ?? nodes.length);
  return {
    cluster: views[0]?.name ?? null,
    leader: views.length === 0 ? null : leaderName,
    size,
    needed: leader?.quorum_needed ?? views[0]?.quorum_needed ?? Math.floor(size / 2) + 1,
    nodes,
  };
}

/** A server that has not met another one since its start says so in place of the name. */
const UNKNOWN = /^Server name unknown/;

/** Gives members that a server does not know the names that other servers know. */
function nameUnknown(views: readonly View[]): void {
  const all = views.flatMap((it) => it.replicas ?? []);
  const known = all.filter((it) => !UNKNOWN.test(it.name));
  for (const it of all) {
    if (!UNKNOWN.test(it.name)) continue;
    it.name = known.find(({ peer }) => peer !== undefined && peer === it.peer)?.name ?? it.name;
  }
}

function members(views: readonly View[]): string[] {
  return views.flatMap((it) => it.replicas?.map(({ name }) => name) ?? []);
}

/** Reports whether all members named in any answer have answered or are known to be offline. */
function isComplete(answers: readonly Answer[]): boolean {
  const views = answers.map((it) => it.data.meta_cluster).filter((it) => it !== undefined);
  const known = new Set(answers.map((it) => it.server.name));
  for (const { replicas = [] } of views) {
    for (const { name, offline } of replicas) if (offline) known.add(name);
  }
  return answers.length > 0 && members(views).every((it) => known.has(it));
}

async function ping(system: NatsConnection): Promise<Answer[]> {
  const answers: Answer[] = [];
  const { promise: complete, resolve } = Promise.withResolvers<void>();
  let rest: ReturnType<typeof setTimeout> | undefined;
  const inbox = createInbox();
  const sub = system.subscribe(inbox, {
    callback: (error, msg) => {
      if (error) return resolve();
      answers.push(msg.json<Answer>());
      clearTimeout(rest);
      if (isComplete(answers)) rest = setTimeout(resolve, REST_MS);
    },
  });
  const timer = setTimeout(resolve, PATIENCE_MS);
  try {
    system.publish("$SYS.REQ.SERVER.PING.JSZ", "{}", { reply: inbox });
    await complete;
    return answers;
  } finally {
    clearTimeout(timer);
    clearTimeout(rest);
    if (!system.isClosed()) sub.unsubscribe();
  }
}

/** Error code: another change of the members is in progress. */
const CHANGE_IN_PROGRESS = 10202;
const NO_MEMBER = 10044;

/** Removes a node from the cluster permanently: its copies are recreated on other nodes. */
export function removeNode(
  system: NatsConnection,
  name: string,
  deadline: number,
  signal: AbortSignal,
): Promise<void> {
  const what = `Removing ${name}`;
  return retry(what, deadline, async () => {
    const body = JSON.stringify({ peer: name });
    const timeout = { timeout: 3_000 };
    const answer = await system.request("$JS.API.SERVER.REMOVE", body, timeout)
      .catch((cause) => {
        throw new Transient("the cluster's leader does not answer", { cause });
      });
    const { error } = answer.json<{ error?: { err_code: number; description: string } }>();
    if (error === undefined) return;
    if (error.err_code === CHANGE_IN_PROGRESS) throw new Transient(error.description);
    const code = error.err_code === NO_MEMBER ? "not_found" : "unavailable";
    throw new StoreError(code, `${what}: ${error.description}`, { cause: error });
  }, signal);
}
