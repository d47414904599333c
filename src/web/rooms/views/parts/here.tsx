/**
 * The members that are here in the room that is shown.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { RoomPresence } from "../../../../client/rooms/types.ts";
import { useModel } from "../../model/model.ts";
import type { Talk } from "../../model/talk.ts";
import { useDesk } from "./context.ts";

const NO_ONE: RoomPresence = { here: new Set(), isTooLarge: false };

/**
 * Says that one is here while the room is open and shown, and follows who else is; no one while there is
 * no connection.
 */
export function usePresence({ state }: Talk): RoomPresence {
  const { link } = useModel(useDesk());
  const [presence, set] = useState(NO_ONE);
  const room = state.is === "open" ? state.room : null;
  useEffect(() => {
    if (room === null) return;
    const changes = room.here();
    void (async () => {
      for await (const change of changes) set(change);
    })().catch(() => {
      // The room has ended, and the view says why.
    });
    return () => {
      void changes.return!();
      set(NO_ONE);
    };
  }, [room]);
  return link.is === "up" ? presence : NO_ONE;
}

/** A dot and words. */
export function HereMark({ children }: { children: ComponentChildren }): JSX.Element {
  return (
    <span class="pulse good here muted small">
      <span class="dot" aria-hidden="true" />
      <span>{children}</span>
    </span>
  );
}
