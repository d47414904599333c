/**
 * The control plane over HTTP: a fetch handler in front of a store.
 *
 * @module
 */

import { Hono } from "hono";
import { methodNotAllowed } from "hono/method-not-allowed";
import { StoreError } from "../core/errors.ts";
import type { Store } from "../core/store.ts";
import { audited } from "./admin/audit.ts";
import { readinessOf } from "./admin/health.ts";
import { metricsOf } from "./admin/metrics.ts";
import { operationsOf } from "./admin/operations.ts";
import { Answers, type Env } from "./answers.ts";
import type { ControlPlane, ControlPlaneOptions } from "./options.ts";
import { type Page, siteOf } from "./pages/site.ts";
import { loopDelay } from "./pipeline/loop_delay.ts";
import { Pipeline } from "./pipeline/pipeline.ts";
import { Refusal } from "./pipeline/problem.ts";
import { Gate } from "./pipeline/shed.ts";
import { GROUPS, ROUTES } from "./routes.ts";
import { getPath } from "hono/utils/url";

/**
 * Makes the control plane of a store: everything it can do under `/v1`, for those who may, and
 * `/healthz`, `/readyz`, `/metrics`, `/openapi.json`, and the pages. It does not own the store.
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
  const metrics = metricsOf();
  const readiness = readinessOf(store, options.blobs ?? null, options.readiness);
  const operations = operationsOf(store, readiness, options);
  const { changes, recorder } = operations;
  const tell = options.onEvent ?? (() => {});
  const pipeline = new Pipeline({
    store,
    busAuth,
    operations,
    record: (...work) => audited(tell, ...work),
    tell,
    count: (reason) => {
      metrics.refusal(reason);
      recorder.denial();
    },
  }, options);
  const gate = new Gate({
    maxInFlight: options.maxInFlight ?? 1024,
    maxDelay: options.maxDelay ?? 500,
    lateness: loopDelay,
  });
  metrics.gate(gate);
  metrics.gauge("unibus_http_waiting", "Requests waiting for changes", () => changes.waiting);
  metrics.gauge(
    "unibus_http_body_bytes",
    "Memory used by request bodies, in bytes",
    () => pipeline.bodyBytes,
  );

  const mount = mountOf(options.basePath);
  const answers = new Answers(store, metrics, recorder, options.onEvent);
  const app = new Hono<Env>({ getPath: mount.pathOf });
  addRoutes(app, answers, gate, pipeline);
  const shown = { busAuth, base: mount.base, groups: GROUPS, metrics, readiness };
  addPages(app, answers, siteOf(shown, options));
  addMisses(app, answers);
  return {
    fetch: async (request, peer) =>
      // What mounts us may call us with something else of its own.
      await app.fetch(mount.whole(request), typeof peer?.address === "string" ? { peer } : {}),
    gauge: metrics.gauge,
    close: operations.close,
  };
}

/** Serves the routes under `/v1`: each request passes the gate, then the pipeline. */
function addRoutes(app: Hono<Env>, answers: Answers, gate: Gate, pipeline: Pipeline): void {
  for (const route of ROUTES) {
    app.on(route.method, honoPath(route.path), (c) => {
      const slot = gate.enter();
      if (slot === null) return answers.refuse(c, route.path);
      const { peer } = c.env;
      return answers.answer(c, route.path, (requestId) =>
        pipeline.run({
          route,
          request: c.req.raw,
          params: c.req.param() as Record<string, string>,
          address: peer?.address ?? "",
          isGone: peer?.isGone ?? (() => false),
          requestId,
          slot,
        })).finally(slot.leave);
    });
  }
}

/** Serves the pages outside `/v1`. */
function addPages(app: Hono<Env>, answers: Answers, site: Record<string, Page>): void {
  for (const [path, page] of Object.entries(site)) {
    app.get(honoPath(path), (c) => answers.answer(c, path, () => page(c)));
  }
}

/** Refuses what nothing serves: 405 for another method of a known path, else 404. */
function addMisses(app: Hono<Env>, answers: Answers): void {
  const misses = new Hono<Env>({ getPath: app.getPath });
  misses.use(methodNotAllowed({
    app,
    onMethodNotAllowed: (_c, methods) => {
      throw new Refusal("invalid", `The method must be ${methods.join(" or ")}`, {
        status: 405,
        field: "method",
        headers: { allow: methods.join(", ") },
      });
    },
  }));
  misses.onError((error) => {
    throw error;
  });
  app.notFound((c) =>
    answers.answer(c, "none", async () => {
      await misses.fetch(c.req.raw);
      throw new StoreError("not_found", "No route or page at this path");
    })
  );
}

function honoPath(path: string): string {
  return path.replace(/\{(\w+)\}/g, ":$1");
}

/** Where a control plane is mounted. */
interface Mount {
  /** The path, without a slash at its end; empty for none. */
  readonly base: string;
  /** The request with the URL that its client used and signed. */
  whole(request: Request): Request;
  /** The path below the mount. */
  pathOf(request: Request): string;
}

/** The first parts of our own paths, which a base path must not begin with: it would be ambiguous. */
const OURS = /^\/(v1|assets|docs|join|rooms|console|healthz|readyz|metrics|openapi\.json)(\/|$)/;

/** Reads `basePath`. */
function mountOf(base: string = ""): Mount {
  if (base !== "" && (!/^(\/[\w.~-]+)+$/.test(base) || OURS.test(base))) {
    throw new StoreError(
      "invalid",
      "basePath must look like /bus, without a slash at its end, and not begin with a path of the " +
        "control plane",
      { field: "basePath" },
    );
  }
  const isBelow = (path: string) => path === base || path.startsWith(`${base}/`);
  return {
    base,
    whole(request) {
      if (base === "" || isBelow(getPath(request))) return request;
      // Hono's `mount` and Express's `use` take the base off.
      return new Request(request.url.replace(/^(https?:\/\/[^/?#]+)/, `$1${base}`), request);
    },
    pathOf: (request) => getPath(request).slice(base.length) || "/",
  };
}
