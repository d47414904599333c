/**
 * The nodes of a control plane, by what their `membershipd`s say of themselves.
 *
 * @module
 */

import { createInbox, type NatsConnection } from "@nats-io/transport-node";
import type { ControlPlaneNode } from "../../src/core/operations.ts";
import { type Presence, SUBJECT } from "./presence.ts";

/** Interval between two questions, milliseconds. */
const INTERVAL_MS = 5_000;
/** How long a node that no longer answers stays in the list, milliseconds: it may be restarting. */
const KEPT_MS = 10 * 60_000;

/** What a node says of itself to be listed. */
export type Announced = Pick<Presence, "node" | "bucket" | "keys" | "urls" | "busUrls" | "wsUrls">;

/** A list of nodes that is kept current. */
export interface NodeList {
  /** Returns the nodes by name: the same array until something has changed. */
  list(): readonly ControlPlaneNode[];
  /** Ends the questions. */
  stop(): void;
}

/** Asks the nodes with this node's bucket and keys who they are, again and again. */
export function watchNodes(connection: NatsConnection, own: () => Announced): NodeList {
  const seen = new Map<string, { node: ControlPlaneNode; at: number }>();
  let list: readonly ControlPlaneNode[] = [];
  const note = () => {
    // Sorted, so that every node answers the same.
    const now = [...seen].sort(([a], [b]) => a < b ? -1 : 1).map(([, { node }]) => node);
    if (JSON.stringify(now) !== JSON.stringify(list)) list = now;
  };
  const add = (it: Announced, at = performance.now()) => {
    const { node: name, urls = [], busUrls = [], wsUrls = [] } = it;
    const node = {
      name,
      urls: [...urls],
      busUrls: [...busUrls],
      wsUrls: [...wsUrls],
      answers: true,
    };
    seen.set(name ?? urls.join(), { node, at });
    note();
  };
  add(own(), Infinity);
  const inbox = createInbox();
  const sub = connection.subscribe(inbox, {
    callback: (error, message) => {
      // An empty message means that there are no subscribers.
      if (error || message.data.length === 0) return;
      const it = message.json<Presence>();
      const { node, bucket, keys } = own();
      const isOther = it.bucket !== null && it.node !== node;
      if (isOther && it.bucket === bucket && it.keys === keys) add(it);
    },
  });
  let askedAt = performance.now();
  const ask = () => {
    const now = performance.now();
    for (const [key, { node, at }] of seen) {
      if (at < now - KEPT_MS) seen.delete(key);
      else if (at < askedAt) seen.set(key, { node: { ...node, answers: false }, at });
    }
    note();
    askedAt = now;
    if (!connection.isClosed()) connection.publish(SUBJECT, "", { reply: inbox });
  };
  ask();
  const timer = setInterval(ask, INTERVAL_MS);
  return {
    list: () => list,
    stop() {
      clearInterval(timer);
      if (!connection.isClosed()) sub.unsubscribe();
    },
  };
}
