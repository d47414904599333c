/**
 * Whether `membershipd` answers on each node, and with which keys: a nats-server that runs says
 * nothing about the control plane beside it.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { createInbox, type NatsConnection } from "@nats-io/transport-node";
import type { ServiceKeys } from "../../../src/nats/mod.ts";
import { VERSION } from "../../version.ts";

/** Where a `membershipd` is asked, in the account of the control plane. */
const SUBJECT = "unibus.membershipd.ping";

/** How long all of them may take to answer, milliseconds. */
const PATIENCE_MS = 1_500;

/** What a `membershipd` answers. */
export interface Presence {
  /** The node it manages; null when the nats-server is not its own. */
  node: string | null;
  /** Its version. */
  version: string;
  /** The bucket it serves; null with `--nats-only` and with a file as its store. */
  bucket: string | null;
  /** Fingerprint of the public halves of its service keys; null without such a file. */
  keys: string | null;
}

/** A fingerprint of service keys: equal where the files are. It is made of public keys only. */
export function fingerprint({ service, system, issuer }: ServiceKeys): string {
  const parts = [service, system, issuer].map((it) => it.publicKey);
  return createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 16);
}

/** Answers for this process until the connection is closed. */
export function answerPresence(
  connection: NatsConnection,
  { node, bucket, keys }: Omit<Presence, "version">,
): void {
  const text = JSON.stringify({ node, version: VERSION, bucket, keys } satisfies Presence);
  connection.subscribe(SUBJECT, { callback: (error, msg) => void (error ?? msg.respond(text)) });
}

/** Asks until each of these nodes has answered, at most {@link PATIENCE_MS}. */
export async function askPresence(
  connection: NatsConnection,
  nodes: readonly string[],
): Promise<Presence[]> {
  if (connection.isClosed()) return [];
  const found: Presence[] = [];
  const missing = new Set(nodes);
  const { promise: complete, resolve } = Promise.withResolvers<void>();
  const inbox = createInbox();
  const sub = connection.subscribe(inbox, {
    callback: (error, msg) => {
      // An empty message says that nobody listens.
      if (error || msg.data.length === 0) return resolve();
      const it = msg.json<Presence>();
      found.push(it);
      missing.delete(it.node ?? "");
      if (missing.size === 0) resolve();
    },
  });
  const timer = setTimeout(resolve, PATIENCE_MS);
  try {
    connection.publish(SUBJECT, "", { reply: inbox });
    await complete;
    return found;
  } finally {
    clearTimeout(timer);
    if (!connection.isClosed()) sub.unsubscribe();
  }
}

/** What is wrong with the `membershipd` of the nodes that are reachable. */
export function presenceProblems(
  found: readonly Presence[],
  nodes: readonly string[],
  bucket: string,
): string[] {
  const of = (node: string) => found.find((it) => it.node === node);
  // Where somebody else runs the nats-servers, it need not run beside each of them.
  const isOurs = found.every((it) => it.node !== null);
  const named = (which: (it: Presence) => boolean) =>
    nodes.filter((it) => of(it) !== undefined && which(of(it)!)).join(", ");
  const silent = isOurs ? nodes.filter((it) => of(it) === undefined) : [];
  const bare = named((it) => it.bucket === null);
  const other = named((it) => it.bucket !== null && it.bucket !== bucket);
  const keys = Map.groupBy(found.filter((it) => it.keys !== null), (it) => it.keys);
  const groups = [...keys.values()].map((them) => them.map((it) => it.node ?? "another").join(" "));
  return [
    ...silent.map((it) => `membershipd does not answer on ${it}; start it, or look at its log`),
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
  ];
}
