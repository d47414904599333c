/**
 * The protocol underneath: headers, requests with a deadline, and what a server's answer means.
 * The vendor's codes are named here and nowhere else.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { Msg, MsgHdrs, NatsConnection } from "@nats-io/transport-node";
import { errors } from "@nats-io/transport-node";
import { pause } from "../../core/async/wait.ts";
import { StoreError } from "../../core/errors.ts";

/** A write lost its compare-and-set: the key's revision is not the expected one. */
export class WrongRevision extends Error {
  override readonly name = "WrongRevision";
  /** The id of the try that was told so. A leader that had been replaced may have, and another made it. */
  txn?: string;
}

/** No answer, or one that another try may turn into a better one. The outcome of a write is open. */
export class Transient extends Error {
  override readonly name = "Transient";
}

/** Rejected because another write of the key is under way: this one was not made. */
export class InFlight extends Transient {}

/** A single guarded write whose outcome is open. */
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

/** The codes of JetStream's errors that we act on. */
export const CODE = {
  insufficientResources: 10023,
  noPeers: 10005,
  notAvailable: 10008,
  memoryOrStorageFull: [10028, 10047, 10077],
  noMessage: 10037,
  notEnabled: 10076,
  notEnabledForAccount: 10039,
  replicasNotSupported: 10074,
  streamNotFound: 10059,
  streamNameInUse: 10058,
  streamCreateFailed: 10049,
  wrongLastSequence: 10071,
  wrongLastSequenceInFlight: 10164,
  batchIncomplete: 10176,
} as const;

/** An error answer of JetStream. */
export interface ApiError {
  /** HTTP-like class. */
  code: number;
  /** The precise code. */
  err_code?: number;
  /** The server's words. */
  description?: string;
}

/** JetStream's code in an error answer that `error` was made of, or 0. */
export function apiCode(error: unknown): number {
  if (!(error instanceof Error)) return 0;
  return (error.cause as Partial<ApiError> | undefined)?.err_code ?? 0;
}

const encoder = new TextEncoder();

/** Headers as bytes: the library's own cost a map and three copies a message. */
export class RawHeaders {
  readonly #bytes: Uint8Array;

  constructor(lines: string) {
    this.#bytes = encoder.encode(`NATS/1.0\r\n${lines}\r\n`);
  }

  /** What the library calls to put the headers on the wire. */
  encode(): Uint8Array {
    return this.#bytes;
  }

  /** The library's type for a header argument; it uses nothing but {@link encode}. */
  asHeaders(): MsgHdrs {
    return this as unknown as MsgHdrs;
  }
}

/** Milliseconds left until `deadline`, at least 1. */
export function left(deadline: number): number {
  return Math.max(1, deadline - Date.now());
}

/** Waits; rejects with `aborted` when the signal is aborted. */
export async function wait(ms: number, signal?: AbortSignal): Promise<void> {
  await pause(ms, signal).catch(() => {
    throw aborted(signal!);
  });
}

/** The error for a caller's own signal. */
export function aborted(signal: AbortSignal): StoreError {
  return new StoreError("aborted", "Aborted by the caller's signal", { cause: signal.reason });
}

/** Sends one request. Rejects with `Transient` or `closed`. */
export async function request(
  nc: NatsConnection,
  subject: string,
  payload: string | Uint8Array,
  timeout: number,
  headers?: RawHeaders,
): Promise<Msg> {
  try {
    return await nc.request(subject, payload, {
      timeout,
      ...(headers === undefined ? {} : { headers: headers.asHeaders() }),
    });
  } catch (cause) {
    throw ofConnection(nc, cause);
  }
}

/** Sends one message, with no answer. Throws `Transient` or `closed`. */
export function publish(
  nc: NatsConnection,
  subject: string,
  payload: string | Uint8Array,
  options: { reply?: string; headers?: RawHeaders } = {},
): void {
  const { reply, headers } = options;
  try {
    nc.publish(subject, payload, {
      ...(reply === undefined ? {} : { reply }),
      ...(headers === undefined ? {} : { headers: headers.asHeaders() }),
    });
  } catch (cause) {
    throw ofConnection(nc, cause);
  }
}

/** What to do where the server does not let the connection use JetStream. */
export const NO_ACCOUNT =
  "these credentials may not use the bucket: connect with the service keys, or to an account with JetStream";

/** What an error of the connection means. */
export function ofConnection(nc: NatsConnection, cause: unknown): Error {
  const inner = cause instanceof errors.RequestError && cause.cause ? cause.cause : cause;
  if (nc.isClosed() || inner instanceof errors.ClosedConnectionError) {
    return new StoreError("closed", "The connection is closed", { cause });
  }
  if (inner instanceof errors.PermissionViolationError) {
    return new StoreError("unavailable", `The server forbids it: ${inner.message}`, {
      cause,
      hint: NO_ACCOUNT,
    });
  }
  const text = inner instanceof Error ? inner.message || inner.name : String(inner);
  return new Transient(text, { cause });
}

/** The error for a server that has no room to store anything. */
export function storageFull(what: string, found: string, cause?: unknown): StoreError {
  return new StoreError(
    "unavailable",
    `${what}: the storage of nats-server is full: ${found}; make room on its disk, or raise ` +
      "max_file_store, and restart nats-server",
    { cause, hint: "then run the same command again; a move or an import continues" },
  );
}

/** What an error answer means; `what` says what was attempted. */
export function ofApi(error: ApiError, what: string): Error {
  const { err_code: code = 0, description = "no description" } = error;
  if (code === CODE.wrongLastSequenceInFlight) return new InFlight(description);
  if (code === CODE.wrongLastSequence) return new WrongRevision(description);
  const text = `${description} (${code || error.code})`;
  if (
    code === CODE.notAvailable || code === CODE.batchIncomplete || code === CODE.notEnabled ||
    // Seen when another stream of the account is deleted at that moment.
    code === CODE.streamCreateFailed ||
    error.code === 503 || error.code === 408
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

/** Parses a JetStream answer; throws what its error means. */
export function parseAnswer<T>(msg: Msg, what: string): T {
  if (msg.data.length === 0) {
    const status = msg.headers?.code ?? 0;
    throw new Transient(status === 503 ? "no responders" : `empty answer (${status})`);
  }
  let answer: T & { error?: ApiError };
  try {
    answer = JSON.parse(Buffer.from(msg.data).toString("utf8"));
  } catch (cause) {
    throw new StoreError("unavailable", `${what}: the answer is not JSON`, { cause });
  }
  if (answer.error) throw ofApi(answer.error, what);
  return answer;
}

/**
 * Tries `attempt` until it answers, the deadline passes (`unavailable`) or it fails for good. The
 * one place that says what is retried: what is `Transient`, with a growing pause.
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
        throw new StoreError("unavailable", `${what}: ${error.message} (${tries} tries)`, {
          cause: error,
        });
      }
      await wait(pause, signal);
    }
  }
}
