/**
 * The control plane over HTTP: a fetch handler in front of a store.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { type Context, Hono } from "hono";
import { StoreError } from "../errors.ts";
import type { Store } from "../store.ts";
import { docsPage } from "./docs_page.ts";
import { readinessOf } from "./health.ts";
import { isLoopback } from "./limits.ts";
import { metricsOf } from "./metrics.ts";
import { openApi } from "./openapi.ts";
import type { ControlPlane, ControlPlaneOptions, Peer } from "./options.ts";
import { Pipeline } from "./pipeline.ts";
import { problemOf, Refusal } from "./problem.ts";
import { ROUTES } from "./routes.ts";

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
  const pipeline = new Pipeline({ store, busAuth, tell, count: metrics.refusal }, options);

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
    if (options.onEvent !== undefined) {
      const ms = Math.round(took * 100) / 100;
      const address = c.env.peer?.address;
      tell({ level: "debug", event: "request", requestId, method, route, status, ms, address });
    }
    return response;
  }

  const app = new Hono<Env>();
  for (const route of ROUTES) {
    app.on(
      route.method,
      route.path.replace(/\{(\w+)\}/g, ":$1"),
      (c) =>
        answer(c, route.path, (requestId) =>
          pipeline.run({
            route,
            request: c.req.raw,
            params: c.req.param() as Record<string, string>,
            address: c.env.peer?.address ?? "",
            requestId,
          })),
    );
  }

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
        throw new StoreError("forbidden", "The metrics are for this machine only");
      }
      const headers = { "content-type": metrics.contentType };
      return new Response(await metrics.text(), { headers });
    },
    "/openapi.json": () => new Response(openApiText(), { headers: JSON_HEADERS }),
    "/docs": async () => new Response(await docsPage(ROUTES), { headers: PAGE_HEADERS }),
    "/": () => new Response(null, { status: 302, headers: { location: "/docs" } }),
  };
  const readiness = readinessOf(store, options.blobs ?? null, options.readiness);
  const detailsFor = options.detailsFor ?? (busAuth === "enforce" ? "loopback" : "anyone");
  const isNear = (c: Context<Env>) => detailsFor === "anyone" || isLoopback(c.env.peer?.address);
  for (const [path, work] of Object.entries(pages)) {
    app.get(path, (c) => answer(c, path, () => work(c)));
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
      if (methods.length === 0) throw new StoreError("not_found", "There is nothing at this path");
      const allow = [...new Set(methods.flatMap((it) => it === "GET" ? [it, "HEAD"] : [it]))];
      throw new Refusal("invalid", `The method must be ${allow.join(" or ")}`, {
        status: 405,
        field: "method",
        headers: { allow: allow.join(", ") },
      });
    })
  );

  return {
    fetch: async (request, peer) => await app.fetch(request, peer === undefined ? {} : { peer }),
    gauge: metrics.gauge,
  };
}

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
