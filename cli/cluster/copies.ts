/**
 * The copies of all streams of an account, before a node goes.
 *
 * @module
 */

import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { isStoreError } from "../../src/core/errors.ts";
import { copiesOf } from "../../src/jetstream/cluster/copies.ts";
import { findStream, manage } from "../../src/jetstream/log/wire.ts";

/** Timeout of the list of streams in milliseconds. */
const PATIENCE_MS = 30_000;
/**
 * Timeout in milliseconds for an answer of a stream's leader; without a leader there is no answer.
 */
const ANSWER_MS = 5_000;

/** The copies of a stream. */
export interface Copies {
  stream: string;
  /** Its copies; null if its leader does not answer. */
  copies: ReturnType<typeof copiesOf> | null;
  /** The size of one copy in bytes; 0 if its leader does not answer. */
  bytes: number;
}

/** Reads the copies of all streams of the account. */
export async function allCopies(
  service: NatsConnection,
  signal: AbortSignal,
): Promise<Copies[]> {
  // The cluster's leader knows them even if they have no leader.
  const list = (jsm: JetStreamManager) => Array.fromAsync(jsm.streams.names());
  const deadline = Date.now() + PATIENCE_MS;
  const names = await manage(service, "List streams", list, { deadline, signal });
  const found: Copies[] = [];
  for (const stream of names) {
    try {
      const info = await findStream(service, stream, Date.now() + ANSWER_MS, signal);
      if (info !== null) found.push({ stream, copies: copiesOf(info), bytes: info.state.bytes });
    } catch (error) {
      if (!isStoreError(error, "unavailable")) throw error;
      found.push({ stream, copies: null, bytes: 0 });
    }
  }
  return found;
}

/** Returns why a new node could not get its copies from the nodes besides `name`. */
export function behindWithout(all: readonly Copies[], name: string): string[] {
  return all.flatMap(({ stream, copies }) => {
    if (copies === null) return [`${stream} has no leader`];
    const left = copies.filter((it) => it.node !== name);
    if (left.length === 0) return [`${stream} has no copy on another node`];
    return left.filter((it) => !it.current || !it.reachable)
      .map((it) => `the copy of ${stream} on ${it.node} is not current`);
  });
}
