/**
 * Checks that `membershipd` answers on each node, and with which keys: a running nats-server does
 * not tell whether its control plane runs.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { createInbox, type Msg, type NatsConnection } from "@nats-io/transport-node";
import type { FollowerHistoryStatus } from "../../src/core/operations.ts";
import type { ServiceKeys } from "../../src/nats/mod.ts";
import { VERSION } from "../version.ts";

/** Subject of the requests, in the control plane's account. */
export const SUBJECT = "unibus.membershipd.ping";

/** Timeout for all answers in milliseconds. */
const PATIENCE_MS = 1_500;

/** The answer of a `membershipd`. */
export interface Presence {
  /** The node that it manages; null if the nats-server is not its own. */
  node: string | null;
  /** Its version. */
  version: string;
  /** The bucket that it serves; null with `--nats-only` or `--store sqlite`. */
  bucket: string | null;
  /** Fingerprint of its public service keys; null without a service key file. */
  keys: string | null;
  /** The URLs of its HTTP server for clients; missing while it serves none. */
  urls?: readonly string[];
  /** The URLs of its NATS server for clients. */
  busUrls?: readonly string[];
  /** The URLs of its NATS server over WebSocket; missing in an earlier version. */
  wsUrls?: readonly string[];
  /**
   * The authorities of its HTTP server, which the certificates of sessions may name; missing if they are
   * unknown, and on older versions.
   */
  sessions?: readonly string[];
  /** Where its second copy of the bucket stands; null or missing where it keeps none. */
  follower?: FollowerPresence | null;
  /** ID of the plan in its node file; null or missing without one. */
  plan?: string | null;
  /** Why it serves nothing yet; null or missing if it is not waiting. */
  waiting?: string | null;
  /** Version of its nats-server. */
  nats?: string;
  /** Free disk space for its streams in bytes; null if the nats-server is not its own. */
  disk?: number | null;
  /** Its clock when it answered, in milliseconds since 1970. */
  time?: number;
  /** Its settings, if asked for them. */
  settings?: Readonly<Record<string, unknown>>;
}

/** A presence as received. */
export interface Answer extends Presence {
  /**
   * How far its clock is ahead of ours in milliseconds, give or take half the time of the answer; null
   * if it did not say its time.
   */
  skew: number | null;
}

/** A second copy of the bucket beside a node. */
export interface FollowerPresence {
  /** Sequence of the stream that it ends at. */
  position: number;
  /** Messages that it is behind; null if unknown. */
  lag: number | null;
  /** Whether it lacks nothing up to its position. */
  exact: boolean;
  /** Why the stream is not what it was; null if there is no such reason. */
  alarm: string | null;
  /** What is wrong although the stream is what it was; null or missing for nothing. */
  degraded?: string | null;
  /** The history in it; null or missing for none. */
  history?: FollowerHistoryStatus | null;
}

/**
 * Computes a fingerprint of service keys from the public keys only. Equal files have equal
 * fingerprints.
 */
export function fingerprint({ service, system, issuer }: ServiceKeys): string {
  const parts = [service, system, issuer].map((it) => it.publicKey);
  return createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 16);
}

/** The question for the settings as well. */
const WITH_SETTINGS = "settings";

/**
 * Answers requests for this process until the connection is closed.
 *
 * @param connection A connection in the control plane's account
 * @param current Returns what is so now, with the settings only if they are asked for
 */
export function answerPresence(
  connection: NatsConnection,
  current: (withSettings: boolean) => Promise<Omit<Presence, "version" | "time">>,
): void {
  const answer = async (msg: Msg) => {
    const found = await current(msg.string() === WITH_SETTINGS);
    const text = JSON.stringify({ ...found, version: VERSION, time: Date.now() });
    if (!connection.isClosed()) msg.respond(text);
  };
  // Who gets no answer asks again.
  const callback = (error: Error | null, msg: Msg) => void (error ?? answer(msg).catch(() => {}));
  connection.subscribe(SUBJECT, { callback });
}

/** Collects answers until each of these nodes has answered, at most for {@link PATIENCE_MS}. */
export async function askPresence(
  connection: NatsConnection,
  nodes: readonly string[],
  { withSettings = false }: { withSettings?: boolean } = {},
): Promise<Answer[]> {
  if (connection.isClosed()) return [];
  const found: Answer[] = [];
  const asked = Date.now();
  const missing = new Set(nodes);
  const { promise: complete, resolve } = Promise.withResolvers<void>();
  const inbox = createInbox();
  const sub = connection.subscribe(inbox, {
    callback: (error, msg) => {
      // An empty message means that there are no subscribers.
      if (error || msg.data.length === 0) return resolve();
      const presence = msg.json<Presence>();
      const { time } = presence;
      // It answered between the question and now.
      const skew = time === undefined ? null : time - (asked + Date.now()) / 2;
      found.push({ ...presence, skew });
      missing.delete(presence.node ?? "");
      if (missing.size === 0) resolve();
    },
  });
  const timer = setTimeout(resolve, PATIENCE_MS);
  try {
    connection.publish(SUBJECT, withSettings ? WITH_SETTINGS : "", { reply: inbox });
    await complete;
    return found;
  } finally {
    clearTimeout(timer);
    if (!connection.isClosed()) sub.unsubscribe();
  }
}

/** Returns the problems of `membershipd` on the reachable nodes. */
export function presenceProblems(
  found: readonly Presence[],
  nodes: readonly string[],
  bucket: string,
): string[] {
  const of = (node: string) => found.find((it) => it.node === node);
  // With nats-servers that are not managed by membershipd, it need not run on each node.
  const isOurs = found.every((it) => it.node !== null);
  const named = (which: (it: Presence) => boolean) =>
    nodes.filter((it) => of(it) !== undefined && which(of(it)!)).join(", ");
  const silent = isOurs ? nodes.filter((it) => of(it) === undefined) : [];
  const bare = named((it) => it.bucket === null && (it.waiting ?? null) === null);
  const other = named((it) => it.bucket !== null && it.bucket !== bucket);
  const keys = Map.groupBy(found.filter((it) => it.keys !== null), (it) => it.keys);
  const groups = [...keys.values()].map((them) => them.map((it) => it.node ?? "another").join(" "));
  return [
    ...nodes.flatMap((it) => {
      const why = of(it)?.waiting ?? null;
      return why === null ? [] : [`membershipd on ${it}: ${why}`];
    }),
    ...silent.map((it) => `membershipd does not answer on ${it}; start it, or check its log`),
    ...bare === ""
      ? []
      : [`membershipd serves no bucket on ${bare} (--nats-only, or --store sqlite)`],
    ...other === "" ? [] : [`membershipd serves another bucket than ${bucket} on ${other}`],
    ...groups.length > 1
      ? [
        `The nodes have different service keys (${groups.sort().join(" | ")}); copy one file to ` +
        "all nodes and restart them",
      ]
      : [],
    ...found.flatMap(({ node, follower }) => {
      const who = `membershipd${node === null ? "" : ` on ${node}`}`;
      const { alarm = null, degraded = null, history } = follower ?? {};
      const problem = history?.problem ?? null;
      return [
        ...alarm === null ? [] : [`${who} admits nobody: ${alarm}`],
        ...degraded === null ? [] : [`${who}: ${degraded}`],
        ...problem === null ? [] : [`${who}: the history of its second copy: ${problem}`],
      ];
    }),
  ];
}
