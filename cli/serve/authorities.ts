/**
 * The names by which this server is reached, which requests must be signed for.
 *
 * @module
 */

import { isLoopback } from "../../src/core/host/loopback.ts";
import type { Settings } from "./settings/settings.ts";

/**
 * The authorities (`host:port`, without the port where it is the scheme's own) that requests may be
 * signed for; null when nobody can list them, so that any will do.
 *
 * @param settings The settings
 * @param names The names in the certificate, null without one
 * @param port The port HTTP listens on
 */
export function authoritiesOf(
  { bind, authority }: Settings,
  names: readonly string[] | null,
  port: number,
): string[] | null {
  const scheme = names === null ? "http" : "https";
  // Behind a proxy a name without a port is the proxy's; without one it is ours.
  const at = (name: string) => {
    const normal = new URL(`${scheme}://${name}`).host;
    return /:\d+$/.test(name) ? [normal] : [normal, new URL(`${scheme}://${name}:${port}`).host];
  };
  if (authority.length > 0) return [...new Set(authority.flatMap(at))];
  const everywhere = bind === "0.0.0.0" || bind === "::";
  if (names?.some((it) => it.includes("*")) || (everywhere && names === null)) return null;
  const own = isLoopback(bind) || everywhere ? ["127.0.0.1", "[::1]", "localhost"] : [];
  const bound = everywhere ? [] : [bind.includes(":") ? `[${bind}]` : bind];
  return [...new Set([...own, ...bound, ...names ?? []].flatMap(at))];
}
