/**
 * Doing the same to several rows of a list.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { Button } from "../../shared/ui/page.tsx";
import { type Failure, failureOf, isAway, wordsOf } from "../data/failure.ts";
import { useSession } from "../data/session.ts";
import { counted, number } from "../../shared/format.ts";
import { useTask } from "../hooks.ts";
import { Dialog } from "../../shared/ui/dialog.tsx";
import type { Picked } from "./table.tsx";

/** How many names are shown before it is done. */
const SHOWN = 8;

/** The selected rows of a list. */
export function usePicked<T>(
  id: (row: T) => string,
  name: (row: T) => string,
): Picked<T> & { clear(): void } {
  const [rows, keep] = useState<ReadonlyMap<string, T>>(new Map());
  return {
    rows,
    name,
    set(all, isPicked) {
      keep((old) => {
        const next = new Map(old);
        for (const row of all) {
          if (isPicked) next.set(id(row), row);
          else next.delete(id(row));
        }
        return next;
      });
    },
    clear: () => keep(new Map()),
  };
}

/** What is selected, and what can be done to all of it. */
export function BulkBar(
  { count, noun, onClear, children }: {
    count: number;
    noun: string;
    onClear: () => void;
    children: ComponentChildren;
  },
): JSX.Element {
  return (
    <div class="bulk" role="region" aria-label={`Selected ${noun}s`} hidden={count === 0}>
      <p role="status">{count > 0 && `${counted(count, noun)} selected`}</p>
      <div class="actions">
        {children}
        <Button look="quiet" onClick={onClear}>Clear selection</Button>
      </div>
    </div>
  );
}

/** What {@link BulkDialog} takes. */
export interface BulkDialogProps<T> {
  /** What is done, as `Revoke`. */
  action: string;
  /** What was done, as `revoked`. */
  done: string;
  /** What the button says that does nothing. Default `Cancel`. */
  stay?: string;
  noun: string;
  rows: readonly T[];
  id: (row: T) => string;
  /** Shows a row so that it can be told from others of the same name. */
  show: (row: T) => JSX.Element;
  /** What it means. */
  children: ComponentChildren;
  work: (row: T) => Promise<unknown>;
  /** Called after each run with the rows that it was done to. */
  onDone: (rows: readonly T[]) => void;
  onClose: () => void;
}

/** Asks, does it to one row after another, and names those it could not be done to. */
export function BulkDialog<T>(props: BulkDialogProps<T>): JSX.Element {
  const { action, done, stay = "Cancel", noun, id, show, children, work, onDone, onClose } = props;
  // Those that were selected when this was opened.
  const [rows] = useState(props.rows);
  const { say } = useSession();
  const task = useTask();
  const [count, setCount] = useState(0);
  const [failed, setFailed] = useState<readonly { row: T; failure: Failure }[]>([]);
  const left = failed.length > 0 ? failed.map((it) => it.row) : rows;
  // Why it was stopped; null: each has a reason of its own.
  const stopped = failed.at(-1)?.failure === failed.at(-2)?.failure
    ? failed.at(-1)?.failure ?? null
    : null;
  const isShort = failed.length === 0 || stopped !== null;
  if (rows.length === 0 && failed.length === 0) {
    return (
      <Dialog title={`${action} ${noun}s`} onClose={onClose}>
        <p>None of the selected {noun}s can be {done}.</p>
        <div class="actions dialog-actions">
          <Button onClick={onClose}>Close</Button>
        </div>
      </Dialog>
    );
  }
  const run = () =>
    task.run(async () => {
      const good: T[] = [];
      const bad: { row: T; failure: Failure }[] = [];
      setFailed([]);
      for (const row of left) {
        setCount(good.length + bad.length);
        try {
          await work(row);
          good.push(row);
        } catch (error) {
          const failure = failureOf(error);
          bad.push({ row, failure });
          // Each of the others would fail too.
          if (failure.kind !== "problem" || isAway(failure)) {
            const rest = left.slice(good.length + bad.length);
            bad.push(...rest.map((row) => ({ row, failure })));
            break;
          }
        }
      }
      onDone(good);
      const rest = bad.length > 0 ? `, ${number(bad.length)} not` : "";
      say(`${counted(good.length, noun)} ${done}${rest}`);
      setFailed(bad);
      if (bad.length === 0) onClose();
    });
  return (
    <Dialog
      title={`${action} ${counted(left.length, noun)}?`}
      onClose={onClose}
      busy={task.busy}
    >
      <div class="stack">
        {failed.length === 0 ? <p>{children}</p> : (
          <p class="notice bad" role="alert">
            {counted(failed.length, noun)} could not be {done}.
            {stopped &&
              ` ${wordsOf(stopped)} The first of them may have been ${done} nevertheless.`}
          </p>
        )}
        <ul class="bulk-names">
          {isShort
            ? left.slice(0, SHOWN).map((row) => <li key={id(row)}>{show(row)}</li>)
            : failed.map(({ row, failure }) => (
              <li key={id(row)}>
                {show(row)}: {wordsOf(failure)}
              </li>
            ))}
        </ul>
        {isShort && left.length > SHOWN && (
          <p class="muted">and {number(left.length - SHOWN)} more</p>
        )}
        <div class="actions dialog-actions">
          <Button onClick={onClose} disabled={task.busy}>
            {failed.length === 0 ? stay : "Close"}
          </Button>
          <Button look="danger" busy={task.busy} onClick={run}>
            {task.busy
              ? `${number(count)} of ${number(left.length)}`
              : failed.length > 0
              ? "Try again"
              : `${action} ${counted(rows.length, noun)}`}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
