/**
 * The links of invitations: where the server is that they open, and their QR codes.
 *
 * @module
 */

import { Option } from "@commander-js/extra-typings";
import { isLoopback, isLoopbackUrl } from "../src/core/host/loopback.ts";
import type { Context } from "./command.ts";
import { UsageError } from "./terminal/failure.ts";
import { hasTls } from "./serve/settings/guards.ts";
import type { Settings } from "./serve/settings/settings.ts";

/** `--url`. */
export function urlOption(): Option<"--url <url>"> {
  return new Option(
    "--url <url>",
    "where people reach the server, for the link (default: UNIBUS_URL, or what the server's own " +
      "settings in the environment and UNIBUS_CONFIG say)",
  ) as Option<"--url <url>">;
}

/** Where people reach the server, without a slash at the end; null: nothing here tells. */
export async function baseOf(
  { io: { env } }: Context,
  { url }: { url?: string | undefined },
): Promise<string | null> {
  if (url !== undefined) return originOf("--url", url);
  if (env.UNIBUS_URL) return originOf("UNIBUS_URL", env.UNIBUS_URL);
  const { serverSettings } = await import("./store/chosen.ts");
  try {
    const { settings, sources } = await serverSettings(env);
    const isSaid = TELLING.some((it) => sources[it] !== "default");
    return isSaid ? publicUrl(settings) : null;
  } catch (error) {
    // What is wrong with the server's settings is the server's to tell.
    if (error instanceof UsageError) return null;
    throw error;
  }
}

/** Settings that say where a server is. */
const TELLING = ["authority", "bind", "httpPort", "tlsCert"] as const;

/** Where a server with these settings is reached; null where they do not tell. */
export function publicUrl(settings: Settings): string | null {
  const { bind, authority, httpPort } = settings;
  const [name] = authority;
  if (name !== undefined) {
    const host = name.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
    if (!hasTls(settings)) {
      // A name of ours without a certificate of ours is that of a proxy in front, which has one.
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
  // Who put a password into it is not shown it again: messages end up in logs.
  if (text.includes("@")) throw new UsageError(`${name} takes no user and password`);
  if (!isFine) {
    throw new UsageError(`${name} must be such as https://bus.example.org, found ${quote(text)}`);
  }
  return url.origin;
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

/** The link of a token. Behind `#` stands what a browser sends to nobody. */
export function linkOf(base: string, token: string): string {
  return `${base}/join#${token}`;
}

/** Whether a browser would make keys on a page from there. */
export function isSecure(base: string): boolean {
  const url = new URL(base);
  return url.protocol === "https:" || isLoopbackUrl(url);
}

/** Light modules around a code, so that readers find it. */
const BORDER = 2;

/** The lines of a QR code, two rows of modules in one of text. */
export async function qrLines(text: string, isTerminal: boolean): Promise<string[]> {
  const { encode } = await import("uqr");
  const { data, size } = encode(text, { ecc: "L", border: BORDER });
  const lines: string[] = [];
  for (let y = 0; y < size; y += 2) {
    const line = Array.from({ length: size }, (_, x) => {
      const [upper, lower] = [data[y]![x]!, data[y + 1]?.[x] ?? false];
      return upper ? lower ? " " : "▄" : lower ? "▀" : "█";
    }).join("");
    // White on black whatever the terminal's colours are; elsewhere as on a dark terminal.
    lines.push(isTerminal ? `\x1b[97;40m${line}\x1b[0m` : line);
  }
  return lines;
}
