/**
 * Which room is shown: the fragment of the address, so that Back works and a room can be linked.
 *
 * @module
 */

import { useEffect, useState } from "preact/hooks";
import { decoded, useFragment } from "../shared/fragment.ts";

/** The address of a room. */
export function hrefOf(roomId: string): string {
  return `#room=${encodeURIComponent(roomId)}`;
}

/** The address of the list of rooms. */
export const HOME = "#";

/** Goes to a room. */
export function goTo(roomId: string): void {
  location.hash = hrefOf(roomId);
}

/** Goes to the list, so that Back does not lead to a room one has left. */
export function leave(): void {
  location.replace(HOME);
}

/** The room in the address, also after it has changed; null: none. */
export function usePlace(): string | null {
  const [, id = ""] = /^#room=(.+)$/s.exec(useFragment()) ?? [];
  return decoded(id);
}

/** The card in a link such as `…/rooms#card=unibus1.…`, or in a text that is one; null: there is none. */
export function cardIn(text: string): string | null {
  return /(?:^|#card=|\s)(unibus1\.[\w-]+)\s*$/.exec(text)?.[1] ?? null;
}

/** The card in the address, which it is taken out of, until it is dropped; one may be pasted in later too. */
export function useCard(): [card: string | null, drop: () => void] {
  const [card, set] = useState(takeCard);
  useEffect(() => {
    const look = (): void => set((before) => takeCard() ?? before);
    addEventListener("hashchange", look);
    // One may have been pasted between the drawing and now.
    look();
    return () => removeEventListener("hashchange", look);
  }, []);
  return [card, () => set(null)];
}

function takeCard(): string | null {
  if (!location.hash.startsWith("#card=")) return null;
  const card = cardIn(location.hash);
  history.replaceState(null, "", location.pathname);
  return card;
}
