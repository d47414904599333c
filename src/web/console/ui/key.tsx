/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/**
 * Keys and ids, and copying them.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { shortKey, visible } from "../format.ts";

/** A button that copies a text and says so. */
export function CopyButton(
  { text, label, children }: { text: string; label: string; children?: string },
): JSX.Element {
  const [said, say] = useState("");
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async (): Promise<void> => {
    clearTimeout(timer.current);
    try {
      await navigator.clipboard.writeText(text);
      say("Copied");
    } catch {
      say("Not copied: the browser does not allow it");
    }
    timer.current = setTimeout(() => say(""), 2500);
  };
  return (
    <span class="copy">
      <button
        type="button"
        class={children === undefined ? "copy-button" : "button primary"}
        aria-label={children === undefined ? label : undefined}
        title={children === undefined ? label : undefined}
        onClick={() => void copy()}
      >
        {children ?? <CopyIcon done={said === "Copied"} />}
      </button>
      <span role="status" class={children === undefined ? "copy-said" : "copy-said copy-beside"}>
        {said}
      </span>
    </span>
  );
}

function CopyIcon({ done }: { done: boolean }): JSX.Element {
  return (
    <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" focusable="false">
      {done
        ? <path d="M3 8.5l3.2 3.2L13 5" fill="none" stroke="currentColor" stroke-width="1.8" />
        : (
          <g fill="none" stroke="currentColor" stroke-width="1.3">
            <rect x="5.5" y="5.5" width="8" height="8" rx="1.5" />
            <path d="M10.5 5.5v-1.5a1.5 1.5 0 0 0-1.5-1.5h-5a1.5 1.5 0 0 0-1.5 1.5v5a1.5 1.5 0 0 0 1.5 1.5h1.5" />
          </g>
        )}
    </svg>
  );
}

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

/** A name that somebody chose: shown as it is, and kept from turning the text around it. */
export function Name({ children }: { children: string }): JSX.Element {
  const text = visible(children);
  return <bdi class="name" title={text}>{text}</bdi>;
}
