/**
 * How the control plane does, in one of three grades, and the sentences that help.
 *
 * @module
 */

import type { ClusterStatus, ServerStatus } from "../../../core/operations.ts";
import { counted } from "../../shared/format.ts";
import { type Failure, wordsOf } from "./failure.ts";

/** `degraded`: requests are served, and something needs attention. `down`: they are not. */
export type Grade = "well" | "degraded" | "down";

/** Something that is wrong. */
export interface Problem {
  /** What was found. */
  readonly text: string;
  /** What to do about it; null where the text says it. */
  readonly help: string | null;
}

/** A grade and its reasons. */
export interface Graded {
  readonly grade: Grade;
  /** What the grade means for those who use the server. */
  readonly meaning: string;
  /** The most urgent first. */
  readonly problems: readonly Problem[];
}

/** What to do when a check fails, by its name. */
const HELP: Readonly<Record<string, string>> = {
  file: "Put the file back at its path and restart membershipd.",
  writable: "Check the free disk space, and that membershipd may write the file.",
  nats: "Check the log of the nats-server; membershipd restarts its own by itself.",
  connection: "Check that the nats-server runs and that membershipd can reach it.",
  stream: "Start the nodes that are stopped: a majority of the copies must be reachable.",
  replicas: "Start the nodes that are stopped: a majority of the copies must be reachable.",
  cache: "It loads by itself as soon as the stream can be read.",
  callout: "New bus connections are refused until membershipd reaches the nats-server again.",
  blobs: "Check the free disk space and the folder of the blobs; everything else is served.",
};
const SEE_LOG = "See the log of membershipd.";

/**
 * Grades a server.
 *
 * @param status What it reported last; null before the first report
 * @param failure Why it could not be asked now
 */
export function gradeOf(status: ServerStatus | null, failure: Failure | null): Graded | null {
  if (failure !== null && isDown(failure)) return lost(status, failure);
  if (status === null) return null;
  const { checks, cluster, follower } = status;
  const problems = [
    ...failure === null
      ? []
      : [{ text: wordsOf(failure), help: "This page asks again by itself." }],
    ...checks.filter((it) => !it.ok).map((it) => checkProblem(it.name, it.detail)),
    ...checks.filter((it) => it.ok && it.degraded).map((it) => checkProblem(it.name, it.detail)),
    ...(cluster?.problems ?? []).map(split),
  ];
  const stopped = follower?.failure ?? null;
  if (stopped !== null) {
    problems.push({
      text: `The second copy does not follow: ${stopped}`,
      help: "It is tried again; admission does not depend on it.",
    });
  }
  if (!serves(status)) {
    return { grade: "down", meaning: `Requests fail. ${needed(cluster)}`.trim(), problems };
  }
  if (status.ok && problems.length === 0) {
    return { grade: "well", meaning: "Requests are served.", problems };
  }
  return {
    grade: "degraded",
    meaning: status.ok
      ? "Requests are served."
      : "Other nodes serve requests; this server does not accept all of them.",
    problems: problems.length > 0 ? problems : [{ text: "A check failed", help: SEE_LOG }],
  };
}

/** Whether requests are served: by this server, or by a quorum of which this server is a part. */
function serves({ ok, cluster, follower }: ServerStatus): boolean {
  if ((follower?.alarm ?? null) !== null) return false;
  const { quorum = null, buckets = [] } = cluster ?? {};
  if (quorum?.ok === false) return false;
  const control = buckets.find((it) => it.holds === "control plane");
  if (control !== undefined && control.replicas === null) return false;
  return ok || quorum !== null && quorum.size > 1;
}

/** What a cluster needs to serve again. */
function needed(cluster: ClusterStatus | null): string {
  const { quorum = null, nodes = [] } = cluster ?? {};
  if (quorum === null || quorum.ok) return "";
  const missing = quorum.needed - quorum.reachable;
  if (missing <= 0) return "The nodes are electing a leader, which takes some seconds.";
  const stopped = nodes.filter((it) => !it.reachable).map((it) => it.name);
  const which = stopped.length === 0 ? "" : ` of ${stopped.join(", ")}`;
  return `Start ${counted(missing, "more node")}${which}: ${quorum.needed} of ${quorum.size} are ` +
    "needed.";
}

function checkProblem(name: string, detail: string): Problem {
  const { text, help } = split(detail);
  return { text: `${name}: ${text}`, help: help ?? HELP[name] ?? SEE_LOG };
}

/** A problem of the server says what to do after a semicolon. */
function split(problem: string): Problem {
  const [text = "", ...help] = problem.split("; ");
  const sentence = help.join("; ");
  return {
    text,
    help: sentence === "" ? null : `${sentence[0]!.toUpperCase()}${sentence.slice(1)}.`,
  };
}

/** Codes with which a server says that it cannot serve. */
const DOWN: ReadonlySet<string | undefined> = new Set([
  "unavailable",
  "corrupt",
  "closed",
  "in_progress",
  "internal",
]);

function isDown({ kind, particulars: { code } }: Failure): boolean {
  return kind === "unreachable" || kind === "problem" && DOWN.has(code);
}

function lost(status: ServerStatus | null, failure: Failure): Graded {
  const stopped = status?.cluster?.nodes.filter((it) => !it.reachable).map((it) => it.name) ?? [];
  const help = failure.kind === "unreachable"
    ? "Check that membershipd runs, and that this device reaches it."
    : failure.particulars.code === "unavailable"
    ? stopped.length > 0
      ? `Start ${stopped.join(", ")}: a majority of the nodes must run.`
      : status?.backend === "sqlite"
      ? HELP["writable"]!
      : "Check the nodes and their nats-servers: a majority must run."
    : null;
  return {
    grade: "down",
    meaning: "What is shown below may be out of date.",
    problems: [{ text: wordsOf(failure), help }],
  };
}
