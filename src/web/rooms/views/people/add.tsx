/**
 * Adding people to a room: by card, or those one shares another room with.
 *
 * @module
 */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { isStoreError } from "../../../../core/errors.ts";
import { parseCard } from "../../../../keys/identity_format.ts";
import { visible } from "../../../shared/format.ts";
import { Dialog } from "../../../shared/ui/dialog.tsx";
import { Name } from "../../../shared/ui/key.tsx";
import { Button, Field, Notice } from "../../../shared/ui/page.tsx";
import { useModel } from "../../model/model.ts";
import type { Talk } from "../../model/talk.ts";
import { cardIn, goTo } from "../../place.ts";
import { useDesk, useName } from "../parts/context.ts";
import { useTask } from "../parts/task.ts";
import { Ask, Person } from "../parts/ui.tsx";
import { KnownPeople } from "./known.tsx";

/** The dialog of a room's owner. */
export function Add({ talk, onClose }: { talk: Talk; onClose: () => void }): JSX.Element {
  const { card, check, field } = useCard();
  return (
    <Ask
      title={<>Add a person to {visible(talk.id)}</>}
      action="Add"
      stay="Back"
      check={check}
      work={async () => {
        await talk.room.addMember(card());
        await talk.readMembers();
      }}
      onClose={onClose}
    >
      <Field
        label="Card"
        hint="The person finds it on this page, under their own name, and sends it to you."
        {...field}
      />
      <KnownPeople talk={talk} />
    </Ask>
  );
}

/** A field for a card: its properties, `check`, which says in it what is wrong, and the card that it found. */
export function useCard() {
  const [text, setText] = useState("");
  const [error, setError] = useState<string | null>(null);
  const onInput = (value: string): void => {
    setText(value);
    setError(null);
  };
  const check = (): boolean => {
    const fault = cardFault(text);
    setError(fault);
    return fault === null;
  };
  return {
    card: () => cardIn(text)!,
    check,
    field: { value: text, error, autoComplete: "off", onInput } as const,
  };
}

/** Returns what is wrong with a text that should be a card; null: nothing. */
function cardFault(text: string): string | null {
  const card = cardIn(text.trim());
  if (card === null) return "Paste a card: it begins with unibus1.";
  try {
    parseCard(card);
    return null;
  } catch (error) {
    return isStoreError(error) ? "The card is incomplete or damaged" : String(error);
  }
}

/** The dialog of a link with a card: to which of one's own rooms to add the person. */
export function AddByLink({ card, onClose }: { card: string; onClose: () => void }): JSX.Element {
  const { talks, isRead } = useModel(useDesk());
  const own = [...talks.values()].filter((it) => it.isOwn && it.state.is === "open");
  const fault = cardFault(card);
  if (fault !== null) {
    return (
      <Dialog title="Add a person" onClose={onClose}>
        <Notice tone="bad">{fault}. Ask for the link again.</Notice>
      </Dialog>
    );
  }
  return (
    <Dialog title="Add a person" onClose={onClose}>
      <Wisher endpoint={parseCard(card).signPub} />
      {own.length === 0 && (
        <p class="muted" role="status">
          {isRead ? "You own no room that is open. Create one first." : "Reading your rooms …"}
        </p>
      )}
      <ul class="people">
        {own.map((it) => <AddTo key={it.id} talk={it} card={card} onDone={onClose} />)}
      </ul>
    </Dialog>
  );
}

/** Whose card it is. */
function Wisher({ endpoint }: { endpoint: string }): JSX.Element {
  const { names } = useDesk();
  useName(endpoint);
  return (
    <>
      <p>
        <Person endpoint={endpoint} withKey /> wants to be added to a room of yours.
      </p>
      {names.get(endpoint) === null && (
        <Notice tone="warn">
          This server has no user with this key. The card may be for another server, or the person
          has to join this one first, with an invite.
        </Notice>
      )}
    </>
  );
}

function AddTo(
  { talk, card, onDone }: { talk: Talk; card: string; onDone: () => void },
): JSX.Element {
  const { busy, failure, run } = useTask();
  const name = visible(talk.id);
  return (
    <li>
      <span class="person-facts">
        <Name>{talk.id}</Name>
        {failure !== null && <span class="error" role="alert">{failure}</span>}
      </span>
      <Button
        look="primary"
        busy={busy}
        label={`Add to ${name}`}
        onClick={() =>
          run(async () => {
            await talk.room.addMember(card);
            onDone();
            goTo(talk.id);
          })}
      >
        Add
      </Button>
    </li>
  );
}
