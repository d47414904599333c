/**
 * HTTP of a node that waits: it says so, and refuses the rest.
 *
 * @module
 */

import { isPublic } from "../../settings/guards.ts";
import type { Surroundings } from "../parts.ts";
import { notReady } from "../../../src/http/serve/not_ready.ts";

/** A listener that is closed before the control plane takes its place. */
export interface Page {
  /** Its URL. */
  url: string;
  /** Closes it. */
  close(): Promise<void>;
}

/** Answers on the HTTP port of the settings until it is closed. */
export async function showWaiting(
  { settings, found }: Pick<Surroundings, "settings" | "found">,
  why: () => string,
): Promise<Page> {
  const { serve } = await import("../../../src/http/mod.ts");
  const fetch = (request: Request) => Promise.resolve(answer(new URL(request.url).pathname, why()));
  const server = await serve({ fetch }, {
    hostname: settings.bind,
    port: settings.httpPort,
    hardened: isPublic(settings),
    ...found.pair === null ? {} : { tls: found.pair },
  });
  return { url: server.url, close: () => server.close(0) };
}

function answer(path: string, why: string): Response {
  if (path === "/healthz") return Response.json({ ok: true });
  if (path === "/readyz") {
    const checks = [{ name: "node", ok: false, detail: why }];
    return Response.json({ ok: false, checks }, { status: 503, headers: { "retry-after": "1" } });
  }
  return notReady(`This node cannot answer: ${why}`);
}
