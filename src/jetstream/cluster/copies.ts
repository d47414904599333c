/**
 * The copies of a stream in a cluster: where they are, how far they are, and how many there shall be.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import type { StreamInfo as Info } from "@nats-io/jetstream";
import { isCurrentReplica } from "../log/stream.ts";
import { apiCode, ask, CODE, manage, orNone, wait } from "../log/wire.ts";

/** Milliseconds to wait for a new leader before asking for one again. */
const LEADER_TIMEOUT = 2000;
/** How long servers that have just started may stay unknown to the others, milliseconds. */
const ARRIVAL = 10_000;
/** How often a change under way is looked at, milliseconds. */
const LOOK = 200;

/** What the server says of a stream; `desired` while its copies are being changed. */
export type StreamInfo = Info & { cluster?: NonNullable<Info["cluster"]> & { desired?: unknown } };

/** One copy of a stream. */
export interface Copy {
  /** The node it is on. */
  node: string;
  /** Whether it leads. */
  leads: boolean;
  /** Whether it has what the leader has. */
  current: boolean;
  /** Whether the leader hears from it. */
  reachable: boolean;
  /** How many operations it is behind. */
  lag: number;
}

/** Reads a stream's information; `null` when there is no such stream. */
export function findStream(
  nc: NatsConnection,
  stream: string,
  deadline: number,
  signal?: AbortSignal,
): Promise<StreamInfo | null> {
  const options = { deadline, signal };
  return orNone(manage(nc, `Read stream ${stream}`, (jsm) => jsm.streams.info(stream), options));
}

/** The copies of a stream; one without a node's name on a server that is in no cluster. */
export function copiesOf(info: StreamInfo): Copy[] {
  const { leader, replicas = [] } = info.cluster ?? {};
  const others = replicas.map((it) => ({
    node: it.name,
    leads: false,
    // What the leader has never heard of it says nothing about.
    current: isCurrentReplica(it) && (it.active > 0 || leader === undefined),
    reachable: !it.offline,
    lag: it.lag ?? 0,
  }));
  const first = info.cluster === undefined ? "" : leader;
  if (first === undefined) return others;
  return [{ node: first, leads: true, current: true, reachable: true, lag: 0 }, ...others];
}

/** Whether a stream has all its copies, each current, and no change is under way. */
export function isWhole(info: StreamInfo): boolean {
  const copies = copiesOf(info);
  return info.cluster?.desired === undefined && copies.length === info.config.num_replicas &&
    copies.some((it) => it.leads) && copies.every((it) => it.current);
}

/** How {@link scaleStream} goes about it. */
export interface ScaleOptions {
  /** When to give up waiting; the cluster goes on by itself. */
  deadline: number;
  /** The node that leads afterwards, and so is the one that keeps a copy when there is but one. */
  keep?: string;
  /** Ends the wait; the cluster goes on by itself. */
  signal?: AbortSignal;
  /** Told again and again how many copies are current. */
  onProgress?: (current: number) => void;
}

/**
 * Changes the number of a stream's copies in place, and waits until they are all current.
 *
 * `not_found` without such a stream, `invalid` when there are not so many servers, `unavailable` when
 * it took too long.
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
    // Those that will go are none that count.
    onProgress?.(Math.min(replicas, copies.filter((it) => it.current).length));
    if (info.config.num_replicas === replicas && isWhole(info)) return info;
    if (Date.now() + LOOK > deadline) {
      const missing = copies.filter((it) => !it.current).map((it) => it.node).join(", ");
      throw new StoreError(
        "unavailable",
        `Scaling ${stream} to ${replicas}: not all copies are current yet` +
          (missing === "" ? "" : `, not those on ${missing}`),
      );
    }
    await wait(LOOK, signal);
    info = await found();
  }

  async function found(): Promise<StreamInfo> {
    const it = await findStream(nc, stream, deadline, signal);
    if (it !== null) return it;
    throw new StoreError("not_found", `No stream ${stream} on this server`);
  }

  async function update(): Promise<void> {
    try {
      await manage(
        nc,
        `Update stream ${stream}`,
        (jsm) => jsm.streams.update(stream, { num_replicas: replicas }),
        { deadline, signal },
      );
    } catch (error) {
      const code = apiCode(error);
      const scarce = code === CODE.noPeers || code === CODE.insufficientResources;
      if (scarce && Date.now() < arrival) return;
      if (!scarce && code !== CODE.replicasNotSupported) throw error;
      throw new StoreError(
        "invalid",
        `Scaling ${stream} to ${replicas}: the cluster has not that many servers to put it on`,
        { field: "replicas", cause: error },
      );
    }
  }

  /** Makes a node lead. */
  async function lead(node: string): Promise<void> {
    if (!copiesOf(info).some((it) => it.node === node)) {
      throw new StoreError("invalid", `${stream} has no copy on ${node} to keep`, {
        field: "keep",
      });
    }
    while (info.cluster?.leader !== node) {
      if (Date.now() + LOOK > deadline) {
        throw new StoreError("unavailable", `${stream} could not be led by ${node}`);
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
