/**
 * Keys, ids and names.
 *
 * @module
 */

import type { JSX } from "preact";
import { CopyButton } from "./copy.tsx";
import { shortKey, visible } from "../format.ts";

/** A key, shortened in the middle, with a button that copies all of it. */
export function Key(
  { value, what, whole = false }: { value: string; what: string; whole?: boolean },
): JSX.Element {
  return (
    <span class={whole ? "key key-whole" : "key"}>
      <code title={whole ? undefined : value}>{whole ? value : shortKey(value)}</code>
      <CopyButton text={value} label={`Copy ${what}`} />
    </span>
  );
}

/** A name that a person chose: shown as it is, and kept from turning the text around it. */
export function Name({ children }: { children: string }): JSX.Element {
  const text = visible(children);
  return <bdi class="name" title={text}>{text}</bdi>;
}
