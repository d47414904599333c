/**
 * The control channel of a journey: what `grow` and `shrink` ask a running `membershipd`, and what it
 * answers.
 *
 * @module
 */

import { errors, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { isStoreError, StoreError, type StoreErrorCode } from "../../src/core/errors.ts";

/** Where a journey goes. */
export type Direction = "grow" | "shrink";

/** A request. */
export interface JourneyRequest {
  /**
   * `release` lets a journey switch that was begun with `hold`; `call-off` ends it, nothing has changed
   * then.
   */
  op: "status" | "grow" | "shrink" | "release" | "call-off";
  /** What is to be released or called off; missing for either. */
  direction?: Direction;
  /** Only check whether it can begin. */
  dryRun?: boolean;
  /** Wait for `release` before the switch. */
  hold?: boolean;
  /** Share of the time spent copying, above 0 to 1. */
  pace?: number;
  /** Call off also if the bucket of the move is gone for good. */
  force?: boolean;
  /** Begin although clients have streams of their own, which do not come along. */
  dropStreams?: boolean;
  /** Shrink to this node. */
  keep?: string;
  /** Leave the history behind. */
  noHistory?: boolean;
  /** The author, for the history. */
  by?: string;
}

/** What a journey does. */
export type JourneyPhase =
  | "preflight"
  | "nats"
  | "blobs"
  | "copy"
  | "catch-up"
  | "verify"
  | "replicas"
  | "hold"
  | "switch"
  | "finish";

/** An error as it is sent. */
export interface JourneyError {
  /** Its code. */
  code: StoreErrorCode;
  /** What was attempted and found. */
  message: string;
  /** What to do. */
  hint?: string;
}

/** The state of a node's journey. */
export interface JourneyStatus {
  /** The node. */
  node: string;
  /** Where the control plane is: `file`, or its bucket. */
  serves: "file" | "bucket";
  /** Where the last journey goes; null if there was none since the start. */
  direction: Direction | null;
  /** `paused`: begun, and continued by the same command. */
  state: "none" | "running" | "paused" | "done" | "failed" | "called-off";
  /** What it does, or did last. */
  phase: JourneyPhase | null;
  /** Records, blobs or replicas done in this phase. */
  done: number;
  /** Number of all; null if unknown. */
  total: number | null;
  /** Number of changes that are still to be copied; null before the first copy. */
  lag: number | null;
  /** Milliseconds for which writes waited at the switch; null before. */
  pause: number | null;
  /** Why the switch was called off and will be tried again, or is not made yet; null for neither. */
  retry: string | null;
  /** Why it failed or is paused; null if it is not. */
  error: JourneyError | null;
  /** What the preflight found, for people. */
  findings: string[];
  /** When it began; null if there was none. */
  startedAt: string | null;
  /** When it ended; null if it has not. */
  endedAt: string | null;
}

/** The same without the node's name, as a server knows it of itself. */
export type JourneyState = Omit<JourneyStatus, "node">;

/** Says what to do on a node that is to be kept when the others are lost. */
export function whenLost(node: string): string {
  return `if a majority of the nodes is lost for good, stop this server and run membershipd shrink ` +
    `--keep ${node} --force --dry-run: it shows what would be lost`;
}

/** An answer: the status, or why the request was refused. */
type Answer = { status: JourneyStatus } | { error: JourneyError };

const PREFIX = "unibus.membershipd.journey";

/** Milliseconds until an answer. */
const PATIENCE_MS = 1_000;
/** The same for calling off, which waits for the end of what is in progress. */
const CALL_OFF_MS = 10_000;

/**
 * Answers requests for a node until the connection is closed, or what it returns is called.
 *
 * @param connection A connection in the control plane's account
 * @param name Returns the node's name; null while it has none
 * @param answer Does what is asked
 */
export function answerJourney(
  connection: NatsConnection,
  name: () => Promise<string | null>,
  answer: (request: JourneyRequest) => Promise<JourneyState>,
): () => void {
  const respond = async (msg: Msg) => {
    // A plan may give it a name while it runs.
    const node = await name();
    if (node === null || msg.subject !== `${PREFIX}.${node}`) return;
    const text = JSON.stringify(
      await answer(msg.json()).then(
        (status): Answer => ({ status: { node, ...status } }),
        (error): Answer => ({ error: errorOf(error) }),
      ),
    );
    if (!connection.isClosed()) msg.respond(text);
  };
  // A caller without an answer asks again.
  const callback = (error: Error | null, msg: Msg) => void (error ?? respond(msg).catch(() => {}));
  const requests = connection.subscribe(`${PREFIX}.*`, { callback });
  return () => requests.unsubscribe();
}

/** Converts an error for sending. */
export function errorOf(error: unknown): JourneyError {
  if (!isStoreError(error)) {
    return { code: "refused", message: error instanceof Error ? error.message : String(error) };
  }
  const { code, message, hint } = error;
  return { code, message, ...hint === undefined ? {} : { hint } };
}

/**
 * Asks a node.
 *
 * @throws {StoreError} the node's own error; `unavailable`: no `membershipd` with a journey answers
 */
export async function askJourney(
  connection: NatsConnection,
  node: string,
  request: JourneyRequest,
): Promise<JourneyStatus> {
  let answer: Answer;
  try {
    const timeout = { timeout: request.op === "call-off" ? CALL_OFF_MS : PATIENCE_MS };
    const msg = await connection.request(`${PREFIX}.${node}`, JSON.stringify(request), timeout);
    answer = msg.json<Answer>();
  } catch (cause) {
    const isAlone = cause instanceof errors.RequestError && cause.isNoResponders();
    throw new StoreError(
      "unavailable",
      isAlone
        ? `No membershipd that can grow or shrink is connected to this nats-server`
        : `membershipd of node ${node} did not answer`,
      { cause, field: "journey", hint: "start it, or look at its log" },
    );
  }
  if ("status" in answer) return answer.status;
  const { code, message, hint } = answer.error;
  throw new StoreError(code, message, hint === undefined ? {} : { hint });
}
