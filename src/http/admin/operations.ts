/**
 * What a control plane reports to its admins.
 *
 * @module
 */

import { createHash } from "node:crypto";
import config from "../../../deno.json" with { type: "json" };
import { kept } from "../../core/async/kept.ts";
import type { ControlPlaneNode, Usage, UserActivity } from "../../core/operations.ts";
import type { Store } from "../../core/store.ts";
import { ChangeReader } from "./changes.ts";
import type { Readiness } from "./health.ts";
import { type Recorder, recorderOf } from "./history.ts";
import type { Operations } from "../operations.ts";
import type { ControlPlaneOptions } from "../options.ts";
import { countsOf } from "./counts.ts";
import { searchOf } from "../routes/search.ts";
import { StoreError } from "../../core/errors.ts";
import type { BlobStore } from "../../blobs/types.ts";
import { within } from "../../core/async/wait.ts";

/** The same, with what feeds it. */
export interface OwnOperations extends Operations {
  /** The history. */
  readonly changes: ChangeReader;
  /** Counts answers. */
  readonly recorder: Recorder;
  /** Ends all waiting. */
  close(): void;
}

/** How long the status of the cluster is kept, milliseconds: reading it asks every node. */
const GOOD_FOR_MS = 1_000;

const NO_NODES: readonly ControlPlaneNode[] = [];

/** Makes it. */
export function operationsOf(
  store: Store,
  readiness: () => Promise<Readiness>,
  options: ControlPlaneOptions,
): OwnOperations {
  const now = options.clock ?? (() => new Date());
  const startedAt = now().toISOString();
  const search = () => options.search ?? store.search ?? null;
  const changes = new ChangeReader(store);
  const recorder = recorderOf(now);
  const seen = new Seen(now);
  const activity = (signPub: string): UserActivity => {
    const { open = null, closedAt = null } = options.connections?.(signPub) ?? {};
    const lastRequest = seen.of(signPub);
    return { connections: open, lastConnection: closedAt, lastRequest, since: startedAt };
  };
  const cluster = kept(GOOD_FOR_MS, async () => await options.cluster?.() ?? null);
  return {
    changes,
    search: searchOf(search),
    recorder,
    now,
    history: recorder.read,
    seen: (signPub) => seen.note(signPub),
    activity,
    unseen: (users, since) =>
      users.filter(({ signPub }) => {
        const { connections, lastConnection, lastRequest } = activity(signPub);
        const isSeen = (at: string | null) => at !== null && at >= since;
        return !connections && !isSeen(lastConnection) && !isSeen(lastRequest);
      }),
    counts: countsOf({
      store,
      search,
      now,
      ...options.connections && { connections: options.connections },
    }),
    usage: usageOf(options.blobs ?? null, now),
    ...nodesOf(options.nodes ?? (() => NO_NODES)),
    async status() {
      const [{ ok, checks }, found] = await Promise.all([readiness(), cluster()]);
      return {
        version: config.version,
        busAuth: options.busAuth ?? "enforce",
        startedAt,
        backend: store.backend,
        search: search() !== null,
        ok,
        checks: [...checks],
        follower: options.follower?.() ?? null,
        cluster: found,
        journey: options.journey?.() ?? null,
      };
    },
    close: () => changes.close(),
  };
}

/** Makes the list of nodes of what reads them; a list must not be changed once it was returned. */
function nodesOf(
  read: () => readonly ControlPlaneNode[],
): Pick<Operations, "nodes" | "nodesVersion"> {
  let last: readonly ControlPlaneNode[] = [];
  let version: string | null = null;
  return {
    nodes: () => ({ nodes: [...read()] }),
    nodesVersion() {
      const list = read();
      if (list !== last) {
        last = list;
        version = versionOf(list);
      }
      return version;
    },
  };
}

function versionOf(list: readonly ControlPlaneNode[]): string | null {
  const urls = list.map((it) => [it.urls, it.busUrls, it.wsUrls]);
  return list.length < 2
    ? null
    : createHash("sha256").update(JSON.stringify(urls)).digest("base64url").slice(0, 12);
}

/** Most users that are remembered; above it those that were seen longest ago are forgotten. */
const MOST = 50_000;

/** When users sent their last request to this process: in memory only, so it begins with its start. */
export class Seen {
  readonly #at = new Map<string, number>();
  readonly #now: () => Date;
  readonly #most: number;

  /** Begins with none. */
  constructor(now: () => Date, most = MOST) {
    this.#now = now;
    this.#most = most;
  }

  /** Notes a request of a user whose signature and permission were checked. */
  note(signPub: string): void {
    // Moves it to the end: the map's order is that of the last requests.
    this.#at.delete(signPub);
    this.#at.set(signPub, this.#now().getTime());
    if (this.#at.size <= this.#most) return;
    this.#at.delete(this.#at.keys().next().value!);
  }

  /** Returns the time of a user's last request; null if there was none. */
  of(signPub: string): string | null {
    const at = this.#at.get(signPub);
    return at === undefined ? null : new Date(at).toISOString();
  }
}

/** A count is kept for this many milliseconds, */
const COUNTED_FOR_MS = 60_000;
/** and at least this many times as long as it took, so counting takes at most a twentieth of the time. */
const REST = 20;
/** How long a request waits for the first count, milliseconds. */
const PATIENCE_MS = 8_000;

/** Makes the count of the storage that blobs use: on request, and then kept for a while. */
export function usageOf(
  blobs: Pick<BlobStore, "list"> | null,
  now: () => Date,
): () => Promise<Usage> {
  let last: { until: number; answer: Usage } | null = null;
  let counting: Promise<Usage> | null = null;

  async function count(store: Pick<BlobStore, "list">): Promise<Usage> {
    const began = performance.now();
    const found = { count: 0, bytes: 0 };
    for await (const { size } of store.list()) {
      found.count++;
      found.bytes += size;
    }
    const answer = { blobs: { ...found, at: now().toISOString() } };
    const ended = performance.now();
    last = { until: ended + Math.max(COUNTED_FOR_MS, REST * (ended - began)), answer };
    return answer;
  }

  return async () => {
    if (blobs === null) return { blobs: null };
    if (last !== null && performance.now() < last.until) return last.answer;
    counting ??= count(blobs).finally(() => counting = null);
    // An earlier count is better than a long wait.
    const answer = await within(last === null ? PATIENCE_MS : 500, counting, () => null);
    if (answer !== null) return answer;
    if (last !== null) return last.answer;
    throw new StoreError("unavailable", "Blobs are still being counted; retry later");
  };
}
