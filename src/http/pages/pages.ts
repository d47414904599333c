/**
 * The pages for people: `/join`, `/rooms`, `/console`, and the scripts and styles they are made of. All
 * of it is in this program; nothing comes from elsewhere, and a browser is told to fetch nothing from elsewhere.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { Context } from "hono";
import { accepts } from "hono/accepts";
import { etag } from "hono/etag";
import { StoreError } from "../../core/errors.ts";
import type { ControlPlaneNode } from "../../core/operations.ts";
import type { Html } from "./brand.ts";
import { ASSETS, DOCUMENTS } from "./web_assets.ts";

/** Which pages are there. */
export interface PagesOptions {
  /** The page that an invite's link opens, `/join`. Default true. */
  join?: boolean;
  /** The page in which members of a room talk, `/rooms`. Default true. */
  rooms?: boolean;
  /**
   * The admins' console, `/console`. Default true under `enforce`. Without
   * `enforce` it is available on this machine only, also when this is true.
   */
  console?: boolean;
}

/** One thing to serve, ready in both forms. */
interface Served {
  text: string;
  plain: Uint8Array<ArrayBuffer>;
  packed: Uint8Array<ArrayBuffer>;
  tag: string;
  headers: Readonly<Record<string, string>>;
}

/** Where scripts and styles are. */
export const ASSET_PATH = "/assets/{name}";

const TYPES: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/**
 * What a page may do: run its own script and style, and ask its own server and `connect`. A script that
 * was slipped in would find no way out, and text can nowhere become markup (Trusted Types).
 */
const policyOf = (connect: readonly string[]) =>
  [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    ["connect-src 'self'", ...connect].join(" "),
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");

/** Nothing of a machine is needed but the clipboard, to copy a link. */
const PERMISSIONS = ["camera", "geolocation", "microphone", "payment", "usb"]
  .map((it) => `${it}=()`).join(", ");

const DOCUMENT_HEADERS: Readonly<Record<string, string>> = {
  "content-type": "text/html; charset=utf-8",
  // The names of its scripts change with their content, so the document itself must be asked for.
  "cache-control": "no-cache",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": PERMISSIONS,
  "referrer-policy": "no-referrer",
  "x-frame-options": "DENY",
};

/** A URL of a WebSocket that a policy can name. */
const WS_URL = /^wss?:\/\/[\w.-]+(:\d+)?(\/[\w./~-]*)?$/;

/**
 * Returns what the page of rooms may connect to besides its own server: the WebSockets of all nodes of the
 * bus (`wsUrls` of `GET /v1/nodes`). Pass it to {@link pageOf} at each request, because nodes come and go.
 */
export function busSources(nodes: readonly Pick<ControlPlaneNode, "wsUrls">[]): string[] {
  // A library's caller may give anything; in a policy it would change what follows.
  return [...new Set(nodes.flatMap((it) => it.wsUrls ?? []).filter((it) => WS_URL.test(it)))];
}

/**
 * Responds with a page of a control plane that is mounted below `base`.
 *
 * @param connect What the page may connect to besides its own server
 */
export async function pageOf(
  name: keyof typeof DOCUMENTS,
  c: Context,
  base: string,
  connect: readonly string[] = [],
): Promise<Response> {
  return await documentOf(name, c, base, DOCUMENTS[name], connect);
}

async function documentOf(
  name: string,
  c: Context,
  base: string,
  document: string,
  connect: readonly string[] = [],
): Promise<Response> {
  const text = document.replaceAll('="/assets/', `="${base}/assets/`);
  const headers = { ...DOCUMENT_HEADERS, "content-security-policy": policyOf(connect) };
  return answerOf(await served(`page ${base}/${name}`, text, headers), c);
}

/** Responds with a page whose content the server writes. */
export async function writtenPage(
  name: "docs" | "front",
  c: Context,
  base: string,
  content: Html,
): Promise<Response> {
  // A function: in a text, "$&" would be replaced.
  return await documentOf(
    name,
    c,
    base,
    DOCUMENTS[name].replace("[[content]]", () => `${content}`),
  );
}

/** Responds with a script or a style. */
export async function assetOf(c: Context): Promise<Response> {
  const name = c.req.param("name") ?? "";
  const text = Object.hasOwn(ASSETS, name) ? ASSETS[name] : undefined;
  if (text === undefined) throw new StoreError("not_found", "No route or page at this path");
  const headers = {
    "content-type": TYPES[name.slice(name.lastIndexOf(".") + 1)]!,
    "cache-control": "public, max-age=31536000, immutable",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
  };
  return answerOf(await served(`asset ${name}`, text, headers), c);
}

const ready = new Map<string, Promise<Served>>();

/** Packs once, at the first request, and again when the text or the headers have changed. */
async function served(key: string, text: string, headers: Served["headers"]): Promise<Served> {
  const found = await ready.get(key);
  const version = JSON.stringify(headers);
  if (found?.text === text && JSON.stringify(found.headers) === version) return found;
  const plain = new TextEncoder().encode(text);
  // A browser keeps the headers with the page: with others it must load it again.
  const tag = createHash("sha256").update(plain).update(version).digest("base64url").slice(0, 22);
  const work = promisify(gzip)(plain, { level: 9 });
  const made = work.then((it) => ({ text, plain, packed: new Uint8Array(it), tag, headers }));
  ready.set(key, made);
  return await made;
}

/** Responds with 304 to a browser that has this representation. */
const unlessKnown = etag();

async function answerOf({ plain, packed, tag, headers }: Served, c: Context): Promise<Response> {
  const supports = ["gzip", "identity"];
  const coding = accepts(c, { header: "Accept-Encoding", supports, default: "identity" });
  const isPacked = coding === "gzip";
  const body = isPacked ? packed : plain;
  const response = new Response(body, {
    headers: {
      ...headers,
      // Two codings of one text are two representations, each with its own tag.
      etag: isPacked ? `"${tag}-gzip"` : `"${tag}"`,
      vary: "accept-encoding",
      "content-length": String(body.byteLength),
      ...isPacked && { "content-encoding": "gzip" },
    },
  });
  await unlessKnown(c, () => {
    c.res = response;
    return Promise.resolve();
  });
  return c.res;
}
