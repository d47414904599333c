/**
 * A call to the control plane, and when it may be sent again.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { answerOf } from "./failure.ts";

/** A call to the control plane. */
export interface Call<T> {
  method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** Below the base URL, its segments percent-encoded. */
  path: string;
  query?: Record<string, unknown>;
  headers?: Record<string, string>;
  body?: Uint8Array | Upload;
  /** Whether to sign it. Default true. */
  signed?: boolean;
  /** Statuses besides 2xx that count as success. */
  accept?: readonly number[];
  /** Reads the response, within the time limit. */
  read: (response: Response) => Promise<T> | T;
  /** Time limit in milliseconds. Default: the client's. */
  timeout?: number;
  /** How long the server may wait on purpose before it responds, milliseconds. Default 0. */
  waits?: number;
  signal?: AbortSignal;
}

/** A streamed body. */
export interface Upload {
  /** The value of `Content-Digest`. */
  digest: string;
  /** Whether it can be opened more than once. */
  reopens: boolean;
  /** Opens the stream. */
  open(): ReadableStream<Uint8Array>;
}

/** Sends a call once, or once to each of several nodes. */
export interface Target {
  /** Milliseconds that the server's clock is ahead of the local one, known after it refused a time. */
  readonly clockOffset: number;
  /** The highest generation seen. */
  readonly generation: number;
  /** The newest revision seen. */
  readonly revision: string | null;
  /** Sends it. The reason of `signal` is the time limit that has passed, in milliseconds. */
  send<T>(call: Call<T>, signal: AbortSignal): Promise<T>;
}

/** Methods whose repetition has the same effect and response; a repeated DELETE is answered with 404. */
const REPEATABLE: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT"]);
const FIRST_WAIT_MS = 100;

/** Whether the body of a call can be sent again. */
export function canResend({ body }: Call<unknown>): boolean {
  return !(body && "open" in body) || body.reopens;
}

/** Whether a call has the same effect and response when it is made twice. */
export function isRepeatable({ method }: Call<unknown>): boolean {
  return REPEATABLE.has(method);
}

/** Whether the server refused a call before it did anything, and says so. */
export function wasRefused(error: StoreError): boolean {
  const answer = answerOf(error);
  return answer?.status === 429 || ["overloaded", "not_ready"].includes(answer?.reason ?? "");
}

/** Whether there was no response, or one of a server that could not do the work. */
export function isUnanswered(error: StoreError): boolean {
  const answer = answerOf(error);
  return answer === null ? error.code === "unavailable" : answer.status >= 502;
}

/** Returns the milliseconds to wait before a retry, or `null` if the call must not be retried. */
export function waitBefore(call: Call<unknown>, error: StoreError, tried: number): number | null {
  // What was refused was not executed. Any other call may have been.
  if (!wasRefused(error) && !(isUnanswered(error) && isRepeatable(call))) return null;
  const seconds = answerOf(error)?.retryAfter;
  return seconds === undefined
    ? FIRST_WAIT_MS * 2 ** tried * (0.5 + Math.random())
    : seconds * 1000;
}

/** Returns the name of a call, for messages. */
export function nameOf(call: Call<unknown>): string {
  return `${call.method} ${call.path}`;
}

/** Returns the error of a call without a response: aborted, timed out, or disconnected. */
export function unanswered(
  call: Call<unknown>,
  signal: AbortSignal,
  cause: unknown,
): StoreError {
  if (call.signal?.aborted) {
    return new StoreError("aborted", `${nameOf(call)} was aborted`, { cause });
  }
  const why = signal.aborted
    ? ` within ${signal.reason} ms`
    : `: ${cause instanceof Error ? cause.message : String(cause)}`;
  return new StoreError("unavailable", `${nameOf(call)} got no response${why}`, { cause });
}
