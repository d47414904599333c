/**
 * The client for Deno and Node, with blobs and private certificate authorities.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { digestOf } from "../../signature/digest.ts";
import { Caller } from "../http/caller.ts";
import { callsOf } from "../http/client.ts";
import { keyCallsOf } from "../http/keys.ts";
import type { Client, ClientOptions, Fetch } from "../types.ts";
import { blobCallsOf } from "./blobs.ts";
import { httpsFetch } from "./https.ts";

const TIMEOUT_MS = 10_000;

/**
 * Creates a client of a control plane. Sends nothing before the first call.
 *
 * @throws {StoreError} `invalid`: a malformed URL, or `ca` with a URL that is not https
 *
 * @example
 * ```ts
 * import { openSqlite } from "@unibus/membership";
 * import { createClient, createIdentity } from "@unibus/membership/client";
 * import { createControlPlane } from "@unibus/membership/http";
 *
 * await using store = openSqlite(":memory:");
 * const { token } = await store.createInvite({ createdBy: "cli", role: "admin" });
 *
 * const plane = createControlPlane(store);
 * using client = createClient({
 *   url: "http://127.0.0.1:8470",
 *   identity: createIdentity(),
 *   fetch: plane.fetch, // calls the control plane in this process; omit it to call a server
 * });
 * await client.register(token, "ada");
 * const room = await client.createRoom({ id: "kitchen", encrypted: false });
 * if (room.epoch !== 1) throw new Error("unreachable");
 * ```
 */
export function createClient(options: ClientOptions): Client {
  const base = baseOf(options.url);
  const { fetch, close: hangUp } = transport(options, base);
  const { identity = null, timeout = TIMEOUT_MS, retries = 2, generation = 0 } = options;
  const caller = new Caller({
    base,
    signer: identity,
    digest: digestOf,
    fetch,
    timeout,
    retries,
    generation,
  });
  const close = () => {
    caller.close();
    hangUp();
  };
  return {
    ...callsOf(caller, identity?.kexPub),
    ...keyCallsOf(caller),
    ...blobCallsOf(caller),
    get generation() {
      return caller.generation;
    },
    close,
    [Symbol.dispose]: close,
  };
}

function baseOf(given: string | URL): URL {
  let base: URL | null = null;
  try {
    base = new URL(given);
  } catch {
    // Reported below.
  }
  const isHttp = base?.protocol === "http:" || base?.protocol === "https:";
  if (
    base === null || !isHttp || base.search !== "" || base.hash !== "" ||
    base.username + base.password !== ""
  ) {
    // Not shown, because it may contain a password.
    throw new StoreError("invalid", "url must look like https://bus.example:8470", {
      field: "url",
    });
  }
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  return base;
}

function transport(options: ClientOptions, base: URL): { fetch: Fetch; close: () => void } {
  const nothing = () => {};
  const { ca } = options;
  if (options.fetch !== undefined) return { fetch: options.fetch, close: nothing };
  if (ca === undefined) return { fetch: (request) => fetch(request), close: nothing };
  if (base.protocol !== "https:") {
    throw new StoreError("invalid", "ca needs a url that begins with https:", { field: "ca" });
  }
  return httpsFetch(ca);
}
