/**
 * HTTP of a server that cannot serve its store yet: it says why, and refuses the rest.
 *
 * @module
 */

import type { HttpServer } from "../../../src/http/serve/types.ts";
import { notReady } from "../../../src/http/serve/not_ready.ts";
import { isPublic } from "../../settings/guards.ts";
import type { Settings } from "../../settings/settings.ts";
import type { Inspection } from "../certificates.ts";

/** What the settings say about the listener. */
interface Listening {
  settings: Settings;
  found: Inspection;
}

/** Answers on the HTTP port of the settings until the control plane takes its place. */
export class Page {
  readonly #listening: Listening;
  #port: number;
  #why = "";
  #server: Promise<HttpServer> | null = null;

  constructor(listening: Listening) {
    this.#listening = listening;
    this.#port = listening.settings.httpPort;
  }

  /** The HTTP port; 0 for any free one. */
  get port(): number {
    return this.#port;
  }

  /** Why nothing is served. */
  get why(): string {
    return this.#why;
  }

  /** Chooses the port now if it is any free one; says why nothing is served. */
  async fix(why: string): Promise<void> {
    if (this.#port === 0) this.#port = Number(new URL(await this.show(why)).port);
  }

  /** Says from now on why nothing is served; returns the URL. */
  async show(why: string): Promise<string> {
    this.#why = why;
    return (await (this.#server ??= this.#listen())).url;
  }

  /** Gives the port to the control plane, until something is shown again. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    // One that never listened has nothing to close.
    await (await server?.catch(() => null))?.close(0);
  }

  async #listen(): Promise<HttpServer> {
    const { settings, found } = this.#listening;
    const { serve } = await import("../../../src/http/mod.ts");
    const fetch = (request: Request) =>
      Promise.resolve(this.#answer(new URL(request.url).pathname));
    return await serve({ fetch }, {
      hostname: settings.bind,
      port: this.#port,
      hardened: isPublic(settings),
      ...found.pair === null ? {} : { tls: found.pair },
    });
  }

  #answer(path: string): Response {
    if (path === "/healthz") return Response.json({ ok: true });
    if (path === "/readyz") {
      const checks = [{ name: "node", ok: false, detail: this.#why }];
      return Response.json({ ok: false, checks }, { status: 503, headers: { "retry-after": "1" } });
    }
    return notReady(`This node cannot answer: ${this.#why}`);
  }
}
