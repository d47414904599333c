/**
 * Requests to one node: how it is, and to restart.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../src/core/errors.ts";

/** How a node is, in more detail than its presence. */
export interface NodeState {
  /** Identifies the run of its server: another after a restart. */
  run: string;
  /** Whether `/readyz` answers 200. */
  ready: boolean;
  /** Checks that failed, with their details. */
  failing: string[];
  /** Whether it keeps a second copy of the bucket. */
  follows: boolean;
  /** Digests of the second copy by position, while it was exact; of the last moments. */
  digests: Record<string, string>;
}

/** How a node restarts. */
export type RestartWay = "in place" | "exit";

/** Makes the server that runs restart, once the answer was sent. */
export type Restart = (exit: boolean) => RestartWay;

/** A request, as sent. */
export type NodeRequest = { op: "state" } | { op: "restart"; exit: boolean };

/** The answer to a request to restart. */
export interface Restarting {
  /** How it will restart. */
  way: RestartWay;
}

/** Subject of the requests to a node, in the control plane's account. */
export function subjectOf(node: string): string {
  return `unibus.membershipd.node.${Buffer.from(node).toString("base64url")}`;
}

/** Timeout of a request in milliseconds. */
const PATIENCE_MS = 5_000;

/** Returns how a node is; `null` if it does not answer. */
export async function stateOf(
  connection: NatsConnection,
  node: string,
): Promise<NodeState | null> {
  try {
    return await ask<NodeState>(connection, node, { op: "state" });
  } catch {
    return null;
  }
}

/** Tells a node to restart. */
export async function restartNode(
  connection: NatsConnection,
  node: string,
  exit: boolean,
): Promise<Restarting> {
  try {
    return await ask<Restarting>(connection, node, { op: "restart", exit });
  } catch (cause) {
    throw new StoreError("unavailable", `Restarting ${node}: it does not answer`, { cause });
  }
}

async function ask<T>(connection: NatsConnection, node: string, what: NodeRequest): Promise<T> {
  const answer = await connection.request(subjectOf(node), JSON.stringify(what), {
    timeout: PATIENCE_MS,
  });
  return answer.json<T>();
}
