/**
 * Complements the JetStream library: deadlines with retries, raw header bytes, requests that it has
 * no method for, and the mapping of its errors.
 *
 * @module
 */

import {
  type ApiError,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  type PurgeOpts,
  type StreamInfo,
  type StreamUpdateConfig,
} from "@nats-io/jetstream";
import type { Msg, MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import { errors } from "@nats-io/transport-node";
import { pause, within } from "../../core/async/wait.ts";
import { StoreError } from "../../core/errors.ts";
import { counted } from "../../core/text/counted.ts";

/** A write lost its compare-and-set: the key's revision is not the expected one. */
export class WrongRevision extends Error {
  override readonly name = "WrongRevision";
  /**
   * The ID of the attempt. It may have been rejected by a replaced leader but written by its
   * successor.
   */
  txn?: string;
}

/** No answer, or an error that a retry may resolve. The outcome of a write is unknown. */
export class Transient extends Error {
  override readonly name = "Transient";
}

/** Not made now, for example because another write of the key is in progress. */
export class InFlight extends Transient {}

/** A single guarded write with an unknown outcome. */
export class Ambiguous extends Error {}

/** Subscribes. Throws `Transient` or `closed`. */
export function subscribe(
  nc: NatsConnection,
  subject: string,
  options: Parameters<NatsConnection["subscribe"]>[1],
): ReturnType<NatsConnection["subscribe"]> {
  try {
    return nc.subscribe(subject, options);
  } catch (cause) {
    throw ofConnection(nc, cause);
  }
}

/** JetStream error codes that are handled; the first five have names in the library. */
export const CODE = {
  notEnabledForAccount: JetStreamApiCodes.JetStreamNotEnabledForAccount,
  noMessage: JetStreamApiCodes.NoMessageFound,
  streamNotFound: JetStreamApiCodes.StreamNotFound,
  wrongLastSequence: JetStreamApiCodes.StreamWrongLastSequence,
  wrongLastSequenceInFlight: JetStreamApiCodes.StreamWrongLastSequenceUnknown,
  insufficientResources: 10023,
  noPeers: 10005,
  notAvailable: 10008,
  memoryOrStorageFull: [10028, 10047, 10077],
  notEnabled: 10076,
  replicasNotSupported: 10074,
  streamNameInUse: 10058,
  streamCreateFailed: 10049,
  batchIncomplete: 10176,
} as const;

/** Returns the JetStream error code behind an error of this module, or 0. */
export function apiCode(error: unknown): number {
  return error instanceof Error && error.cause instanceof JetStreamApiError ? error.cause.code : 0;
}

const encoder = new TextEncoder();

/**
 * Returns headers that are encoded already: the library calls only `encode` of what it sends. Its own
 * headers cost 4 µs a message, an eighth of the client's work.
 */
export function rawHeaders(lines: string): MsgHdrs {
  const bytes = encoder.encode(`NATS/1.0\r\n${lines}\r\n`);
  return { encode: () => bytes } as unknown as MsgHdrs;
}

/** Returns the milliseconds until `deadline`, at least 1. */
export function left(deadline: number): number {
  return Math.max(1, deadline - Date.now());
}

/** Waits; rejects with `aborted` if the signal is aborted. */
export async function wait(ms: number, signal?: AbortSignal): Promise<void> {
  await pause(ms, signal).catch(() => {
    throw aborted(signal!);
  });
}

/** Creates the error for an aborted signal of the caller. */
export function aborted(signal: AbortSignal): StoreError {
  return new StoreError("aborted", "Aborted by the caller's signal", { cause: signal.reason });
}

/** Sends one request. Rejects with `Transient` or `closed`. */
export async function request(
  nc: NatsConnection,
  subject: string,
  payload: string | Uint8Array,
  timeout: number,
): Promise<Msg> {
  try {
    return await nc.request(subject, payload, { timeout });
  } catch (cause) {
    throw ofConnection(nc, cause);
  }
}

/** Sends one message without waiting for an answer. Throws `Transient` or `closed`. */
export function publish(
  nc: NatsConnection,
  subject: string,
  payload: string | Uint8Array,
  options: { reply?: string; headers?: MsgHdrs } = {},
): void {
  try {
    nc.publish(subject, payload, options);
  } catch (cause) {
    throw ofConnection(nc, cause);
  }
}

/** Hint for a connection that is not permitted to use JetStream. */
export const NO_ACCOUNT =
  "these credentials may not use the bucket: connect with the service keys, or to an account with JetStream";

/** Returns what an error of the connection means. */
export function ofConnection(nc: NatsConnection, cause: unknown): Error {
  const inner = rootOf(cause);
  if (nc.isClosed() || inner instanceof errors.ClosedConnectionError) {
    return new StoreError("closed", "The connection is closed", { cause });
  }
  if (inner instanceof errors.PermissionViolationError) {
    return new StoreError("unavailable", `The server denied permission: ${inner.message}`, {
      cause,
      hint: NO_ACCOUNT,
    });
  }
  const text = inner instanceof Error ? inner.message || inner.name : String(inner);
  return new Transient(text, { cause });
}

/** Whether no stream took a message: there is no leader, or the subject belongs to no stream. */
export function hasNoResponder(error: unknown): boolean {
  const inner = rootOf(error);
  return inner instanceof errors.NoRespondersError;
}

/** Unwraps errors of the libraries, such as a request's error or "JetStream is not enabled". */
function rootOf(cause: unknown): unknown {
  let root = cause;
  while (root instanceof Error && root.cause instanceof Error) root = root.cause;
  return root;
}

/** Waits for the library's answer; rejects with a mapped error. `what` describes the attempt. */
export async function answered<T>(
  nc: NatsConnection,
  what: string,
  answer: Promise<T>,
): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    const root = rootOf(cause);
    if (root instanceof JetStreamApiError) throw ofApi(root, what);
    throw root instanceof Transient ? root : ofConnection(nc, cause);
  }
}

/** Limits of a call to JetStream. */
export interface CallOptions {
  /** Deadline of the attempts, in milliseconds since the epoch. */
  deadline: number;
  /**
   * Timeout of an attempt in milliseconds: a request sent while there is no leader is dropped.
   * Default 2,000.
   */
  tryTimeout?: number;
  /** Aborts the attempts. */
  signal?: AbortSignal | undefined;
}

const TRY_TIMEOUT = 2000;
/** {@link CallOptions.tryTimeout} of what creates or changes a stream or a consumer. */
export const CHANGE_TIMEOUT = 5000;

/**
 * Calls JetStream's manager until it answers or the deadline passes. Each try has a manager of its own,
 * because a manager has one timeout for all requests.
 */
export function manage<T>(
  nc: NatsConnection,
  what: string,
  call: (jsm: JetStreamManager) => Promise<T>,
  { deadline, tryTimeout = TRY_TIMEOUT, signal }: CallOptions,
): Promise<T> {
  return retry(what, deadline, async () => {
    const timeout = Math.min(left(deadline), tryTimeout);
    const jsm = await jetstreamManager(nc, { checkAPI: false, timeout });
    // Some calls send more than one request.
    const done = within(left(deadline), call(jsm), () => {
      throw new Transient("timeout");
    });
    return await answered(nc, what, done);
  }, signal);
}

/** Reads what the manager returns, or `null` where there is no such stream. */
export async function orNone<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (apiCode(error) === CODE.streamNotFound) return null;
    throw error;
  }
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

/** Changes the configuration of a stream. */
export function updateStream(
  nc: NatsConnection,
  stream: string,
  changes: Partial<StreamUpdateConfig>,
  options: Omit<CallOptions, "tryTimeout">,
): Promise<StreamInfo> {
  const update = (jsm: JetStreamManager) => jsm.streams.update(stream, changes);
  return manage(nc, `Update stream ${stream}`, update, { ...options, tryTimeout: CHANGE_TIMEOUT });
}

/** Removes messages of a stream. */
export async function purgeStream(
  nc: NatsConnection,
  stream: string,
  which: PurgeOpts,
  deadline: number,
): Promise<void> {
  const purge = (jsm: JetStreamManager) => jsm.streams.purge(stream, which);
  await manage(nc, `Purge stream ${stream}`, purge, { deadline, tryTimeout: CHANGE_TIMEOUT });
}

/** Sends a request that the manager has no method for, until it is answered or the deadline passes. */
export function ask<T>(
  nc: NatsConnection,
  name: string,
  payload: unknown,
  { deadline, tryTimeout = TRY_TIMEOUT, signal }: CallOptions,
): Promise<T> {
  const what = `JetStream ${name}`;
  return retry(what, deadline, async () => {
    const timeout = Math.min(left(deadline), tryTimeout);
    const body = JSON.stringify(payload);
    return parseAnswer<T>(await request(nc, `$JS.API.${name}`, body, timeout), what);
  }, signal);
}

/** Creates the error for a server with full storage. */
export function storageFull(what: string, found: string, cause?: unknown): StoreError {
  return new StoreError(
    "unavailable",
    `${what}: the storage of nats-server is full: ${found}; make room on its disk, or raise ` +
      "max_file_store, and restart nats-server",
    { cause, hint: "then run the same command again; a move or an import continues" },
  );
}

/** Maps an error answer; `what` describes the attempt. */
export function ofApi(error: JetStreamApiError, what: string): Error {
  const { code = 0, status, message } = error;
  if (code === CODE.wrongLastSequenceInFlight) return new InFlight(message);
  if (code === CODE.wrongLastSequence) return new WrongRevision(message);
  const text = `${message} (${code || status})`;
  if (
    code === CODE.notAvailable || code === CODE.batchIncomplete || code === CODE.notEnabled ||
    // Seen when another stream of the account is deleted at that moment.
    code === CODE.streamCreateFailed ||
    status === 503 || status === 408
  ) {
    return new Transient(text, { cause: error });
  }
  if ((CODE.memoryOrStorageFull as readonly number[]).includes(code)) {
    return storageFull(what, text, error);
  }
  return new StoreError("unavailable", `${what}: ${text}`, {
    cause: error,
    ...code === CODE.notEnabledForAccount && { hint: NO_ACCOUNT },
  });
}

/** Parses an answer received without the library; throws a mapped error. */
export function parseAnswer<T>(msg: Msg, what: string): T {
  const answer = parseJson<T & { error?: ApiError }>(msg);
  if (answer.error) throw ofApi(new JetStreamApiError(answer.error), what);
  return answer;
}

/** Parses an answer. Throws `Transient` if it is not JSON. */
export function parseJson<T>(msg: Msg): T {
  try {
    return msg.json();
  } catch (cause) {
    throw new Transient("the answer is not JSON", { cause });
  }
}

/**
 * Calls `attempt` until it succeeds, fails permanently, or the deadline passes (`unavailable`).
 * Retries only `Transient` errors, with increasing delays.
 */
export async function retry<T>(
  what: string,
  deadline: number,
  attempt: (tries: number) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  for (let tries = 1;; tries++) {
    if (signal?.aborted) throw aborted(signal);
    try {
      return await attempt(tries);
    } catch (error) {
      if (!(error instanceof Transient)) throw error;
      const pause = Math.min(20 * 2 ** Math.min(tries, 5), 250) * (0.5 + Math.random() / 2);
      if (Date.now() + pause >= deadline) {
        throw new StoreError(
          "unavailable",
          `${what}: ${error.message} (${counted(tries, "attempt")})`,
          {
            cause: error,
          },
        );
      }
      await wait(pause, signal);
    }
  }
}
