/**
 * Small pieces that several views show.
 *
 * @module
 */

import type { JSX } from "preact";
import { clock, moment, shortKey } from "../../../shared/format.ts";
import { AskDialog, type AskProps } from "../../../shared/ui/ask.tsx";
import { Name } from "../../../shared/ui/key.tsx";
import { Notice } from "../../../shared/ui/page.tsx";
import { useDesk, useName } from "./context.ts";
import { useTask } from "./task.ts";

/** A person by name. Names are not unique: the key can stand beside it, and does where two have one. */
export function Person(
  { endpoint, withKey = false }: { endpoint: string; withKey?: boolean },
): JSX.Element {
  const { me, names } = useDesk();
  const name = useName(endpoint);
  return (
    <span class="person">
      <Name>{name}</Name>
      {endpoint === me.signPub && " (you)"}
      {/* Where there is no name, the key stands in its place. */}
      {names.get(endpoint) && (withKey || names.isShared(endpoint)) && (
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

/** A dialog with one thing to do. */
export function Ask(props: AskProps): JSX.Element {
  const trouble = (failure: string) => <Notice tone="bad">{failure}</Notice>;
  return <AskDialog {...props} task={useTask()} trouble={trouble} />;
}
