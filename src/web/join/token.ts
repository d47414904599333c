/// <reference lib="dom" />
/**
 * Reads the invite's token from the link's fragment: browsers do not send the part after `#`.
 *
 * @module
 */

import { tokenIn as tokenOf } from "../../core/validate.ts";

/** What was in the address: nothing, something that is no token, or a token. */
export type Found = { is: "none" } | { is: "mistyped" } | { is: "token"; token: string };

/** Reads the token and takes it out of the address bar and the history. */
export function takeToken(): Found {
  const found = tokenIn(location.hash.slice(1));
  if (location.hash !== "") history.replaceState(null, "", location.pathname);
  return found;
}

/** The token in a link or by itself, as people paste it. */
export function tokenIn(text: string): Found {
  const token = tokenOf(text);
  if (token === null && /^(%20|\s)*$/.test(text.slice(text.lastIndexOf("#") + 1))) {
    return { is: "none" };
  }
  return token === null ? { is: "mistyped" } : { is: "token", token };
}
