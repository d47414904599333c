/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/**
 * Calls of the control plane from a page of its own: signed as every client signs.
 *
 * @module
 */

import { utf8 } from "../../keys/bytes.ts";
import { digestField } from "../../signature/digest_field.ts";
import { type Signer, signRequest } from "../../signature/sign.ts";

/** Why a call failed, as a code: the server's own, or one of those that only a browser sees. */
export type Failure =
  /** No answer: no network, the server is away, or something between refused. */
  | "unreachable"
  /** An answer that is not the control plane's, such as a proxy's page. */
  | "foreign"
  /** A stable code of the control plane, such as `invite_used`. */
  | (string & Record<never, never>);

/** A call that failed. */
export class ApiError extends Error {
  /** Why: branch on it. */
  readonly code: Failure;
  /** The status of the answer; 0 without one. */
  readonly status: number;
  /** The part at fault, such as `handle`. */
  readonly field: string | null;
  /** Why a signature was refused, such as `created` or `authority`. */
  readonly reason: string | null;
  /** Seconds to wait before the next try. */
  readonly retryAfter: number | null;
  /** The request's id in the server's log. */
  readonly requestId: string | null;

  /** Makes one of an answer's problem details. */
  constructor(code: Failure, message: string, status = 0, problem: Problem = {}) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
    this.field = problem.field ?? null;
    this.reason = problem.reason ?? null;
    this.retryAfter = problem.retryAfter ?? null;
    this.requestId = problem.requestId ?? null;
  }
}

interface Problem {
  code?: string;
  title?: string;
  detail?: string;
  field?: string;
  reason?: string;
  retryAfter?: number;
  requestId?: string;
}

/** What a call may have. */
export interface CallOptions {
  /** The query; what is undefined or null is left out. */
  query?: Readonly<Record<string, string | number | boolean | null | undefined>>;
  /** The body, sent as JSON. */
  json?: unknown;
  /** Ends the call; it rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Milliseconds until it counts as unreachable. Default 15 s. */
  timeout?: number;
}

/** Calls the control plane. */
export interface Api {
  /** Reads. Tried again twice where no answer came. */
  get<T>(path: string, options?: CallOptions): Promise<T>;
  /** Changes something. Made once: whether it was done is not known when no answer comes. */
  post<T>(path: string, json?: unknown, options?: CallOptions): Promise<T>;
  /** Removes something. Made once. */
  delete(path: string, options?: CallOptions): Promise<void>;
  /** How far the server's clock is ahead of this one, milliseconds, where it was asked to tell. */
  readonly clockOffset: number;
}

/** Where this page's control plane is, with a slash at the end: it may be mounted below a path. */
export function siteUrl(): string {
  return new URL(".", location.href).href;
}

const TIMEOUT_MS = 15_000;
const TRIES = 3;
const FIRST_WAIT_MS = 200;

/**
 * Makes a caller.
 *
 * @param signer Who signs; null: nobody, for what anyone may read
 * @param site Where the control plane is. Default: where the page came from
 */
export function createApi(signer: Signer | null, site: string = siteUrl()): Api {
  const base = new URL("v1/", site);
  let clockOffset = 0;

  async function once<T>(method: string, path: string, options: CallOptions): Promise<T> {
    const url = new URL(base.pathname + path, base);
    // A key out of an address that somebody was sent must not lead to something else than it says.
    if (url.pathname !== base.pathname + path) {
      throw new ApiError("not_found", "There is nothing at this path", 404);
    }
    for (const [name, value] of Object.entries(options.query ?? {})) {
      if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
    }
    const body = options.json === undefined ? null : utf8(JSON.stringify(options.json));
    const digest = body && digestField(new Uint8Array(await crypto.subtle.digest("SHA-256", body)));
    const headers: Record<string, string> = { accept: "application/json" };
    if (body) headers["content-type"] = "application/json";
    if (signer !== null) {
      const created = new Date(Date.now() + clockOffset);
      const signable = { method, url, ...digest && { digest } };
      Object.assign(headers, await signRequest(signable, signer, { created }));
    }
    const timeout = AbortSignal.timeout(options.timeout ?? TIMEOUT_MS);
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
    let response: Response;
    let text: string;
    try {
      response = await fetch(url, {
        method,
        headers,
        body,
        signal,
        credentials: "omit",
        cache: "no-store",
        redirect: "error",
        referrerPolicy: "no-referrer",
      });
      text = await response.text();
    } catch (cause) {
      if (options.signal?.aborted) throw options.signal.reason;
      throw Object.assign(new ApiError("unreachable", "The server did not answer"), { cause });
    }
    const answer = parse(text);
    if (response.ok && (answer !== undefined || text === "")) return answer as T;
    const problem = (answer ?? {}) as Problem;
    if (response.ok || typeof problem.code !== "string") {
      const status = `status ${response.status}`;
      throw new ApiError(
        "foreign",
        `The answer is not the control plane's (${status})`,
        response.status,
      );
    }
    const message = problem.detail ?? problem.title ?? problem.code;
    const error = new ApiError(problem.code, message, response.status, problem);
    if (error.reason === "created") learnClock(response.headers.get("date"));
    throw error;
  }

  /** Only where nobody sits between: who could set our clock could have us sign for a time to come. */
  function learnClock(date: string | null): void {
    const time = Date.parse(date ?? "");
    if (globalThis.isSecureContext && !Number.isNaN(time)) clockOffset = time - Date.now();
  }

  async function call<T>(method: string, path: string, options: CallOptions): Promise<T> {
    let corrected = false;
    for (let tried = 1;; tried++) {
      try {
        return await once<T>(method, path, options);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.reason === "created" && !corrected) {
          // Nothing was done: who asked could not be told.
          corrected = true;
          continue;
        }
        const isUnanswered = error.code === "unreachable" || error.status >= 502;
        if (method !== "GET" || !isUnanswered || tried >= TRIES) throw error;
        await pause(
          error.retryAfter ? error.retryAfter * 1000 : FIRST_WAIT_MS * 2 ** tried,
          options.signal,
        );
      }
    }
  }

  return {
    get: (path, options = {}) => call("GET", path, options),
    post: (path, json, options = {}) =>
      call("POST", path, json === undefined ? options : { ...options, json }),
    delete: (path, options = {}) => call("DELETE", path, options),
    get clockOffset() {
      return clockOffset;
    },
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
