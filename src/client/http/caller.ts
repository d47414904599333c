/**
 * Calls: signed, in time, and again where that is safe.
 *
 * @module
 */

import { orAbort } from "../../core/async/wait.ts";
import { isLoopbackUrl } from "../../core/host/loopback.ts";
import { isStoreError, StoreError } from "../../core/errors.ts";
import { type Signer, signRequest } from "../../signature/sign.ts";
import { answerOf, failureOf } from "./failure.ts";
import type { Fetch } from "../types.ts";

/** What to ask. */
export interface Call<T> {
  method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** Below the base URL, its segments percent-encoded. */
  path: string;
  query?: Record<string, unknown>;
  headers?: Record<string, string>;
  body?: Uint8Array | Upload;
  /** Whether it is signed. Default true. */
  signed?: boolean;
  /** Statuses besides 2xx that are an answer. */
  accept?: readonly number[];
  /** Reads the answer, within the time. */
  read: (response: Response) => Promise<T> | T;
  /** Milliseconds; default the client's. */
  timeout?: number;
  signal?: AbortSignal;
}

/** A body that is streamed. */
export interface Upload {
  /** The value of `Content-Digest`. */
  digest: string;
  /** Whether it can be opened more than once. */
  reopens: boolean;
  /** Begins it. */
  open(): ReadableStream<Uint8Array>;
}

/** What calls go through. */
export interface CallerOptions {
  /** Where the control plane is; its path ends with a slash. */
  base: URL;
  /** Signs the calls; null: only those that need no signature can be made. */
  signer: Signer | null;
  /** The value of `Content-Digest` for a body. */
  digest(body: Uint8Array): string | Promise<string>;
  fetch: Fetch;
  /** Milliseconds of a call with all its retries. */
  timeout: number;
  /** Most retries of a call. */
  retries: number;
}

/** Done twice, they have done what they do once, and answer the same; a second DELETE answers a miss. */
const REPEATABLE: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT"]);
const FIRST_WAIT_MS = 100;

/** Makes calls. */
export class Caller {
  readonly #options: CallerOptions;
  readonly #trustsClock: boolean;
  /** What to add to our clock to have the server's, milliseconds. */
  #clockOffset = 0;
  #closed = false;

  /** Makes one. */
  constructor(options: CallerOptions) {
    this.#options = options;
    // Who sits between could have us sign for a time to come, and use it then.
    this.#trustsClock = options.base.protocol === "https:" || isLoopbackUrl(options.base);
  }

  /** Milliseconds of a call that does not set its own. */
  get timeout(): number {
    return this.#options.timeout;
  }

  /** How far the server's clock is ahead of ours, milliseconds, where a refusal told. */
  get clockOffset(): number {
    return this.#clockOffset;
  }

  /** Refuses later calls. */
  close(): void {
    this.#closed = true;
  }

  /** Makes a call, with its retries. */
  async call<T>(call: Call<T>): Promise<T> {
    if (this.#closed) throw new StoreError("closed", "The client is closed");
    const timeout = call.timeout ?? this.#options.timeout;
    const deadline = performance.now() + timeout;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), timeout);
    const signal = call.signal ? AbortSignal.any([call.signal, late.signal]) : late.signal;
    const repeats = !(call.body && "open" in call.body) || call.body.reopens;
    let corrected = false;
    try {
      for (let tried = 0;;) {
        try {
          return await this.#once(call, signal);
        } catch (error) {
          if (!isStoreError(error) || !repeats || signal.aborted) throw error;
          if (!corrected && this.#correctClock(error)) {
            corrected = true;
            continue;
          }
          const wait = tried < this.#options.retries ? waitBefore(call.method, error, tried) : null;
          tried++;
          // A wait that ends too late is none: the error says more than a time-out would.
          if (wait === null || performance.now() + wait >= deadline) throw error;
          await pause(wait, signal).catch((cause) => {
            throw unanswered(call, signal, cause, timeout);
          });
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }

  async #once<T>(call: Call<T>, signal: AbortSignal): Promise<T> {
    const request = await this.#request(call, signal);
    try {
      const response = await orAbort(this.#options.fetch(request), signal);
      if (!response.ok && call.accept?.includes(response.status) !== true) {
        throw await orAbort(failureOf(response, nameOf(call)), signal);
      }
      return await orAbort(call.read(response), signal);
    } catch (error) {
      if (isStoreError(error)) throw error;
      throw unanswered(call, signal, error, call.timeout ?? this.#options.timeout);
    }
  }

  async #request(call: Call<unknown>, signal: AbortSignal): Promise<Request> {
    const { base, signer } = this.#options;
    const url = new URL(`.${call.path}`, base);
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
    }
    const { method, body } = call;
    const upload = body && "open" in body ? body : null;
    const headers = new Headers(call.headers);
    if (call.signed !== false) {
      if (signer === null) {
        throw new StoreError("unauthenticated", `${nameOf(call)} needs an identity to sign it`);
      }
      const digest = upload?.digest ?? (body && await this.#options.digest(body as Uint8Array));
      const created = new Date(Date.now() + this.#clockOffset);
      const signed = { method, url, ...(digest && { digest }) };
      const fields = await signRequest(signed, signer, { created });
      for (const [name, value] of Object.entries(fields)) headers.set(name, value);
    }
    const init: RequestInit & { duplex: "half" } = {
      method,
      headers,
      signal,
      // Signed for this target and no other.
      redirect: "manual",
      duplex: "half",
      ...(body && { body: upload?.open() ?? (body as Uint8Array<ArrayBuffer>) }),
    };
    return new Request(url, init);
  }

  /** Takes the server's time where it refused ours; whether another try makes sense. */
  #correctClock(error: StoreError): boolean {
    const answer = answerOf(error);
    if (error.code !== "unauthenticated" || answer?.reason !== "created") return false;
    const time = Date.parse(answer.serverTime ?? "");
    if (!this.#trustsClock || Number.isNaN(time)) return false;
    this.#clockOffset = time - Date.now();
    return true;
  }
}

/** How long to wait before a call may be made again, milliseconds; `null`: it may not. */
function waitBefore(method: string, error: StoreError, tried: number): number | null {
  const answer = answerOf(error);
  // A refusal for the rate or the load was no work done. Anything else may have been.
  const isRefused = answer?.status === 429 || answer?.reason === "overloaded";
  const isUnanswered = answer === null ? error.code === "unavailable" : answer.status >= 502;
  if (!isRefused && !(isUnanswered && REPEATABLE.has(method))) return null;
  if (answer?.retryAfter !== undefined) return answer.retryAfter * 1000;
  return FIRST_WAIT_MS * 2 ** tried * (0.5 + Math.random());
}

function nameOf(call: Call<unknown>): string {
  return `${call.method} ${call.path}`;
}

/** The error of a call without an answer: ended by its caller, too late, or cut off. */
function unanswered(
  call: Call<unknown>,
  signal: AbortSignal,
  cause: unknown,
  timeout: number,
): StoreError {
  if (call.signal?.aborted) {
    return new StoreError("aborted", `${nameOf(call)} was ended by its caller`, { cause });
  }
  const why = signal.aborted
    ? `within ${timeout} ms`
    : `: ${cause instanceof Error ? cause.message : String(cause)}`;
  return new StoreError("unavailable", `${nameOf(call)} got no answer ${why}`, { cause });
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout>;
  const over = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
  return orAbort(over, signal).finally(() => clearTimeout(timer));
}
