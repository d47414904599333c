/**
 * Dialogs: the browser's own, which traps the focus, takes Escape and hides what is behind.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";

/** What {@link Dialog} takes. */
export interface DialogProps {
  /** The heading. */
  title: ComponentChildren;
  /** Called when it shall go: Escape, or the close button. A click beside it might be a slip. */
  onClose: () => void;
  /** While something is under way it does not go. */
  busy?: boolean;
  /** What is in it. */
  children: ComponentChildren;
}

/** A modal dialog, open for as long as it is rendered. The focus goes back to where it was. */
export function Dialog({ title, onClose, busy, children }: DialogProps): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  const heading = useId();
  // Before the browser paints, and before the focus moves: what has it now gets it back.
  useLayoutEffect(() => {
    const dialog = ref.current!;
    const before = document.activeElement;
    dialog.showModal();
    // First what is to be filled in, else what changes nothing.
    dialog.querySelector<HTMLElement>("form input, .dialog-actions button")?.focus();
    return () => {
      dialog.close();
      // After the list behind has been drawn again: the row that opened this may be gone.
      queueMicrotask(() => restoreFocus(before));
    };
  }, []);
  const close = (): void => {
    if (busy !== true) onClose();
  };
  return (
    <dialog
      ref={ref}
      class="dialog card"
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
    >
      <div class="dialog-body">
        <header class="dialog-head">
          <h2 id={heading} class="dialog-title">{title}</h2>
          <button type="button" class="icon-button" aria-label="Close" onClick={close}>
            <span aria-hidden="true">×</span>
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

function restoreFocus(before: Element | null): void {
  // It was taken meanwhile, such as by a dialog that follows.
  if (document.activeElement !== null && document.activeElement !== document.body) return;
  const isThere = before instanceof HTMLElement && before.isConnected && before !== document.body;
  if (isThere) before.focus();
  if (document.activeElement !== before || !isThere) focusHeading();
}

/** Puts the focus on the view's heading: where a screen reader begins to read. */
export function focusHeading(): void {
  document.querySelector<HTMLElement>("main h1")?.focus();
}
