/**
 * The nodes of a control plane, by what their `membershipd`s say of themselves.
 *
 * @module
 */

import { createInbox, type NatsConnection } from "@nats-io/transport-node";
import { pause } from "../../src/core/async/wait.ts";
import type { ControlPlaneNode } from "../../src/core/operations.ts";
import { SESSION_MS } from "../../src/keys/codec/session.ts";
import { type Presence, SUBJECT } from "./presence.ts";

/** Interval between two questions, milliseconds. */
const INTERVAL_MS = 5_000;
/** How long a node that no longer answers stays in the list, milliseconds: it may be restarting. */
const KEPT_MS = 10 * 60_000;
/** Time for the answers to a question that a decision waits for, milliseconds. */
const SOON_MS = 250;

/** What a node says of itself to be listed. */
export type Announced = Pick<
  Presence,
  "node" | "bucket" | "keys" | "urls" | "busUrls" | "wsUrls" | "sessions"
>;

/** A list of nodes that is kept current. */
export interface NodeList {
  /** Returns the nodes by name: the same array until something has changed. */
  list(): readonly ControlPlaneNode[];
  /**
   * Returns whether an authority is one of the nodes', and asks them if it is not known. One that was
   * stays known for as long as a certificate of a session may be valid.
   */
  isAudience(authority: string): Promise<boolean>;
  /** Ends the questions. */
  stop(): void;
}

/** Asks the nodes with this node's bucket and keys who they are, again and again. */
export function watchNodes(connection: NatsConnection, own: () => Announced): NodeList {
  const seen = new Map<string, { node: ControlPlaneNode; at: number }>();
  /** When each authority was said last. */
  const audiences = new Map<string, number>();
  let list: readonly ControlPlaneNode[] = [];
  let ownName: string | null = null;
  const note = () => {
    const self = own();
    ownName = self.node;
    // Sorted, so that every node answers the same.
    const now = [listed(self), ...seen.values().map(({ node }) => node)]
      .sort((a, b) => keyOf(a) < keyOf(b) ? -1 : 1);
    if (JSON.stringify(now) !== JSON.stringify(list)) list = now;
  };
  const admit = ({ sessions = [] }: Announced, at: number) => {
    for (const authority of sessions) {
      audiences.set(authority, Math.max(at, audiences.get(authority) ?? at));
    }
  };
  const add = (said: Announced) => {
    const node = listed(said);
    const at = performance.now();
    seen.set(keyOf(node), { node, at });
    admit(said, at);
    note();
  };
  admit(own(), Infinity);
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
  const publish = () => {
    if (!connection.isClosed()) connection.publish(SUBJECT, "", { reply: inbox });
  };
  let asking: Promise<void> | null = null;
  let askedAt = performance.now();
  const ask = () => {
    const now = performance.now();
    for (const [key, { node, at }] of seen) {
      if (at < now - KEPT_MS) seen.delete(key);
      else if (at < askedAt) seen.set(key, { node: { ...node, answers: false }, at });
    }
    for (const [authority, at] of audiences) {
      if (at < now - SESSION_MS) audiences.delete(authority);
    }
    note();
    askedAt = now;
    publish();
  };
  ask();
  const timer = setInterval(ask, INTERVAL_MS);
  return {
    list: () => {
      // It gets another name when it grows or shrinks.
      if (own().node !== ownName) note();
      return list;
    },
    async isAudience(authority) {
      if (!audiences.has(authority)) {
        if (asking === null) publish();
        asking ??= pause(SOON_MS).finally(() => asking = null);
        await asking;
      }
      return audiences.has(authority);
    },
    stop() {
      clearInterval(timer);
      if (!connection.isClosed()) sub.unsubscribe();
    },
  };
}

function listed(
  { node: name, urls = [], busUrls = [], wsUrls = [], sessions }: Announced,
): ControlPlaneNode {
  return {
    name,
    urls: [...urls],
    busUrls: [...busUrls],
    wsUrls: [...wsUrls],
    sessions: sessions !== undefined,
    answers: true,
  };
}

/** What distinguishes a node from the others. */
function keyOf({ name, urls }: ControlPlaneNode): string {
  return name ?? urls.join();
}
