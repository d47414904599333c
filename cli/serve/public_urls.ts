/**
 * The URLs by which clients reach this node, which it tells to the other nodes.
 *
 * @module
 */

import { hostname } from "node:os";
import { isManaged } from "../settings/guards.ts";
import type { Settings } from "../settings/settings.ts";

/** The URLs of a node for clients. */
export interface PublicUrls {
  /** Of its HTTP server. */
  readonly urls: readonly string[];
  /** Of its NATS server. */
  readonly busUrls: readonly string[];
  /** Of its NATS server over WebSocket. */
  readonly wsUrls: readonly string[];
}

/**
 * Returns the URLs in the settings, else those of the name in the certificate that is this node's, or of
 * the listen address. None if they cannot be known, such as behind a proxy.
 *
 * @param settings The settings
 * @param names The names in the certificate; null without one
 * @param listening The HTTP port, the URL of the NATS server, and its WebSocket port if it has one
 */
export function publicUrls(
  settings: Settings,
  names: readonly string[] | null,
  listening: { http: number; nats: string; ws: number | null },
): PublicUrls {
  const given = (scheme: RegExp) => settings.publicUrl.filter((it) => scheme.test(it));
  const known = hostOf(settings, names);
  const own = (scheme: string, port: number | string, host = known) =>
    host === null ? [] : [`${scheme}://${host}:${port}`];
  const urls = given(/^https?:/);
  const busUrls = given(/^(nats|tls):/);
  const tls = names !== null;
  return {
    // A name in --authority may be that of a proxy, with another port.
    urls: urls.length > 0 || settings.authority.length > 0
      ? urls
      : own(tls ? "https" : "http", listening.http),
    busUrls: busUrls.length > 0 || !isManaged(settings)
      ? busUrls
      : own(tls ? "tls" : "nats", new URL(listening.nats).port),
    wsUrls: settings.wsUrl.length > 0 || listening.ws === null
      ? settings.wsUrl
      // A page's policy cannot name an IPv6 address.
      : own(tls ? "wss" : "ws", listening.ws, known === "[::1]" ? "localhost" : known),
  };
}

function hostOf({ bind }: Settings, names: readonly string[] | null): string | null {
  const shown = bind.includes(":") ? `[${bind}]` : bind;
  if (names === null) return bind === "0.0.0.0" || bind === "::" ? null : shown;
  if (names.includes(bind)) return shown;
  const plain = names.filter((it) => !it.includes("*"));
  const [name] = hostname().toLowerCase().split(".");
  // One certificate may be that of all nodes.
  const mine = plain.find((it) => it.toLowerCase().split(".")[0] === name);
  return mine ?? (plain.length === 1 ? plain[0]! : null);
}
