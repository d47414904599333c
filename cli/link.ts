/**
 * Links of invites: the URL of the server, and QR codes.
 *
 * @module
 */

import { Option } from "@commander-js/extra-typings";
import { isLoopback, isLoopbackUrl } from "../src/core/host/loopback.ts";
import type { Context } from "./command.ts";
import { UsageError } from "./terminal/failure.ts";
import { hasTls } from "./settings/guards.ts";
import { quote } from "./settings/read.ts";
import type { Settings } from "./settings/settings.ts";

/** `--url`. */
export function urlOption(): Option<"--url <url>"> {
  return new Option(
    "--url <url>",
    "public URL of the server, for the link (default: UNIBUS_URL, else from the server's settings " +
      "in the environment and UNIBUS_CONFIG)",
  ) as Option<"--url <url>">;
}

/** Returns the server's public URL without a trailing slash, or null if it is not known. */
export async function baseOf(
  { io: { env } }: Context,
  { url }: { url?: string | undefined },
): Promise<string | null> {
  if (url !== undefined) return originOf("--url", url);
  if (env.UNIBUS_URL) return originOf("UNIBUS_URL", env.UNIBUS_URL);
  const { serverSettings } = await import("./store/chosen.ts");
  try {
    const { settings, sources } = await serverSettings(env);
    const isSet = URL_SETTINGS.some((it) => sources[it] !== "default");
    return isSet ? publicUrl(settings) : null;
  } catch (error) {
    // Errors in the server's settings are reported by the server.
    if (error instanceof UsageError) return null;
    throw error;
  }
}

/** Settings that determine the server's URL. */
const URL_SETTINGS = ["authority", "bind", "httpPort", "tlsCert"] as const;

/** Returns the public URL of a server with these settings, or null if they do not determine it. */
export function publicUrl(settings: Settings): string | null {
  const { bind, authority, httpPort } = settings;
  const [name] = authority;
  if (name !== undefined) {
    const host = name.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
    if (!hasTls(settings)) {
      // A name without a certificate belongs to a reverse proxy, which has one.
      return new URL(`${isLoopback(host) ? "http" : "https"}://${name}`).origin;
    }
    return new URL(`https://${/:\d+$/.test(name) ? name : `${name}:${httpPort}`}`).origin;
  }
  if (httpPort === 0 || bind === "0.0.0.0" || bind === "::") return null;
  const host = bind.includes(":") ? `[${bind}]` : bind;
  return new URL(`${hasTls(settings) ? "https" : "http"}://${host}:${httpPort}`).origin;
}

function originOf(name: string, text: string): string {
  const url = URL.parse(text);
  const isFine = (url?.protocol === "https:" || url?.protocol === "http:") &&
    url.pathname === "/" && url.search + url.hash + url.username + url.password === "";
  // The value is not repeated in the message, because messages end up in logs.
  if (text.includes("@")) throw new UsageError(`${name} must not contain a user or password`);
  if (!isFine) {
    throw new UsageError(`${name} must look like https://bus.example.org, found ${quote(text)}`);
  }
  return url.origin;
}

/** Returns the link of a token. Browsers do not send the part after `#`. */
export function linkOf(base: string, token: string): string {
  return `${base}/join#${token}`;
}

/** Reports whether a browser lets a page at this URL create keys. */
export function isSecure(base: string): boolean {
  const url = new URL(base);
  return url.protocol === "https:" || isLoopbackUrl(url);
}

/** Width of the quiet zone around a QR code. */
const BORDER = 2;

/** Renders a QR code as text, two rows of modules per line. */
export async function qrLines(text: string, isTerminal: boolean): Promise<string[]> {
  const { encode } = await import("uqr");
  const { data, size } = encode(text, { ecc: "L", border: BORDER });
  const lines: string[] = [];
  for (let y = 0; y < size; y += 2) {
    const line = Array.from({ length: size }, (_, x) => {
      const [upper, lower] = [data[y]![x]!, data[y + 1]?.[x] ?? false];
      return upper ? lower ? " " : "▄" : lower ? "▀" : "█";
    }).join("");
    // On a terminal, set white on black explicitly; elsewhere, assume a dark background.
    lines.push(isTerminal ? `\x1b[97;40m${line}\x1b[0m` : line);
  }
  return lines;
}
