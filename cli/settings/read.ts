/**
 * Parses values of the server's settings from the text of a flag, an environment variable or the
 * file.
 *
 * @module
 */

import { isIP } from "node:net";
import { serverUrls } from "../../src/nats/connection/servers.ts";

/** An invalid value; the message continues a sentence that begins with the setting's name. */
export class BadValue extends Error {}

/** Ends a message with the value that was found; not one that may contain a password. */
export function foundText(value: string): string {
  return value.includes("@") ? "" : `, found ${quote(value)}`;
}

/** Quotes a value for a message, at most 80 characters of it. */
export function quote(value: string): string {
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
}

/** Parses text, which must not be empty or contain control characters. */
export function text(value: string): string {
  // deno-lint-ignore no-control-regex
  if (value.trim() === "" || /[\x00-\x1f\x7f]/.test(value)) {
    throw new BadValue("must be non-empty text without control characters");
  }
  return value;
}

/** Parses a listen address. */
export function address(value: string): string {
  const host = value.trim();
  if (isIP(host) !== 0 || /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(host)) return host;
  throw new BadValue("must be an IP address or a host name, such as 127.0.0.1");
}

/** Parses a port; 0 means any free port. */
export function port(value: string): number {
  const found = /^\d{1,5}$/.test(value.trim()) ? Number(value) : NaN;
  if (found <= 65_535) return found;
  throw new BadValue("must be a port from 0 (any free port) to 65535");
}

/** Parses a port, or `none`. */
export function portOrNone(value: string): number | "none" {
  if (value.trim() === "none") return "none";
  try {
    return port(value);
  } catch {
    throw new BadValue("must be a port from 0 (any free port) to 65535, or none");
  }
}

/** Creates a parser of one of `words`, which are also its property, for completions. */
export function oneOf<const W extends string>(
  ...words: W[]
): ((value: string) => W) & { readonly words: readonly W[] } {
  const read = (value: string) => {
    const found = words.find((it) => it === value.trim());
    if (found !== undefined) return found;
    throw new BadValue(`must be ${words.slice(0, -1).join(", ")} or ${words.at(-1)}`);
  };
  return Object.assign(read, { words });
}

/** Parses true or false. */
export function truth(value: string): boolean {
  const found = ["true", "false"].indexOf(value.trim());
  if (found !== -1) return found === 0;
  throw new BadValue("must be true or false");
}

/** Creates a parser of whole numbers. */
export function whole(min: number, max: number): (value: string) => number {
  return (value) => {
    const found = /^\d{1,9}$/.test(value.trim()) ? Number(value) : NaN;
    if (found >= min && found <= max) return found;
    throw new BadValue(`must be a whole number from ${min} to ${max}`);
  };
}

/** Parses a name of a NATS server or cluster. */
export function name(value: string): string {
  if (/^[\w.-]{1,64}$/.test(value.trim())) return value.trim();
  throw new BadValue("must be 1 to 64 letters, digits and ._-");
}

/** Creates a parser of a comma-separated list. */
export function list(item: (value: string) => string): (value: string) => string[] {
  return (value) => value.split(",").map((it) => it.trim()).filter((it) => it !== "").map(item);
}

/** Parses the address of another node's cluster port. */
export function route(value: string): string {
  const found = /^(?:nats(?:-route)?:\/\/)?((?:\[[0-9a-f:.]+\]|[\w.-]+):(\d{1,5}))\/?$/i.exec(
    value,
  );
  if (found && Number(found[2]) >= 1 && Number(found[2]) <= 65_535) return found[1]!;
  throw new BadValue("must be a comma-separated list of host:port of the other nodes");
}

/** Parses a NATS server's URL. */
export function natsUrl(value: string): string {
  const url = URL.parse(value.includes("://") ? value : `nats://${value}`);
  if (value.includes("@")) {
    throw new BadValue(
      "must not contain a user or password; use --nkey-seed-file or --creds instead",
    );
  }
  const fits = (url?.protocol === "nats:" || url?.protocol === "tls:") && url.hostname !== "" &&
    /^\/?$/.test(url.pathname) && url.search + url.hash === "";
  if (fits) return url.href.replace(/\/$/, "");
  throw new BadValue("must look like nats://127.0.0.1:4222 or tls://host:4222");
}

/** Parses one or more URLs of NATS servers, separated by commas. */
export function natsUrls(value: string): string[] {
  return serverUrls(value).map(natsUrl);
}

/** Parses a URL by which clients reach this node. */
export function publicUrl(value: string): string {
  const url = URL.parse(value);
  if (url !== null && ["nats:", "tls:"].includes(url.protocol)) return natsUrl(value);
  const fits = url !== null && ["http:", "https:"].includes(url.protocol) &&
    url.search + url.hash + url.username + url.password === "";
  if (fits) return url.href.replace(/\/$/, "");
  throw new BadValue("must look like https://n1.example.org:8470 or tls://n1.example.org:4250");
}

/** Parses a URL of NATS over WebSocket. */
export function wsUrl(value: string): string {
  const url = URL.parse(value);
  // It becomes a part of the pages' Content-Security-Policy.
  const fits = url !== null && ["ws:", "wss:"].includes(url.protocol) &&
    /^[\w.-]+$/.test(url.hostname) && /^[\w./~-]*$/.test(url.pathname) &&
    url.search + url.hash + url.username + url.password === "";
  if (fits) return url.href.replace(/\/$/, "");
  throw new BadValue("must look like wss://bus.example.org/bus or ws://127.0.0.1:4252");
}

/** Parses the origin of a web page. */
export function origin(value: string): string {
  const url = URL.parse(value);
  const fits = url !== null && ["http:", "https:"].includes(url.protocol) &&
    url.href === `${url.origin}/`;
  if (fits) return url.origin;
  throw new BadValue("must look like https://bus.example.org or https://bus.example.org:8470");
}

/** Parses a name of the server: `host` or `host:port`. */
export function authority(value: string): string {
  const url = URL.parse(`http://${value}`);
  if (url !== null && url.pathname === "/" && !/[/@?#\s]/.test(value)) return value.toLowerCase();
  throw new BadValue("must be host or host:port, such as bus.example.org");
}

const UNITS: Record<string, number> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

/** Parses a number of bytes such as `64MiB`, `1.5 GB` or `1048576`. */
export function bytes(value: string): number {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(value.trim()) ?? [];
  const found = Math.floor(Number(number) * (UNITS[unit.toLowerCase()] ?? NaN));
  if (found >= 1 && found <= 2 ** 40) return found;
  throw new BadValue("must be a number of bytes, such as 64MiB or 1GB");
}
