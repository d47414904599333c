/**
 * Values of the server's settings, read from the text that a flag, the environment or the file has.
 *
 * @module
 */

import { isIP } from "node:net";

/** What is wrong with a value: the rest of a sentence that begins with the setting's name. */
export class BadValue extends Error {}

/** Reads text, which must not be empty or hold what no name or path needs. */
export function text(value: string): string {
  // deno-lint-ignore no-control-regex
  if (value.trim() === "" || /[\x00-\x1f\x7f]/.test(value)) throw new BadValue("must be some text");
  return value;
}

/** Reads an address to listen on. */
export function address(value: string): string {
  const host = value.trim();
  if (isIP(host) !== 0 || /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(host)) return host;
  throw new BadValue("must be an IP address or a host name, such as 127.0.0.1");
}

/** Reads a port; 0 is any free one. */
export function port(value: string): number {
  const found = /^\d{1,5}$/.test(value.trim()) ? Number(value) : NaN;
  if (found <= 65_535) return found;
  throw new BadValue("must be a port from 0 (any free one) to 65535");
}

/** Reads one of `words`, which whoever offers choices finds on it. */
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

/** Reads yes or no. */
export function truth(value: string): boolean {
  const found = ["true", "false"].indexOf(value.trim());
  if (found !== -1) return found === 0;
  throw new BadValue("must be true or false");
}

/** Reads a whole number. */
export function whole(min: number, max: number): (value: string) => number {
  return (value) => {
    const found = /^\d{1,9}$/.test(value.trim()) ? Number(value) : NaN;
    if (found >= min && found <= max) return found;
    throw new BadValue(`must be a whole number from ${min} to ${max}`);
  };
}

/** Reads a name that NATS takes for a server or a cluster. */
export function name(value: string): string {
  if (/^[\w.-]{1,64}$/.test(value.trim())) return value.trim();
  throw new BadValue("must be 1 to 64 letters, digits and ._-");
}

/** Reads a list with commas between its items. */
export function list(item: (value: string) => string): (value: string) => string[] {
  return (value) => value.split(",").map((it) => it.trim()).filter((it) => it !== "").map(item);
}

/** Reads the address of another node's cluster port. */
export function route(value: string): string {
  const found = /^(?:nats(?:-route)?:\/\/)?((?:\[[0-9a-f:.]+\]|[\w.-]+):(\d{1,5}))\/?$/i.exec(
    value,
  );
  if (found && Number(found[2]) >= 1 && Number(found[2]) <= 65_535) return found[1]!;
  throw new BadValue("must be host:port of the other nodes, with commas between them");
}

/** Reads a NATS server's URL. */
export function natsUrl(value: string): string {
  const url = URL.parse(value.includes("://") ? value : `nats://${value}`);
  const fits = (url?.protocol === "nats:" || url?.protocol === "tls:") && url.hostname !== "" &&
    /^\/?$/.test(url.pathname) && url.search + url.hash === "" && !value.includes("@");
  if (fits) return url.href.replace(/\/$/, "");
  throw new BadValue("must be such as nats://10.0.0.1:4222, without user and password");
}

/** Reads a name by which the server is reached: `host` or `host:port`. */
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

/** Reads a number of bytes such as `64MiB`, `1.5 GB` or `1048576`. */
export function bytes(value: string): number {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(value.trim()) ?? [];
  const found = Math.floor(Number(number) * (UNITS[unit.toLowerCase()] ?? NaN));
  if (found >= 1 && found <= 2 ** 40) return found;
  throw new BadValue("must be a number of bytes, such as 64MiB or 1GB");
}
