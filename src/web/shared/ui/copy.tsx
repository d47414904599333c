/**
 * Copying a text.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

/** A button that copies a text and says so. */
export function CopyButton(
  { text, label, look, refused }: {
    text: string;
    label: string;
    /** The class of a button that shows its label; without it is a small one with an icon. */
    look?: string;
    /** What to say where the browser does not allow it. */
    refused?: string;
  },
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
      say(refused ?? "Not copied: the browser does not allow it");
    }
    timer.current = setTimeout(() => say(""), 2500);
  };
  return (
    <span class="copy">
      <button
        type="button"
        class={look ?? "copy-button"}
        aria-label={look === undefined ? label : undefined}
        title={look === undefined ? label : undefined}
        onClick={() => void copy()}
      >
        {look === undefined ? <CopyIcon done={said === "Copied"} /> : label}
      </button>
      <span role="status" class="copy-said">{said}</span>
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
