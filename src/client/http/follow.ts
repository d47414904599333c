/**
 * Which URLs of a server's list of nodes a client may use.
 *
 * A false server must not be able to divert a client beyond what it could do anyway. So a list counts
 * only if it came from a URL that the caller gave, and over TLS or loopback; the URLs in it are https
 * with a valid certificate, or on loopback if the given one is; and they are used only while no given
 * URL answers, and for as long as the client exists.
 *
 * @module
 */

import { isLoopbackUrl } from "../../core/host/loopback.ts";
import { isPrivate } from "./sender.ts";

/** Maximum number of URLs that are taken from a list. */
const MOST = 32;

/** Returns a URL of a control plane, its path ending with a slash, or `null` if it is none. */
export function baseOf(given: unknown): URL | null {
  let base: URL;
  try {
    base = new URL(given as string | URL);
  } catch {
    return null;
  }
  const isHttp = base.protocol === "http:" || base.protocol === "https:";
  if (!isHttp || base.search + base.hash + base.username + base.password !== "") return null;
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  return base;
}

/** Whether a list that came from a URL counts: over cleartext anyone on the network may have written it. */
export function maySayNodes(source: URL): boolean {
  return isPrivate(source);
}

/** Whether a client may use `url`, which a server at `source` named. */
export function mayFollow(url: URL, source: URL): boolean {
  const isLocal = isLoopbackUrl(source);
  // Another machine must not send this one to its own services.
  if (isLoopbackUrl(url) && !isLocal) return false;
  return url.protocol === "https:" ||
    (isLocal && isLoopbackUrl(url) && source.protocol === "http:");
}

/** Returns the URLs in a response of `GET /v1/nodes` from `source` that a client may use. */
export function followed(answer: unknown, source: URL): URL[] {
  const found = new Map<string, URL>();
  for (const node of listOf(answer, "nodes")) {
    for (const text of listOf(node, "urls")) {
      const url = typeof text === "string" ? baseOf(text) : null;
      if (url !== null && mayFollow(url, source)) found.set(url.href, url);
    }
  }
  return [...found.values()].slice(0, MOST);
}

function listOf(value: unknown, name: string): unknown[] {
  const list = (value as Record<string, unknown> | null)?.[name];
  return Array.isArray(list) ? list : [];
}
