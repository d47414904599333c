/**
 * Asking before something is done.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { Button, Field, Form } from "../../shared/ui/page.tsx";
import { useTask } from "../hooks.ts";
import { Dialog } from "../../shared/ui/dialog.tsx";
import { Trouble } from "./pieces.tsx";

/** What {@link Confirm} takes. */
export interface ConfirmProps {
  title: ComponentChildren;
  /** What will happen, and whether it can be undone. */
  children: ComponentChildren;
  /** What the button says. */
  action: string;
  danger?: boolean;
  /** What the button says that does nothing. Default `Cancel`. */
  stay?: string;
  /** What must be typed first, where it cannot be undone. */
  typed?: { what: string; text: string };
  /** Does it; the dialog goes when it was done. */
  work: () => Promise<void>;
  onClose: () => void;
}

/** A dialog that asks. What failed is said in it, and it stays. */
export function Confirm(props: ConfirmProps): JSX.Element {
  const { title, children, action, danger, stay = "Cancel", typed, work, onClose } = props;
  const { busy, failure, run } = useTask();
  const [given, give] = useState("");
  const ready = typed === undefined || given.trim() === typed.text;
  return (
    <Dialog title={title} onClose={onClose} busy={busy}>
      <Form
        onSubmit={() => {
          if (!ready) return;
          run(async () => {
            await work();
            onClose();
          });
        }}
      >
        {children}
        {typed && (
          <Field
            label={`Type ${typed.what} to confirm`}
            hint={<code class="to-type">{typed.text}</code>}
            value={given}
            onInput={give}
            autoComplete="off"
          />
        )}
        {failure && <Trouble failure={failure} />}
        <div class="actions dialog-actions">
          <Button onClick={onClose} disabled={busy}>{stay}</Button>
          <Button look={danger ? "danger" : "primary"} busy={busy} disabled={!ready}>
            {action}
          </Button>
        </div>
      </Form>
    </Dialog>
  );
}
