/**
 * The user of this command, as the history and the audit log name it.
 *
 * @module
 */

import { hostname, userInfo } from "node:os";

/** Longest user and host name, in characters. */
const MAX = 60;

/** Returns `cli:USER@HOST`; `unknown` for what the system does not tell. */
export function actor(): string {
  return `cli:${known(() => userInfo().username)}@${host()}`;
}

/** Returns the name of this machine. */
export function host(): string {
  return known(hostname);
}

function known(ask: () => string): string {
  try {
    return [...ask().replace(/\p{C}/gu, "")].slice(0, MAX).join("") || "unknown";
  } catch {
    return "unknown";
  }
}
