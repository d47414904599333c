/**
 * Calls with signatures, a time limit, and retries where they are safe.
 *
 * @module
 */

import { orAbort, pause } from "../../core/async/wait.ts";
import { isLoopbackUrl } from "../../core/host/loopback.ts";
import { isStoreError, StoreError } from "../../core/errors.ts";
import { GENERATION_HEADER } from "../../core/status.ts";
import { type Signer, signRequest } from "../../signature/sign.ts";
import { answerOf, failureOf } from "./failure.ts";
import type { Fetch } from "../types.ts";

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

/** Options of a {@link Caller}. */
export interface CallerOptions {
  /** URL of the control plane; its path ends with a slash. */
  base: URL;
  /** Signs the calls; with `null`, only calls that need no signature can be made. */
  signer: Signer | null;
  /** Returns the value of `Content-Digest` for a body. */
  digest(body: Uint8Array): string | Promise<string>;
  fetch: Fetch;
  /** Time limit of a call with all its retries, milliseconds. */
  timeout: number;
  /** Maximum number of retries of a call. */
  retries: number;
  /** The lowest generation of a control plane to accept. Default 0. */
  generation?: number;
}

/** Methods whose repetition has the same effect and response; a repeated DELETE is answered with 404. */
const REPEATABLE: ReadonlySet<string> = new Set(["GET", "HEAD", "PUT"]);
const FIRST_WAIT_MS = 100;

/** Sends calls to one control plane. */
export class Caller {
  readonly #options: CallerOptions;
  readonly #trustsClock: boolean;
  #clockOffset = 0;
  #generation: number;
  #closed = false;

  /** Creates a caller. Sends nothing. */
  constructor(options: CallerOptions) {
    this.#options = options;
    this.#generation = options.generation ?? 0;
    // Otherwise an attacker on the network could get a signature for a future time, and use it then.
    this.#trustsClock = options.base.protocol === "https:" || isLoopbackUrl(options.base);
  }

  /** Default time limit of a call, milliseconds. */
  get timeout(): number {
    return this.#options.timeout;
  }

  /** Milliseconds that the server's clock is ahead of the local one, known after it refused a time. */
  get clockOffset(): number {
    return this.#clockOffset;
  }

  /** Rejects later calls with `closed`. */
  close(): void {
    this.#closed = true;
  }

  /** Sends a call and retries it if that is safe. */
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
          // If the wait would exceed the time limit, this error says more than a time-out would.
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
      this.#judge(response, call);
      if (!response.ok && call.accept?.includes(response.status) !== true) {
        throw await orAbort(failureOf(response, nameOf(call)), signal);
      }
      return await orAbort(call.read(response), signal);
    } catch (error) {
      if (isStoreError(error)) throw error;
      throw unanswered(call, signal, error, call.timeout ?? this.#options.timeout);
    }
  }

  /** Refuses a control plane that another has replaced; a node that came back late still answers. */
  #judge({ headers, body, ok }: Response, call: Call<unknown>): void {
    const said = headers.get(GENERATION_HEADER);
    // A proxy's own error says nothing of the control plane behind it.
    if (said === null && !ok) return;
    const generation = Number(said) || 0;
    if (generation < this.#generation) {
      body?.cancel().catch(() => {});
      throw new StoreError(
        "refused",
        `${nameOf(call)}: the control plane has generation ${generation}, ` +
          `this client has seen ${this.#generation}`,
        { field: "generation", hint: "it was replaced by another: use the URL of that" },
      );
    }
    this.#generation = generation;
  }

  /** The highest generation seen. */
  get generation(): number {
    return this.#generation;
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
        throw new StoreError("unauthenticated", `${nameOf(call)} needs a signature`, {
          hint: "pass identity to createClient",
        });
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
      // The signature is valid for this target only.
      redirect: "manual",
      duplex: "half",
      ...(body && { body: upload?.open() ?? (body as Uint8Array<ArrayBuffer>) }),
    };
    return new Request(url, init);
  }

  /** Adopts the server's time if it rejected ours; returns whether to retry at once. */
  #correctClock(error: StoreError): boolean {
    const answer = answerOf(error);
    if (error.code !== "unauthenticated" || answer?.reason !== "created") return false;
    const time = Date.parse(answer.serverTime ?? "");
    if (!this.#trustsClock || Number.isNaN(time)) return false;
    this.#clockOffset = time - Date.now();
    return true;
  }
}

/** Returns the milliseconds to wait before a retry, or `null` if the call must not be retried. */
function waitBefore(method: string, error: StoreError, tried: number): number | null {
  const answer = answerOf(error);
  // A request refused by a rate limit or for overload was not executed. Any other may have been.
  const isRefused = answer?.status === 429 || answer?.reason === "overloaded";
  const isUnanswered = answer === null ? error.code === "unavailable" : answer.status >= 502;
  if (!isRefused && !(isUnanswered && REPEATABLE.has(method))) return null;
  if (answer?.retryAfter !== undefined) return answer.retryAfter * 1000;
  return FIRST_WAIT_MS * 2 ** tried * (0.5 + Math.random());
}

function nameOf(call: Call<unknown>): string {
  return `${call.method} ${call.path}`;
}

/** Returns the error of a call without a response: aborted, timed out, or disconnected. */
function unanswered(
  call: Call<unknown>,
  signal: AbortSignal,
  cause: unknown,
  timeout: number,
): StoreError {
  if (call.signal?.aborted) {
    return new StoreError("aborted", `${nameOf(call)} was aborted`, { cause });
  }
  const why = signal.aborted
    ? ` within ${timeout} ms`
    : `: ${cause instanceof Error ? cause.message : String(cause)}`;
  return new StoreError("unavailable", `${nameOf(call)} got no response${why}`, { cause });
}
