/**
 * Asking before something is done.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { Dialog } from "./dialog.tsx";
import { Button, Form } from "./page.tsx";
import type { Task } from "./task.ts";

/** What a page's own dialog takes. */
export interface AskProps {
  title: ComponentChildren;
  /** What will happen, and whether it can be undone. */
  children: ComponentChildren;
  /** What the button says. */
  action: string;
  danger?: boolean;
  /** What the button says that does nothing. Default `Cancel`. */
  stay?: string;
  disabled?: boolean;
  /** Looks at what was filled in; if it is not complete, nothing is done. */
  check?: () => boolean;
  /** Does it; the dialog goes when it was done. */
  work: () => Promise<void>;
  onClose: () => void;
}

/** A dialog with one thing to do. What failed is said in it, and it stays. */
export function AskDialog<F>(
  props: AskProps & { task: Task<F>; trouble: (failure: F) => JSX.Element },
): JSX.Element {
  const { title, children, action, danger, stay = "Cancel", disabled = false, onClose } = props;
  const { check = () => true, work, task: { busy, failure, run }, trouble } = props;
  return (
    <Dialog title={title} onClose={onClose} busy={busy}>
      <Form
        onSubmit={() => {
          if (!disabled && check()) run(() => work().then(onClose));
        }}
      >
        {children}
        {failure !== null && trouble(failure)}
        <div class="actions dialog-actions">
          <Button onClick={onClose} disabled={busy}>{stay}</Button>
          <Button look={danger ? "danger" : "primary"} busy={busy} disabled={disabled}>
            {action}
          </Button>
        </div>
      </Form>
    </Dialog>
  );
}
