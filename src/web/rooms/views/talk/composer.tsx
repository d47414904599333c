/// <reference lib="dom" />
/**
 * Where a message is typed.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { visible } from "../../../shared/format.ts";
import { Button } from "../../../shared/ui/page.tsx";
import type { Talk } from "../../model/talk.ts";

/** A field and a button. Enter sends; Shift and Enter begin another line. */
export function Composer({ talk }: { talk: Talk }): JSX.Element {
  const id = useId();
  const field = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(talk.draft);
  const isOpen = talk.state.is === "open";
  useEffect(() => {
    // Where there is a keyboard one wants to type; a phone's would cover half of the room.
    const isFree = document.activeElement === document.body ||
      document.activeElement?.tagName === "H1";
    if (isOpen && isFree && matchMedia("(hover: hover)").matches) field.current?.focus();
  }, [isOpen]);
  const edit = (value: string): void => {
    talk.draft = value;
    setText(value);
  };
  const send = (): void => {
    if (!isOpen || text.trim() === "") return;
    talk.send(text);
    edit("");
    field.current?.focus();
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <label class="unseen" for={id}>Message to {visible(talk.id)}</label>
      <div class="grow-wrap" data-text={text}>
        <textarea
          ref={field}
          id={id}
          class="input"
          rows={1}
          value={text}
          placeholder="Message"
          onInput={(event) => edit(event.currentTarget.value)}
          onKeyDown={(event) => {
            // While a word is being composed, Enter belongs to the keyboard.
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            send();
          }}
        />
      </div>
      <Button look="primary" disabled={!isOpen || text.trim() === ""}>Send</Button>
    </form>
  );
}
