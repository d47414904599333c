/**
 * The client for Deno and Node, with blobs and private certificate authorities.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import { parseRevision } from "../../core/history/revision.ts";
import { serverUrls } from "../../nats/connection/servers.ts";
import { digestOf } from "../../signature/digest.ts";
import { askOf } from "../http/ask.ts";
import { Caller } from "../http/caller.ts";
import { callsOf } from "../http/client.ts";
import { baseOf } from "../http/follow.ts";
import { keyCallsOf } from "../http/keys.ts";
import { Nodes } from "../http/nodes.ts";
import { programCallsOf } from "../http/programs.ts";
import type { Client, ClientOptions, Fetch } from "../types.ts";
import { blobCallsOf } from "./blobs.ts";
import { httpsFetch } from "./https.ts";
import { wasUnsent } from "./unsent.ts";

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
  const given = [options.url].flat()
    .flatMap((it): (string | URL)[] => typeof it === "string" ? serverUrls(it) : [it]).map(parsed);
  if (given.length === 0) throw invalidUrl();
  const { fetch, close: hangUp } = transport(options, given);
  const { identity = null, timeout = TIMEOUT_MS, retries = 2, generation = 0 } = options;
  const revision = options.revision ?? null;
  if (revision !== null) parseRevision("revision", revision);
  const nodes = new Nodes({
    given,
    learns: options.learnNodes ?? true,
    signer: identity,
    digest: digestOf,
    fetch,
    seen: { generation, revision },
    wasUnsent,
  });
  const caller = new Caller(nodes, { timeout, retries });
  const close = () => {
    caller.close();
    nodes.close();
    hangUp();
  };
  const calls = callsOf(caller, identity?.kexPub);
  return {
    ...calls,
    ...programCallsOf(caller, calls),
    ...keyCallsOf(caller),
    ...blobCallsOf(caller),
    nodes: async () => nodes.isPrivate ? await askOf(caller)("GET", "nodes") : { nodes: [] },
    get generation() {
      return caller.generation;
    },
    get revision() {
      return caller.revision;
    },
    get authority() {
      return nodes.authority;
    },
    get clockOffset() {
      return caller.clockOffset;
    },
    close,
    [Symbol.dispose]: close,
  };
}

function parsed(given: string | URL): URL {
  const base = baseOf(given);
  if (base === null) throw invalidUrl();
  return base;
}

function invalidUrl(): StoreError {
  // The URL is not shown, because it may contain a password.
  return new StoreError("invalid", "url must look like https://bus.example:8470", {
    field: "url",
  });
}

function transport(
  options: ClientOptions,
  given: readonly URL[],
): { fetch: Fetch; close: () => void } {
  const nothing = () => {};
  const { ca } = options;
  if (options.fetch !== undefined) return { fetch: options.fetch, close: nothing };
  if (ca === undefined) return { fetch: (request) => fetch(request), close: nothing };
  if (given.some((it) => it.protocol !== "https:")) {
    throw new StoreError("invalid", "ca needs a url that begins with https:", { field: "ca" });
  }
  return httpsFetch(ca);
}
