/**
 * Where a request comes from: from this machine, so that it may see file names, servers and counts, or
 * from a web page that must not reach this server.
 *
 * @module
 */

import { isIP } from "node:net";
import type { BusAuth } from "../../core/operations.ts";
import { StoreError } from "../../core/errors.ts";
import { isLoopback } from "../../core/host/loopback.ts";
import { show } from "../../core/validate.ts";
import { targetOf } from "../../signature/base.ts";
import type { ControlPlaneOptions, Peer } from "../options.ts";

/** Headers that mark a request as forwarded by a proxy. */
const FORWARDED = ["forwarded", "via", "x-forwarded-for", "x-real-ip"] as const;

/** Whether a request was sent by this machine for itself: a proxy on it forwards for anybody. */
export function isOfThisMachine({ headers }: Request, peer: Peer | undefined): boolean {
  const { address = "", isLocal } = peer ?? {};
  return (isLoopback(address.replace(/^::ffff:/i, "")) || isLocal === true) &&
    !FORWARDED.some((name) => headers.has(name));
}

/** Decides who may see `/metrics` and the details of `/readyz`. */
export function maySeeDetails(
  { detailsFor, authorities }: Pick<ControlPlaneOptions, "detailsFor" | "authorities">,
  busAuth: BusAuth,
): (request: Request, peer: Peer | undefined) => boolean {
  if (detailsFor === "anyone") return () => true;
  const isForAnyone = detailsFor === undefined && busAuth !== "enforce";
  return (request, peer) => {
    // A web page may have pointed a name of its own here: see `authorities`.
    const host = hostOf(request);
    if (authorities !== undefined && !authorities.includes(host) && !isAddress(host)) return false;
    return isForAnyone || isOfThisMachine(request, peer);
  };
}

/**
 * Refuses requests that a web page makes a browser send: by a name that the page points here (DNS
 * rebinding), or from a page of another origin. Without signatures both would be obeyed. Programs
 * send no `Origin`.
 */
export function demandOwnName(request: Request, names: readonly string[] | undefined): void {
  const host = hostOf(request);
  if (names !== undefined && !names.includes(host)) {
    throw new StoreError(
      "forbidden",
      `The host must be a name of this server, found ${show(host)}`,
      { field: "host" },
    );
  }
  const origin = request.headers.get("origin");
  if (origin !== null && URL.parse(origin)?.host !== host) {
    throw new StoreError("forbidden", "Requests from pages of another origin are not allowed", {
      field: "origin",
    });
  }
}

/** The host that a request names; empty for one that cannot be read. */
function hostOf({ method, url, headers }: Request): string {
  return targetOf(method, url, headers.get("host"))?.authority ?? "";
}

/** Whether a host is an address, or the one name that no other DNS can point here. */
function isAddress(host: string): boolean {
  const name = host.replace(/:\d+$/, "");
  return name === "localhost" || isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0;
}
