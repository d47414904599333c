/**
 * A machine that is, or may become, a node of a cluster: it serves its own control plane, or waits until the
 * cluster has one, serves it, and waits again when that has moved away. It never begins one.
 *
 * @module
 */

import type { Bus } from "../bus.ts";
import type { Surroundings } from "../parts.ts";
import { Undo } from "../undo.ts";
import { isStoreError } from "../../../src/core/errors.ts";
import { pause } from "../../../src/core/async/wait.ts";
import { readNode } from "../../settings/node.ts";
import type { Storage } from "../storage/types.ts";
import { sendAway } from "./clients.ts";
import { COPYING, HOME, JOINED, LOST, UNSERVED, whyNot } from "./mark.ts";
import type { Shown } from "./present.ts";

/** Why a server does not answer yet that has a store. */
export const OPENING = "opening the store";

/** Interval of the looks at the mark while it waits, in milliseconds. */
const WAITING_MS = 250;
/** The same while it serves. */
const SERVING_MS = 1_000;
/** Interval at which an unchanged wait is logged, in milliseconds. */
const TELL_MS = 60_000;
/** Pauses before what could not be opened or served is tried again, in milliseconds. */
const RETRY = { first: 500, longest: 10_000 };
/** Time limit for stopping what was served, in milliseconds. */
const STOP_MS = 20_000;

/** A store that is open, and what closes it. */
export interface Opened {
  /** The store. */
  storage: Storage;
  /** Closes it, and what is started to serve it. */
  undo: Undo;
}

/** What a node needs. */
export interface Node {
  /** Its surroundings; what it starts stays until it is stopped. */
  around: Surroundings;
  /** The connected bus. */
  bus: Bus;
  /** Says what to answer to other nodes. */
  present: (shown: Shown) => void;
  /** The store that this machine has itself; null if it waits for that of the cluster. */
  first: Opened | null;
  /** Opens the store that the cluster has; `early` while the control plane is being copied into it. */
  open: (around: Surroundings, early: boolean) => Promise<Storage>;
  /**
   * Finishes a move of the control plane to this machine that was killed; returns why it is not here, or
   * null if it stayed in the bucket.
   */
  arrive: (around: Surroundings, name: string) => Promise<Opened | string | null>;
  /** Serves a store. */
  serve: (around: Surroundings, storage: Storage) => Promise<void>;
}

/**
 * Serves the store of this machine, and that of the cluster whenever it has one; rejects when the signal
 * is aborted. Where a majority is missing while the store of the cluster is opened, it tries again.
 */
export async function serveAsNode(node: Node): Promise<never> {
  const { around, bus, present, open, serve } = node;
  const { log } = around;
  let retry = RETRY.first;
  const own = node.first?.undo ?? undoOf(around);
  for (let here = node.first;; here = null) {
    here ??= await waitForPlane(node, own);
    const served = here?.undo ?? own;
    const inside = { ...around, undo: served };
    let failed: string | null = null;
    let left: string | null = null;
    try {
      if (here === null) await tell(node, OPENING);
      const storage = here?.storage ?? await open(inside, false);
      await serve(inside, storage);
      retry = RETRY.first;
      const why = await untilGone(around, bus, storage);
      log("warn", "store.gone", { message: `This node stops serving: ${why}` });
      left = storage.bucket;
      present({ bucket: null, follower: null, waiting: why });
    } catch (error) {
      // A file of this machine needs no majority.
      const isPassing = here?.storage.bucket !== null && isStoreError(error, "unavailable");
      if (!isPassing && !hasGone(error)) throw error;
      if (isPassing) failed = error.message;
    }
    await served.end(log);
    if (left !== null) void sendAway(around, bus, left);
    if (failed === null) continue;
    await rest(node, `${UNSERVED}: ${failed}`, retry);
    retry = Math.min(2 * retry, RETRY.longest);
  }
}

/** Waits before the next try, and says why. */
async function rest(node: Node, why: string, ms: number): Promise<void> {
  const { around } = node;
  around.log("warn", "store.unavailable", { message: why });
  await tell(node, why);
  await pause(ms, around.signal);
}

/** Tells clients and other nodes why nothing is served; returns the URL of HTTP. */
async function tell({ around, present }: Node, why: string): Promise<string> {
  present({ bucket: null, follower: null, waiting: why });
  return await around.page.show(why);
}

/** Returns what stops what a node opens, at the latest with the node. */
function undoOf({ undo, log }: Surroundings): Undo {
  const own = new Undo();
  undo.add("what the node serves", () => own.end(log), STOP_MS);
  return own;
}

/**
 * Waits until the cluster has a control plane; returns a store if that is in a file of this machine, or was
 * opened while the control plane was being copied.
 */
async function waitForPlane(node: Node, undo: Undo): Promise<Opened | null> {
  const { around, bus, arrive } = node;
  const { signal, log, settings } = around;
  const { name = "", cluster = "" } = await readNode(settings.db) ?? {};
  let early: Opened | null = null;
  let told = "";
  let at = 0;
  for (;;) {
    let why: Opened | string | null = await look(around, bus, name);
    if (early !== null && isOver(why, early)) {
      await undo.end(log);
      early = null;
    }
    if (why === HOME) {
      // Tried again if it cannot be finished now.
      why = await arrive(around, name).catch((error) => `arriving: ${error.message}`);
    }
    if (typeof why !== "string") return why ?? early;
    const http = await tell(node, why);
    if (why !== told || Date.now() - at > TELL_MS) {
      log("info", "waiting", { node: name, cluster, http, nats: bus.url, message: why });
      [told, at] = [why, Date.now()];
    }
    if (why === COPYING) early ??= await openEarly(node, undo);
    await pause(WAITING_MS, signal);
  }
}

/**
 * Opens the store of the cluster while the control plane is being copied into it; null if that is not
 * possible now. What is copied then reaches it bit by bit: loaded when all is there, as fast as the servers
 * send it, it would keep them from answering the first node.
 */
async function openEarly({ around, open }: Node, undo: Undo): Promise<Opened | null> {
  const { log } = around;
  try {
    const storage = await open({ ...around, undo }, true);
    // What is asked loads what it answers from.
    void storage.store.hasAdmin().catch(() => {});
    log("info", "store.loading", { bucket: storage.bucket });
    return { storage, undo };
  } catch (error) {
    log("debug", "store.not_loading", { reason: error });
    await undo.end(log);
    return null;
  }
}

/** Whether a store that was opened early must be closed: the move was called off, or its bucket is another. */
function isOver(why: string | null, { storage }: Opened): boolean {
  // Without an answer nothing has changed.
  const isCopied = why === null || why.startsWith(`${JOINED}:`);
  return !isCopied || (storage.follower?.alarm ?? null) !== null;
}

/** Looks at the mark; a cluster that does not answer is waited for. */
async function look({ settings, signal }: Surroundings, { connection }: Bus, name: string) {
  try {
    return await whyNot(connection, settings.bucket ?? "UNIBUS", name, signal);
  } catch (error) {
    signal.throwIfAborted();
    const found = error instanceof Error ? error.message : String(error);
    return `${LOST} (${found})`;
  }
}

/** Waits until the mark says that the control plane is not in the bucket any longer. */
async function untilGone(
  { signal }: Surroundings,
  bus: Bus,
  storage: Storage,
): Promise<string> {
  for (;;) {
    await pause(SERVING_MS, signal);
    const { bucket } = storage;
    // In a file, it leaves only by a journey of this process.
    if (bucket === null) continue;
    // While nothing can be read nothing has changed: the store itself stops answering.
    // The name of the node is another one since its nats-server entered the cluster.
    const why = await whyNot(bus.connection, bucket, bus.node, signal).catch(() => null);
    // A move to this node is the matter of the store that is open.
    if (why !== null && why !== JOINED && why !== HOME && storage.bucket === bucket) return why;
  }
}

/** Reports whether the control plane went, or another copy began, after the look. */
function hasGone(error: unknown): boolean {
  return isStoreError(error, "in_progress") || isStoreError(error, "not_found") ||
    (isStoreError(error, "refused") && error.field === "moved");
}
