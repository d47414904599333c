/**
 * Opening a room as if this browser had never seen it: after a restore, or where it remembers a wrong owner.
 *
 * @module
 */

import type { JSX } from "preact";
import { visible } from "../../../shared/format.ts";
import { Field } from "../../../shared/ui/page.tsx";
import type { Talk } from "../../model/talk.ts";
import { useDesk } from "../parts/context.ts";
import { Ask } from "../parts/ui.tsx";
import { useCard } from "./add.tsx";

/** The dialog. */
export function StartOver({ talk, onClose }: { talk: Talk; onClose: () => void }): JSX.Element {
  const desk = useDesk();
  const { card, check, field } = useCard();
  return (
    <Ask
      title={<>Start over with {visible(talk.id)}?</>}
      action="Start over"
      danger
      check={check}
      work={() => desk.startOver(talk, card())}
      onClose={onClose}
    >
      <p>
        Ask the owner, by phone or in person, whether the server was restored from a backup. If not,
        do not start over: someone who was removed may be able to read what you send.
      </p>
      <p>This browser then forgets the owner and the keys that it has seen of this room.</p>
      <Field
        label="Card of the owner"
        hint="The owner finds it on this page, under their own name, and sends it to you."
        {...field}
      />
    </Ask>
  );
}
