/**
 * The copies of a stream in a cluster: lists them with their state, and changes their number.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import type { StreamInfo as Info } from "@nats-io/jetstream";
import { isCurrentReplica } from "../log/stream.ts";
import { apiCode, ask, CODE, findStream, updateStream, wait } from "../log/wire.ts";

/** Milliseconds to wait for a new leader before asking for one again. */
const LEADER_TIMEOUT = 2000;
/** How long servers that have just started may stay unknown to the others, milliseconds. */
const ARRIVAL = 10_000;
/** Polling interval during a change in milliseconds. */
const LOOK = 200;

/** A stream's information from the server; `desired` is set while its copies are being changed. */
export type StreamInfo = Info & { cluster?: NonNullable<Info["cluster"]> & { desired?: unknown } };

/** One copy of a stream. */
export interface Copy {
  /** Its node. */
  node: string;
  /** Whether it is the leader. */
  leads: boolean;
  /** Whether it is up to date with the leader. */
  current: boolean;
  /** Whether the leader can reach it. */
  reachable: boolean;
  /** Number of operations that it is behind. */
  lag: number;
}

/** Lists the copies of a stream; on a standalone server, one without a node name. */
export function copiesOf(info: StreamInfo): Copy[] {
  const { leader, replicas = [] } = info.cluster ?? {};
  const others = replicas.map((it) => ({
    node: it.name,
    leads: false,
    // The leader reports a replica that it has never heard from as current.
    current: isCurrentReplica(it) && (it.active > 0 || leader === undefined),
    reachable: !it.offline,
    lag: it.lag ?? 0,
  }));
  const first = info.cluster === undefined ? "" : leader;
  if (first === undefined) return others;
  return [{ node: first, leads: true, current: true, reachable: true, lag: 0 }, ...others];
}

/** Reports whether a stream has all its copies, all are current, and no change is in progress. */
export function isWhole(info: StreamInfo): boolean {
  const copies = copiesOf(info);
  return info.cluster?.desired === undefined && copies.length === info.config.num_replicas &&
    copies.some((it) => it.leads) && copies.every((it) => it.current);
}

/** Options of {@link scaleStream}. */
export interface ScaleOptions {
  /** When to stop waiting; the cluster continues by itself. */
  deadline: number;
  /** The node to make leader, which keeps its copy when the number decreases. */
  keep?: string;
  /** Aborts the wait; the cluster continues by itself. */
  signal?: AbortSignal;
  /** Called repeatedly with the number of current copies. */
  onProgress?: (current: number) => void;
}

/**
 * Changes the number of a stream's copies in place, and waits until all are current.
 *
 * @throws {StoreError} not_found: the stream does not exist
 * @throws {StoreError} invalid: the cluster has too few servers, or no copy on `keep`
 * @throws {StoreError} unavailable: not all copies were current before the deadline
 */
export async function scaleStream(
  nc: NatsConnection,
  stream: string,
  replicas: number,
  options: ScaleOptions,
): Promise<StreamInfo> {
  const { deadline, keep, signal, onProgress } = options;
  const arrival = Math.min(Date.now() + ARRIVAL, deadline);
  let info = await found();
  if (keep !== undefined && replicas < info.config.num_replicas) await lead(keep);
  for (;;) {
    if (info.config.num_replicas !== replicas) await update();
    const copies = copiesOf(info);
    // Copies that will be removed do not count.
    onProgress?.(Math.min(replicas, copies.filter((it) => it.current).length));
    if (info.config.num_replicas === replicas && isWhole(info)) return info;
    if (Date.now() + LOOK > deadline) {
      const missing = copies.filter((it) => !it.current).map((it) => it.node).join(", ");
      throw new StoreError(
        "unavailable",
        `Scaling ${stream} to ${replicas}: not all copies are current yet` +
          (missing === "" ? "" : `, missing: ${missing}`),
      );
    }
    await wait(LOOK, signal);
    info = await found();
  }

  async function found(): Promise<StreamInfo> {
    const current = await findStream(nc, stream, deadline, signal);
    if (current !== null) return current;
    throw new StoreError("not_found", `No stream ${stream} on this server`);
  }

  async function update(): Promise<void> {
    try {
      await updateStream(nc, stream, { num_replicas: replicas }, { deadline, signal });
    } catch (error) {
      const code = apiCode(error);
      const scarce = code === CODE.noPeers || code === CODE.insufficientResources;
      if (scarce && Date.now() < arrival) return;
      if (!scarce && code !== CODE.replicasNotSupported) throw error;
      throw new StoreError(
        "invalid",
        `Scaling ${stream} to ${replicas}: the cluster has too few servers available`,
        { field: "replicas", cause: error },
      );
    }
  }

  /** Makes a node the leader. */
  async function lead(node: string): Promise<void> {
    if (!copiesOf(info).some((it) => it.node === node)) {
      throw new StoreError("invalid", `${stream} has no copy on ${node} to keep`, {
        field: "keep",
      });
    }
    while (info.cluster?.leader !== node) {
      if (Date.now() + LOOK > deadline) {
        throw new StoreError("unavailable", `${node} did not become the leader of ${stream}`);
      }
      const placement = { placement: { preferred: node } };
      await ask(nc, `STREAM.LEADER.STEPDOWN.${stream}`, placement, { deadline, signal });
      const next = Math.min(Date.now() + LEADER_TIMEOUT, deadline);
      do {
        await wait(LOOK, signal);
        info = await found();
      } while (info.cluster?.leader !== node && Date.now() < next);
    }
  }
}
