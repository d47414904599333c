/**
 * A clustered node: it waits until the cluster has a control plane, serves it, and waits again when
 * the control plane has moved away. It never begins one.
 *
 * @module
 */

import type { Bus } from "../bus.ts";
import type { Surroundings } from "../parts.ts";
import { Undo } from "../undo.ts";
import { isStoreError } from "../../../src/core/errors.ts";
import { pause } from "../../../src/core/async/wait.ts";
import type { NodeFile } from "../../settings/node.ts";
import { JOINED, whyNot } from "./mark.ts";
import { showWaiting } from "./page.ts";
import type { Shown } from "./present.ts";

/** Interval of the looks at the mark while it waits, in milliseconds. */
const WAITING_MS = 250;
/** The same while it serves. */
const SERVING_MS = 1_000;
/** Interval at which an unchanged wait is logged, in milliseconds. */
const TELL_MS = 60_000;
/** Time limit for stopping what was served, in milliseconds. */
const STOP_MS = 20_000;

/** What a node needs. */
export interface Node {
  /** Its surroundings; what it starts stays until it is stopped. */
  around: Surroundings;
  /** The connected bus. */
  bus: Bus;
  /** Its node file. */
  node: NodeFile;
  /** Says what to answer to other nodes. */
  present: (shown: Shown) => void;
  /** Opens the store and serves it; what it starts goes when the control plane has moved. */
  open: (around: Surroundings) => Promise<void>;
}

/** Serves whenever the cluster has a control plane; rejects when the signal is aborted. */
export async function serveAsNode({ around, bus, node, present, open }: Node): Promise<never> {
  const { undo, log } = around;
  for (;;) {
    await waitForPlane(around, bus, node, present);
    const served = new Undo();
    undo.add("what the node serves", () => served.end(log), STOP_MS);
    try {
      await open({ ...around, undo: served });
      const why = await untilGone(around, bus);
      log("warn", "store.gone", { message: `This node stops serving: ${why}` });
      present({ bucket: null, follower: null, waiting: why });
    } catch (error) {
      if (!hasGone(error)) throw error;
    }
    await served.end(log);
  }
}

async function waitForPlane(
  around: Surroundings,
  bus: Bus,
  { name, cluster }: NodeFile,
  present: (shown: Shown) => void,
): Promise<void> {
  const { signal, log } = around;
  let why = await look(around, bus);
  if (why === null) return;
  const page = await showWaiting(around, () => why!);
  try {
    let told = "";
    let at = 0;
    while (why !== null) {
      present({ bucket: null, follower: null, waiting: why });
      if (why !== told || Date.now() - at > TELL_MS) {
        log("info", "waiting", {
          node: name,
          cluster,
          http: page.url,
          nats: bus.url,
          message: why,
        });
        [told, at] = [why, Date.now()];
      }
      await pause(WAITING_MS, signal);
      // The page shows the former reason meanwhile.
      const next: string | null = await look(around, bus);
      if (next === null) return;
      why = next;
    }
  } finally {
    await page.close();
  }
}

/** Looks at the mark; a cluster that does not answer is waited for. */
async function look({ settings, signal }: Surroundings, { connection }: Bus) {
  try {
    return await whyNot(connection, settings.bucket ?? "UNIBUS", signal);
  } catch (error) {
    signal.throwIfAborted();
    const found = error instanceof Error ? error.message : String(error);
    return `${JOINED}: no majority of the nodes answers (${found})`;
  }
}

/** Waits until the mark says that the control plane is not in the bucket any longer. */
async function untilGone({ settings, signal }: Surroundings, { connection }: Bus): Promise<string> {
  for (;;) {
    await pause(SERVING_MS, signal);
    // While nothing can be read nothing has changed: the store itself stops answering.
    const why = await whyNot(connection, settings.bucket ?? "UNIBUS", signal).catch(() => null);
    if (why !== null && why !== JOINED) return why;
  }
}

/** Reports whether the control plane went, or another copy began, after the look. */
function hasGone(error: unknown): boolean {
  return isStoreError(error, "in_progress") || isStoreError(error, "not_found") ||
    (isStoreError(error, "refused") && error.field === "moved");
}
