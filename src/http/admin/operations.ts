/**
 * What a control plane reports to its admins.
 *
 * @module
 */

import config from "../../../deno.json" with { type: "json" };
import { kept } from "../../core/async/kept.ts";
import type { ControlPlaneNode, UserActivity } from "../../core/operations.ts";
import type { Store } from "../../core/store.ts";
import { ChangeReader } from "./changes.ts";
import type { Readiness } from "./health.ts";
import { type Recorder, recorderOf } from "./history.ts";
import { nodesOf } from "./nodes.ts";
import type { Operations } from "../operations.ts";
import type { ControlPlaneOptions } from "../options.ts";
import { Seen } from "./seen.ts";
import { usageOf } from "./usage.ts";
import { countsOf } from "./counts.ts";
import { searchOf } from "../routes/search.ts";

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
