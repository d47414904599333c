/**
 * The names of this server, for which requests must be signed.
 *
 * @module
 */

import { isLoopback } from "../../src/core/host/loopback.ts";
import type { Settings } from "../settings/settings.ts";

/**
 * Returns the authorities (`host:port`, without the scheme's default port) for which requests may
 * be signed; null if they are unknown and any is accepted.
 *
 * @param settings The settings
 * @param names The names in the certificate; null without one
 * @param port The HTTP port
 */
export function authoritiesOf(
  { bind, authority, publicUrl }: Settings,
  names: readonly string[] | null,
  port: number,
): string[] | null {
  const scheme = names === null ? "http" : "https";
  // A name without a port is the one of a reverse proxy, or ours with our port.
  const at = (name: string) => {
    const normal = new URL(`${scheme}://${name}`).host;
    return /:\d+$/.test(name) ? [normal] : [normal, new URL(`${scheme}://${name}:${port}`).host];
  };
  const told = publicUrl.filter((it) => it.startsWith("http")).map((it) => new URL(it).host);
  if (authority.length > 0) return [...new Set([...authority.flatMap(at), ...told])];
  const everywhere = bind === "0.0.0.0" || bind === "::";
  if (names?.some((it) => it.includes("*")) || (everywhere && names === null)) return null;
  const own = isLoopback(bind) || everywhere ? ["127.0.0.1", "[::1]", "localhost"] : [];
  const bound = everywhere ? [] : [bind.includes(":") ? `[${bind}]` : bind];
  return [...new Set([...[...own, ...bound, ...names ?? []].flatMap(at), ...told])];
}
