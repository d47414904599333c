/**
 * The names of this server, for which requests must be signed, and the origins of its pages.
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

/**
 * Returns the origins of this server's own pages and of those in the settings; none if its names are
 * unknown and none were set.
 *
 * @param settings The settings
 * @param names The names in the certificate; null without one
 * @param port The HTTP port
 */
export function originsOf(
  settings: Settings,
  names: readonly string[] | null,
  port: number,
): string[] {
  const { authority, publicUrl, wsOrigin } = settings;
  // A name in --authority may be that of a reverse proxy, which has TLS.
  const schemes = names !== null ? ["https"] : authority.length > 0 ? ["https", "http"] : ["http"];
  const hosts = authoritiesOf(settings, names, port) ?? [];
  const own = hosts.flatMap((host) => schemes.map((it) => new URL(`${it}://${host}`)))
    // Another program may listen on the scheme's own port.
    .filter((it) => authority.length > 0 || portOf(it) === port);
  const told = publicUrl.filter((it) => it.startsWith("http")).map((it) => new URL(it));
  // Older nats-servers know only the last origin of each host: that of a reverse proxy comes after ours.
  return [...new Set([...[...own.reverse(), ...told].map((it) => it.origin), ...wsOrigin])];
}

function portOf({ protocol, port }: URL): number {
  return Number(port || (protocol === "https:" ? 443 : 80));
}
