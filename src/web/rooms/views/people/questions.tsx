/**
 * Asks whether a room's new owner is the right one.
 *
 * @module
 */

import type { JSX } from "preact";
import { visible } from "../../../shared/format.ts";
import { useModel } from "../../model/model.ts";
import { useDesk } from "../parts/context.ts";
import { Ask, Person } from "../parts/ui.tsx";

/** Asks about one change after the other. */
export function Questions(): JSX.Element | null {
  const { questions } = useModel(useDesk());
  const [question] = questions;
  if (question === undefined) return null;
  const { roomId, from, to, answer } = question;
  return (
    <Ask
      key={`${roomId} ${to}`}
      title="Has the owner changed?"
      action="Accept the new owner"
      stay="Do not accept"
      work={() => Promise.resolve(answer(true))}
      // Answered already, where it was accepted.
      onClose={() => answer(false)}
    >
      <p>
        The server says that the room <bdi>{visible(roomId)}</bdi>{" "}
        has a new owner. The owner decides who can read it.
      </p>
      <dl class="facts">
        <dt>Before</dt>
        <dd>
          <Person endpoint={from} withKey />
        </dd>
        <dt>Now</dt>
        <dd>
          <Person endpoint={to} withKey />
        </dd>
      </dl>
      <p>
        Before you accept, ask other members by phone or in person whether this is right. Until you
        accept, this page does not use the new owner's keys, and you may not be able to read or send
        messages.
      </p>
    </Ask>
  );
}
