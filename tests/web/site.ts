/**
 * A control plane that a browser can open: a store, the handler, a listener on loopback.
 *
 * @module
 */

import { openSqlite, type Store } from "@unibus/membership";
import { type ControlPlaneOptions, createControlPlane, serve } from "@unibus/membership/http";

/** One that runs. */
export interface Site extends AsyncDisposable {
  /** Where it is, without a slash at the end. */
  url: string;
  store: Store;
  /** Makes an invite; gives the link that its person opens. */
  invite(
    options?: { role?: "user" | "admin"; expiresIn?: number; room?: string },
  ): Promise<Invited>;
}

/** An invite of {@link Site.invite}. */
export interface Invited {
  id: string;
  token: string;
  link: string;
}

/** What {@link site} takes besides the control plane's options. */
export interface SiteOptions extends ControlPlaneOptions {
  store?: Store;
  /** Answers in place of the control plane where it gives something. */
  before?: (request: Request) => Response | null | Promise<Response | null>;
  /** Changes what it answered. */
  after?: (request: Request, response: Response) => Response | Promise<Response>;
}

/** Starts one. */
export async function site({ before, after, ...options }: SiteOptions = {}): Promise<Site> {
  const store = options.store ?? openSqlite(":memory:");
  const plane = createControlPlane(store, options);
  const server = await serve({
    async fetch(request, peer) {
      const early = await before?.(request);
      if (early) return early;
      const response = await plane.fetch(request, peer);
      return await after?.(request, response) ?? response;
    },
  }, { port: 0 });
  const url = server.url.replace(/\/$/, "");
  return {
    url,
    store,
    async invite(more = {}) {
      const { invite, token } = await store.createInvite({ createdBy: "cli", ...more });
      return { id: invite.id, token, link: `${url}/join#${token}` };
    },
    async [Symbol.asyncDispose]() {
      await server.close(1000);
      await store.close();
    },
  };
}
