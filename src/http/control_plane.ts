/**
 * The control plane over HTTP: a fetch handler in front of a store.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { isIP } from "node:net";
import { type Context, Hono } from "hono";
import { StoreError } from "../core/errors.ts";
import { isLoopback } from "../core/host/loopback.ts";
import type { Store } from "../core/store.ts";
import { docsPage } from "./pages/docs_page.ts";
import { readinessOf } from "./admin/health.ts";
import { loopDelay } from "./pipeline/loop_delay.ts";
import { metricsOf } from "./admin/metrics.ts";
import { mountOf } from "./serve/mount.ts";
import { openApi } from "./pages/openapi.ts";
import { operationsOf } from "./admin/operations.ts";
import type { ControlPlane, ControlPlaneOptions, Peer } from "./options.ts";
import { ASSET_PATH, assetOf, pageOf } from "./pages/pages.ts";
import { Pipeline, type Surroundings } from "./pipeline/pipeline.ts";
import { problemOf, Refusal } from "./pipeline/problem.ts";
import { ROUTES } from "./routes.ts";
import { Gate, Overloaded } from "./pipeline/shed.ts";
import { targetOf } from "../signature/base.ts";

type Env = { Bindings: { peer?: Peer } };

/**
 * Makes the control plane of a store: everything it can do under `/v1`, for those who may, and
 * `/healthz`, `/readyz`, `/metrics`, `/openapi.json`, `/docs`. It does not own the store.
 *
 * @param store Where users, rooms, keys and invites are
 * @param options How strict it is, where blobs are, what it tells
 *
 * @example
 * ```ts
 * import { openSqlite } from "@unibus/membership";
 * import { createControlPlane } from "@unibus/membership/http";
 *
 * await using store = openSqlite(":memory:");
 * const plane = createControlPlane(store);
 * const answer = await plane.fetch(new Request("http://127.0.0.1:8470/healthz"));
 * if (answer.status !== 200) throw new Error("unreachable");
 * ```
 */
export function createControlPlane(
  store: Store,
  options: ControlPlaneOptions = {},
): ControlPlane {
  const busAuth = options.busAuth ?? "enforce";
  const tell = options.onEvent ?? (() => {});
  const metrics = metricsOf();
  const readiness = readinessOf(store, options.blobs ?? null, options.readiness);
  const operations = operationsOf(store, readiness, options);
  const { changes } = operations;
  metrics.gauge("unibus_http_waiting", "Requests waiting for changes", () => changes.waiting);
  const count = (reason: string) => {
    metrics.refusal(reason);
    operations.recorder.denial();
  };
  const record: Surroundings["record"] = (...work) => changes.record(...work);
  const pipeline = new Pipeline({ store, busAuth, operations, record, tell, count }, options);
  metrics.gauge(
    "unibus_http_body_bytes",
    "Memory used by request bodies, in bytes",
    () => pipeline.bodyBytes,
  );

  const gate = new Gate({
    maxInFlight: options.maxInFlight ?? 1024,
    maxDelay: options.maxDelay ?? 500,
    lateness: loopDelay,
  });
  metrics.gate(gate);
  const shed = { count: 0, toldAt: -Infinity };

  /** Refuses a request that was not let in. It costs next to nothing, so that the others get on. */
  function refuse(c: Context<Env>, route: string): Response {
    const requestId = requestIdOf(c.req.raw.headers);
    // Not all at once, else they come back all at once.
    const refusal = OVERLOADED[Math.floor(Math.random() * OVERLOADED.length)];
    const { status, headers, body } = problemOf(refusal, requestId);
    metrics.request(c.req.method, route, status, 0);
    operations.recorder.request(status, null);
    shed.count++;
    const now = performance.now();
    // A flood of requests is none of lines.
    if (now - shed.toldAt >= 1000) {
      tell({ level: "warn", event: "overloaded", requestId, route, shed: shed.count });
      shed.count = 0;
      shed.toldAt = now;
    }
    const detail = "The control plane is overloaded; the request had no effect";
    return new Response(JSON.stringify({ ...body, detail }), {
      status,
      headers: { ...headers, ...PLAIN, "x-request-id": requestId },
    });
  }

  /** Answers with what `work` gives, or with the problem it met; counts and tells it. */
  async function answer(
    c: Context<Env>,
    route: string,
    work: (requestId: string) => Response | Promise<Response>,
  ): Promise<Response> {
    const began = performance.now();
    const { raw: request, method } = c.req;
    const requestId = requestIdOf(request.headers);
    let response: Response;
    try {
      response = await work(requestId);
    } catch (error) {
      if (error instanceof Overloaded) return refuse(c, route);
      const { status, code, headers, body } = problemOf(error, requestId);
      if (status >= 500) {
        tell({ level: "error", event: "failed", requestId, route, code, reason: reasonOf(error) });
      }
      response = new Response(JSON.stringify(body), { status, headers });
    }
    response.headers.set("x-request-id", requestId);
    response.headers.set("x-content-type-options", "nosniff");
    if (!response.headers.has("cache-control")) response.headers.set("cache-control", "no-store");
    const took = performance.now() - began;
    const { status } = response;
    metrics.request(method, route, status, took / 1000);
    if (!WAITING.has(route)) operations.recorder.request(status, took);
    if (options.onEvent !== undefined) {
      const ms = Math.round(took * 100) / 100;
      const address = c.env.peer?.address;
      tell({ level: "debug", event: "request", requestId, method, route, status, ms, address });
    }
    return response;
  }

  const mount = mountOf(options.basePath);
  const app = new Hono<Env>({ getPath: mount.pathOf });
  for (const route of ROUTES) {
    app.on(
      route.method,
      honoPath(route.path),
      (c) => {
        const slot = gate.enter();
        if (slot === null) return refuse(c, route.path);
        return answer(c, route.path, (requestId) =>
          pipeline.run({
            route,
            request: c.req.raw,
            params: c.req.param() as Record<string, string>,
            address: c.env.peer?.address ?? "",
            isGone: c.env.peer?.isGone ?? (() => false),
            requestId,
            slot,
          })).finally(slot.leave);
      },
    );
  }

  const shown = { join: true, console: true, ...options.pages };
  const pages: Record<string, (c: Context<Env>) => Response | Promise<Response>> = {
    "/healthz": () => Response.json({ ok: true }),
    "/readyz": async (c) => {
      const { ok, checks } = await readiness();
      // Particulars name files and servers: those are for this machine.
      const shown = isNear(c) ? checks : checks.map(({ name, ok }) => ({ name, ok }));
      return Response.json({ ok, checks: shown }, { status: ok ? 200 : 503 });
    },
    "/metrics": async (c) => {
      if (!isNear(c)) {
        throw new StoreError("forbidden", "Metrics are available on this machine only");
      }
      const headers = { "content-type": metrics.contentType };
      return new Response(await metrics.text(), { headers });
    },
    "/openapi.json": () => new Response(openApiText(), { headers: JSON_HEADERS }),
    "/docs": async () => new Response(await docsPage(ROUTES), { headers: PAGE_HEADERS }),
    "/": () => new Response(null, { status: 302, headers: { location: `${mount.base}/docs` } }),
  };
  if (shown.join) pages["/join"] = (c) => pageOf("join", c.req.raw, mount.base);
  if (shown.console) {
    pages["/console"] = (c) => {
      // Where nobody's signature is demanded, it would be everybody's.
      if (busAuth !== "enforce" && !isOfThisMachine(c)) {
        throw new StoreError(
          "forbidden",
          "Without bus auth enforce the console is available on this machine only",
        );
      }
      return pageOf("console", c.req.raw, mount.base);
    };
  }
  if (shown.join || shown.console) {
    pages[ASSET_PATH] = (c) => assetOf(c.req.param("name") ?? "", c.req.raw);
  }
  const { authorities, detailsFor = busAuth === "enforce" ? "loopback" : "anyone" } = options;
  const isNear = (c: Context<Env>) => {
    if (options.detailsFor === "anyone") return true;
    // A web page may have made a name of its own lead here: see `authorities`.
    const { method, url, headers } = c.req.raw;
    const host = targetOf(method, url, headers.get("host"))?.authority ?? "";
    if (authorities !== undefined && !authorities.includes(host) && !isAddress(host)) return false;
    return detailsFor === "anyone" || isOfThisMachine(c);
  };
  for (const [path, work] of Object.entries(pages)) {
    app.get(honoPath(path), (c) => answer(c, path, () => work(c)));
  }

  const paths = [
    ...ROUTES,
    ...Object.keys(pages).map((path) => ({ method: "GET" as const, path })),
  ].map(({ method, path }) => ({
    method,
    pattern: new RegExp(`^${path.replace(/[.]/g, "\\.").replace(/\{\w+\}/g, "[^/]+")}$`),
  }));
  app.notFound((c) =>
    answer(c, "none", () => {
      const methods = paths.filter((it) => it.pattern.test(c.req.path)).map((it) => it.method);
      if (methods.length === 0) throw new StoreError("not_found", "No route or page at this path");
      const allow = [...new Set(methods.flatMap((it) => it === "GET" ? [it, "HEAD"] : [it]))];
      throw new Refusal("invalid", `The method must be ${allow.join(" or ")}`, {
        status: 405,
        field: "method",
        headers: { allow: allow.join(", ") },
      });
    })
  );

  return {
    fetch: async (request, peer) =>
      // What mounts us may call us with something else of its own.
      await app.fetch(mount.whole(request), typeof peer?.address === "string" ? { peer } : {}),
    gauge: metrics.gauge,
    close: operations.close,
  };
}

/** What a proxy says of those it asks for. */
const PASSED_ON = ["forwarded", "via", "x-forwarded-for", "x-real-ip"] as const;

/** Whether this machine asks, for itself: a proxy on it may ask for anybody. */
function isOfThisMachine(c: Context<Env>): boolean {
  const { headers } = c.req.raw;
  const { address = "", isLocal } = c.env.peer ?? {};
  return (isLoopback(address.replace(/^::ffff:/i, "")) || isLocal === true) &&
    !PASSED_ON.some((it) => headers.has(it));
}

/** Whether a host is no name that somebody else can make lead here. */
function isAddress(host: string): boolean {
  const name = host.replace(/:\d+$/, "");
  return name === "localhost" || isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0;
}

function honoPath(path: string): string {
  return path.replace(/\{(\w+)\}/g, ":$1");
}

/** The paths of requests that wait for something to happen. */
const WAITING = new Set(ROUTES.filter((it) => it.waits).map((it) => it.path));

const PLAIN = { "x-content-type-options": "nosniff", "cache-control": "no-store" };

/** Of what was refused for too much load nothing was done, so that anything may be tried again. */
const OVERLOADED = [1, 2, 3].map((retryAfter) =>
  new Refusal("unavailable", "The control plane is overloaded", {
    reason: "overloaded",
    retryAfter,
  })
);

const JSON_HEADERS = { "content-type": "application/json" };
const PAGE_HEADERS = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy":
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
};

let description: string | null = null;

function openApiText(): string {
  return description ??= JSON.stringify(openApi(ROUTES), null, 2) + "\n";
}

/** The caller's own id for the request where it can stand in a log, else a new one. */
function requestIdOf(headers: Headers): string {
  const given = headers.get("x-request-id");
  return given !== null && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
}

/** What an error is, for the log only. */
function reasonOf(error: unknown): string {
  if (error instanceof StoreError) return `${error.message}${causeOf(error.cause)}`;
  // No error of ours: a fault of this program, which its stack tells.
  return error instanceof Error ? error.stack ?? error.message : String(error);
}

function causeOf(cause: unknown): string {
  return cause instanceof Error ? `: ${cause.message}` : "";
}
