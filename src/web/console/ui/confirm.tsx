/**
 * Asking before something is done.
 *
 * @module
 */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { AskDialog, type AskProps } from "../../shared/ui/ask.tsx";
import { Field } from "../../shared/ui/page.tsx";
import { useTask } from "../hooks.ts";
import { Trouble } from "./trouble.tsx";

/** What {@link Confirm} takes. */
export interface ConfirmProps extends Omit<AskProps, "disabled" | "check"> {
  /** What must be typed first, where it cannot be undone. */
  typed?: { what: string; text: string };
}

/** A dialog that asks. */
export function Confirm({ typed, children, ...rest }: ConfirmProps): JSX.Element {
  const [given, give] = useState("");
  return (
    <AskDialog
      {...rest}
      task={useTask()}
      trouble={(failure) => <Trouble failure={failure} isChange />}
      disabled={typed !== undefined && given.trim() !== typed.text}
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
    </AskDialog>
  );
}
