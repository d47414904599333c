/**
 * Responses of a control plane: each has the same headers, errors become problem details, and all are
 * counted and reported.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import type { Context } from "hono";
import { StoreError } from "../core/errors.ts";
import { GENERATION_HEADER } from "../core/status.ts";
import type { Store } from "../core/store.ts";
import type { Recorder } from "./admin/history.ts";
import type { Metrics } from "./admin/metrics.ts";
import type { ControlPlaneOptions, Peer } from "./options.ts";
import { problemOf, Refusal } from "./pipeline/problem.ts";
import { Overloaded } from "./pipeline/shed.ts";
import { ROUTES } from "./routes.ts";

/** What the routes of a control plane find in their context. */
export type Env = { Bindings: { peer?: Peer } };

/** The paths of requests that wait for something to happen. */
const WAITING = new Set(ROUTES.filter((route) => route.waits).map((route) => route.path));

/** An overload is reported at most this often, milliseconds. */
const TELL_MS = 1_000;

/** A request that was refused because of overload had no effect, so any may be repeated. */
const OVERLOADED = [1, 2, 3].map((retryAfter) =>
  new Refusal("unavailable", "The control plane is overloaded", {
    reason: "overloaded",
    retryAfter,
  })
);

/** Makes the responses of one control plane. */
export class Answers {
  readonly #store: Pick<Store, "generation">;
  readonly #metrics: Metrics;
  readonly #recorder: Recorder;
  readonly #tell: ControlPlaneOptions["onEvent"];
  readonly #shed = { count: 0, toldAt: -Infinity };

  constructor(
    store: Pick<Store, "generation">,
    metrics: Metrics,
    recorder: Recorder,
    tell: ControlPlaneOptions["onEvent"],
  ) {
    this.#store = store;
    this.#metrics = metrics;
    this.#recorder = recorder;
    this.#tell = tell;
  }

  /** Responds with the result of `work`, or with the problem it met. */
  async answer(
    c: Context<Env>,
    route: string,
    work: (requestId: string) => Response | Promise<Response>,
  ): Promise<Response> {
    const began = performance.now();
    const { raw: request, method } = c.req;
    const requestId = requestIdOf(request.headers);
    let response: Response;
    try {
      response = this.#finished(await work(requestId), requestId);
    } catch (error) {
      if (error instanceof Overloaded) return this.refuse(c, route, requestId);
      const { status, code, headers, body } = problemOf(error, requestId);
      if (status >= 500) {
        const reason = reasonOf(error);
        this.#tell?.({ level: "error", event: "failed", requestId, route, code, reason });
      }
      response = this.#finished(new Response(JSON.stringify(body), { status, headers }), requestId);
    }
    const took = performance.now() - began;
    const { status } = response;
    this.#metrics.request(method, route, status, took / 1000);
    if (!WAITING.has(route)) this.#recorder.request(status, took);
    if (this.#tell !== undefined) {
      const ms = Math.round(took * 100) / 100;
      const address = c.env.peer?.address;
      this.#tell({
        level: "debug",
        event: "request",
        requestId,
        method,
        route,
        status,
        ms,
        address,
      });
    }
    return response;
  }

  /** Refuses a request because of overload, at next to no cost. */
  refuse(
    c: Context<Env>,
    route: string,
    requestId: string = requestIdOf(c.req.raw.headers),
  ): Response {
    // Clients that come back at different times do not come back all at once.
    const refusal = OVERLOADED[Math.floor(Math.random() * OVERLOADED.length)];
    const { status, headers, body } = problemOf(refusal, requestId);
    this.#metrics.request(c.req.method, route, status, 0);
    this.#recorder.request(status, null);
    const shed = ++this.#shed.count;
    const now = performance.now();
    if (now - this.#shed.toldAt >= TELL_MS) {
      this.#tell?.({ level: "warn", event: "overloaded", requestId, route, shed });
      this.#shed.count = 0;
      this.#shed.toldAt = now;
    }
    const detail = "The control plane is overloaded; the request had no effect";
    return this.#finished(
      new Response(JSON.stringify({ ...body, detail }), { status, headers }),
      requestId,
    );
  }

  /** Sets the headers that all responses have. */
  #finished(response: Response, requestId: string): Response {
    const { headers } = response;
    headers.set("x-request-id", requestId);
    headers.set("x-content-type-options", "nosniff");
    headers.set(GENERATION_HEADER, String(this.#store.generation));
    if (!headers.has("cache-control")) headers.set("cache-control", "no-store");
    return response;
  }
}

/** The client's own id for the request if it is safe in a log, else a new one. */
function requestIdOf(headers: Headers): string {
  const given = headers.get("x-request-id");
  return given !== null && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
}

/** Describes an error for the log. */
function reasonOf(error: unknown): string {
  if (error instanceof StoreError) {
    return error.cause instanceof Error
      ? `${error.message}: ${error.cause.message}`
      : error.message;
  }
  // An unexpected error: only its stack says where it was thrown.
  return error instanceof Error ? error.stack ?? error.message : String(error);
}
