/**
 * Whether a request comes from this machine, so that it may see file names, servers and counts.
 *
 * @module
 */

import { isIP } from "node:net";
import type { BusAuth } from "../../core/operations.ts";
import { isLoopback } from "../../core/host/loopback.ts";
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
    const { method, url, headers } = request;
    const host = targetOf(method, url, headers.get("host"))?.authority ?? "";
    if (authorities !== undefined && !authorities.includes(host) && !isAddress(host)) return false;
    return isForAnyone || isOfThisMachine(request, peer);
  };
}

/** Whether a host is an address, or the one name that no other DNS can point here. */
function isAddress(host: string): boolean {
  const name = host.replace(/:\d+$/, "");
  return name === "localhost" || isIP(name.replace(/^\[(.*)\]$/, "$1")) !== 0;
}
