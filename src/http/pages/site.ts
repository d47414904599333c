/**
 * Everything outside `/v1`: health, metrics, documentation, and the pages for people.
 *
 * @module
 */

import type { Context } from "hono";
import type { BusAuth } from "../../core/operations.ts";
import { StoreError } from "../../core/errors.ts";
import type { Readiness } from "../admin/health.ts";
import type { Metrics } from "../admin/metrics.ts";
import type { ControlPlaneOptions, Peer } from "../options.ts";
import { isOfThisMachine, maySeeDetails } from "../rights/nearness.ts";
import type { RouteGroup } from "../pipeline/route.ts";
import { docsPage } from "./docs_page.ts";
import { frontPage } from "./front_page.ts";
import { openApi } from "./openapi.ts";
import { ASSET_PATH, assetOf, busSources, pageOf, writtenPage } from "./pages.ts";

/** Handles a request for a page. */
export type Page = (c: Context<{ Bindings: { peer?: Peer } }>) => Response | Promise<Response>;

/** What the pages show. */
export interface Shown {
  busAuth: BusAuth;
  /** Path below which the control plane is mounted. */
  base: string;
  /** The routes that the documentation describes. */
  groups: readonly RouteGroup[];
  metrics: Metrics;
  readiness(): Promise<Readiness>;
}

/** The pages by path, where a part that varies is `{name}`. */
export function siteOf(
  { busAuth, base, groups, metrics, readiness }: Shown,
  options: ControlPlaneOptions,
): Record<string, Page> {
  const mayDetails = maySeeDetails(options, busAuth);
  const seesDetails = (c: Parameters<Page>[0]) => mayDetails(c.req.raw, c.env.peer);
  let description: string | undefined;
  const site: Record<string, Page> = {
    "/healthz": () => Response.json({ ok: true }),
    "/readyz": async (c) => {
      const { ok, checks } = await readiness();
      const shown = seesDetails(c) ? checks : checks.map(({ name, ok }) => ({ name, ok }));
      return Response.json({ ok, checks: shown }, { status: ok ? 200 : 503 });
    },
    "/metrics": async (c) => {
      if (!seesDetails(c)) {
        throw new StoreError("forbidden", "Metrics are available on this machine only");
      }
      const headers = { "content-type": metrics.contentType };
      return new Response(await metrics.text(), { headers });
    },
    "/openapi.json": () => {
      description ??= JSON.stringify(openApi(groups.flatMap((it) => it.routes)), null, 2) + "\n";
      return new Response(description, { headers: { "content-type": "application/json" } });
    },
    "/docs": async (c) => writtenPage("docs", c, base, await docsPage(groups)),
    "/": async (c) =>
      writtenPage("front", c, base, await frontPage(Object.keys(site), base, busAuth)),
    [ASSET_PATH]: assetOf,
  };
  const { join = true, rooms = true, console = true } = options.pages ?? {};
  if (join) site["/join"] = (c) => pageOf("join", c, base);
  if (rooms) {
    site["/rooms"] = (c) => pageOf("rooms", c, base, busSources(options.nodes?.() ?? []));
  }
  if (console) {
    site["/console"] = (c) => {
      // Without signatures everybody who reaches it would be an admin.
      if (busAuth !== "enforce" && !isOfThisMachine(c.req.raw, c.env.peer)) {
        throw new StoreError(
          "forbidden",
          "Without bus auth enforce the console is available on this machine only",
        );
      }
      return pageOf("console", c, base);
    };
  }
  return site;
}
