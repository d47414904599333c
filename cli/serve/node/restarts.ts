/**
 * Answers requests to this node: how it is, and to restart.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import type { Msg, NatsConnection, Subscription } from "@nats-io/transport-node";
import type { Follower } from "../../../src/follower/types.ts";
import type { Readiness } from "../../../src/client/types.ts";
import { watchStatus } from "../../../src/nats/connection/watch.ts";
import {
  type NodeRequest,
  type NodeState,
  type Restart,
  type Restarting,
  subjectOf,
} from "../../cluster/restarts.ts";

/** How long the second copy is looked at for an answer, and how often, in milliseconds. */
const LOOK_MS = 500;
const INTERVAL_MS = 10;

/** What is asked of a server. */
export interface Serving {
  /** The second copy of the bucket; null where none is kept. */
  follower: Follower | null;
  /** Why it serves nothing yet; null if it does not wait. */
  waiting: string | null;
  /** Returns what `/readyz` answers; missing while nothing is served. */
  ready?: () => Promise<Readiness>;
}

/**
 * Answers until the connection is closed.
 *
 * @param node Returns this node's present name
 */
export function answerRequests(
  connection: NatsConnection,
  node: () => string | null,
  current: () => Serving,
  restart: Restart,
): void {
  const run = crypto.randomUUID();
  const answer = async (request: NodeRequest): Promise<NodeState | Restarting> =>
    request.op === "restart"
      ? { way: restart(request.exit) }
      : { run, ...await readinessOf(current()), ...await copyOf(current()) };
  const callback = (error: Error | null, message: Msg) => {
    if (error) return;
    // Who gets no answer reports it.
    answer(message.json<NodeRequest>())
      .then((found) => message.respond(JSON.stringify(found)))
      .catch(() => {});
  };
  let name: string | null = null;
  let requests: Subscription | null = null;
  const listen = () => {
    if (node() === name) return;
    requests?.unsubscribe();
    name = node();
    requests = name === null ? null : connection.subscribe(subjectOf(name), { callback });
  };
  listen();
  // Its nats-server has another name after it has entered the cluster or left it.
  watchStatus(connection, (type) => {
    if (type === "reconnect") listen();
  });
}

async function readinessOf(
  { ready, waiting }: Serving,
): Promise<Pick<NodeState, "ready" | "failing">> {
  if (ready === undefined) return { ready: false, failing: [waiting ?? "it serves nothing"] };
  const { ok, checks } = await ready();
  const failing = checks.filter((it) => !it.ok).map(({ name, detail }) => `${name}: ${detail}`);
  return { ready: ok, failing };
}

/** Nodes apply changes at different moments: only equal positions can be compared. */
async function copyOf({ follower }: Serving): Promise<Pick<NodeState, "follows" | "digests">> {
  const digests: Record<string, string> = {};
  if (follower === null) return { follows: false, digests };
  for (let i = 0; i < LOOK_MS / INTERVAL_MS; i++) {
    const { exact, position, digest } = follower.state();
    if (exact) digests[position] = digest;
    await delay(INTERVAL_MS);
  }
  return { follows: true, digests };
}
