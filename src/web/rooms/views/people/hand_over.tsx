/**
 * Making another member the owner of one's own room.
 *
 * @module
 */

import type { JSX } from "preact";
import { visible } from "../../../shared/format.ts";
import type { Talk } from "../../model/talk.ts";
import { useName } from "../parts/context.ts";
import { Ask, Person } from "../parts/ui.tsx";

/** The dialog. */
export function HandOver(
  { talk, endpoint, onClose }: { talk: Talk; endpoint: string; onClose: () => void },
): JSX.Element {
  const name = useName(endpoint);
  return (
    <Ask
      title={<>Hand {visible(talk.id)} over to {name}?</>}
      action="Hand the room over"
      danger
      work={() => talk.handOver(endpoint)}
      onClose={onClose}
    >
      <p>
        <Person endpoint={endpoint} withKey />{" "}
        will be the owner: only the owner can add and remove people, create the room's keys, and
        delete it. You stay a member, and can leave.
      </p>
      <p>
        You cannot take the room back: only the new owner can return it. The other members' pages
        and programs accept the new owner, because you sign the change.
      </p>
    </Ask>
  );
}
