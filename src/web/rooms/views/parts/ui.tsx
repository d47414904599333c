/**
 * Small pieces that several views show.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { clock, moment, shortKey } from "../../../shared/format.ts";
import { Dialog } from "../../../shared/ui/dialog.tsx";
import { Button, Form, Notice } from "../../../shared/ui/page.tsx";
import { useDesk, useName } from "./context.ts";
import { useTask } from "./task.ts";

/** A person by name. Names are not unique, so the key can stand beside it. */
export function Person(
  { endpoint, withKey = false }: { endpoint: string; withKey?: boolean },
): JSX.Element {
  const { me } = useDesk();
  const name = useName(endpoint);
  return (
    <span class="person">
      <bdi class="name">{name}</bdi>
      {endpoint === me.signPub && " (you)"}
      {withKey && (
        <>
          {" "}
          <code class="who-key" title={endpoint}>{shortKey(endpoint)}</code>
        </>
      )}
    </span>
  );
}

/** A time of day, with the date to point at. */
export function Time({ at }: { at: number }): JSX.Element {
  return <time dateTime={new Date(at).toISOString()} title={moment(at)}>{clock(at)}</time>;
}

/** What {@link Ask} takes. */
export interface AskProps {
  title: ComponentChildren;
  /** What will happen. */
  children: ComponentChildren;
  /** What the button says. */
  action: string;
  danger?: boolean;
  /** What the other button says. Default `Cancel`. */
  stay?: string;
  disabled?: boolean;
  /** Looks at what was filled in; if it is not complete, nothing is done. */
  check?: () => boolean;
  work: () => Promise<void>;
  onClose: () => void;
}

/** A dialog with one thing to do. What failed is said in it, and it stays. */
export function Ask(props: AskProps): JSX.Element {
  const { title, children, action, danger, stay = "Cancel", disabled, work, onClose } = props;
  const { check = () => true } = props;
  const { busy, failure, run } = useTask();
  return (
    <Dialog title={title} onClose={onClose} busy={busy}>
      <Form
        onSubmit={() => {
          if (!disabled && check()) run(() => work().then(onClose));
        }}
      >
        {children}
        {failure !== null && <Notice tone="bad">{failure}</Notice>}
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
