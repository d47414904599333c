/**
 * Which view is shown: the fragment of the address, so that views can be linked and Back works.
 *
 * @module
 */

import { decoded } from "../shared/fragment.ts";

/** The views, in the order of the navigation. */
export const VIEWS = ["overview", "users", "invites", "rooms", "log"] as const;
/** One of {@link VIEWS}. */
export type View = typeof VIEWS[number];

/** A place in the console. */
export interface Place {
  /** The view. */
  readonly view: View;
  /** What of it: a user's key, a room's id, an invite's, a filter of the log. */
  readonly id: string | null;
}

/** Reads a fragment such as `#/rooms/ops`; what is unknown is the overview. */
export function placeOf(fragment: string): Place {
  const [, name = "", id = ""] = /^#\/([a-z]*)(?:\/(.*))?$/s.exec(fragment) ?? [];
  const view = VIEWS.find((it) => it === name) ?? "overview";
  return { view, id: view === name ? decoded(id) : null };
}

/** The fragment of a place. */
export function hrefOf(view: View, id: string | null = null): string {
  return id === null ? `#/${view}` : `#/${view}/${encodeURIComponent(id)}`;
}

/** Goes to another place instead of this one: Back does not lead here again. */
export function leaveFor(view: View): void {
  location.replace(hrefOf(view));
}
