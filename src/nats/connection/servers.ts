/**
 * The URLs of NATS servers as callers give them: one, several in a list, or several in one text.
 *
 * @module
 */

/** A URL in a text: it ends at a comma, except in its user and password. */
const URL_IN_TEXT = /\s*(?:[a-z]+:\/\/)?(?:[^@/]*@)?[^,]+/gi;

/** Returns each URL; a text may contain several, separated by commas. */
export function serverUrls(servers: string | readonly string[]): string[] {
  return [servers].flat().flatMap((it) => it.match(URL_IN_TEXT) ?? [])
    .map((it) => it.trim()).filter((it) => it !== "");
}

/** Returns each URL without user and password. */
export function withoutLogins(servers: string | readonly string[]): string[] {
  return serverUrls(servers).map((it) => it.replace(/(^|\/\/)[^/]*@/, "$1"));
}

/** Formats the URLs without user and password, for messages. */
export function showServers(servers: string | readonly string[]): string {
  return withoutLogins(servers).join(", ");
}
