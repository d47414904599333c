/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/**
 * Pieces of a page, and what makes them usable without eyes or a mouse.
 *
 * @module
 */

import type { ComponentChildren, JSX, RefObject } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

/** A kind of {@link Notice}. */
export type Tone = "info" | "good" | "warn" | "bad";

/** A text that stands out; what is wrong is read out at once. */
export function Notice(
  { tone = "info", children }: { tone?: Tone; children: ComponentChildren },
): JSX.Element {
  return <div class={`notice ${tone}`} role={tone === "bad" ? "alert" : undefined}>{children}</div>;
}

/** What {@link Field} shows. */
export interface FieldProps {
  label: string;
  value: string;
  onInput: (value: string) => void;
  /** Said below the label. */
  hint?: ComponentChildren;
  /** What is wrong with the value. */
  error?: string | null;
  type?: "text" | "password" | "search";
  autoComplete?: string;
  maxLength?: number;
  required?: boolean;
  disabled?: boolean;
  inputRef?: RefObject<HTMLInputElement>;
}

/** A line of text to fill in, with its label, hint and error tied to it. */
export function Field(props: FieldProps): JSX.Element {
  const id = useId();
  const { label, hint, error, onInput, inputRef, type = "text", ...rest } = props;
  const about = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {hint && <div class="hint" id={`${id}-hint`}>{hint}</div>}
      <input
        {...rest}
        ref={inputRef}
        id={id}
        class="input"
        type={type as "text"}
        autoCapitalize="none"
        spellcheck={false}
        aria-invalid={error ? "true" : undefined}
        aria-describedby={about || undefined}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      {error && <div class="error" id={`${id}-error`} role="alert">{error}</div>}
    </div>
  );
}

/** What {@link Button} does. */
export interface ButtonProps {
  children: ComponentChildren;
  /** Without it, it submits its form. */
  onClick?: () => void;
  look?: "primary" | "danger" | "quiet";
  /** Under way: shows it, and cannot be pressed again. Keeps the focus. */
  busy?: boolean;
  disabled?: boolean;
  buttonRef?: RefObject<HTMLButtonElement>;
  /** What a screen reader says instead of the content. */
  label?: string;
}

/** A button. */
export function Button(props: ButtonProps): JSX.Element {
  const { children, onClick, look, busy = false, disabled = false, buttonRef, label } = props;
  const off = busy || disabled;
  return (
    <button
      ref={buttonRef}
      class={`button ${look ?? ""}`}
      type={onClick ? "button" : "submit"}
      aria-label={label}
      aria-busy={busy ? "true" : undefined}
      aria-disabled={off ? "true" : undefined}
      onClick={(event) => {
        if (off) event.preventDefault();
        else onClick?.();
      }}
    >
      {busy && <span class="spinner" aria-hidden="true" />}
      {children}
    </button>
  );
}

/**
 * The heading of a view. It takes the focus when the view comes up, so that a screen reader begins there
 * and the next Tab leads into it; it sets the document's title.
 */
export function Heading(
  { children, title, site }: { children: ComponentChildren; title: string; site: string },
): JSX.Element {
  const ref = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · ${site}`;
    ref.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [title]);
  return <h1 ref={ref} tabIndex={-1}>{children}</h1>;
}

/** Says something to screen readers, without showing it. */
export function announce(text: string): void {
  let region = document.getElementById("announcer");
  if (region === null) {
    region = document.createElement("div");
    region.id = "announcer";
    region.className = "unseen";
    region.setAttribute("role", "status");
    document.body.append(region);
  }
  // The same text again is a change only when it was away in between.
  region.textContent = "";
  setTimeout(() => region.textContent = text, 50);
}

/** Copies text and says so; false where the browser does not let us. */
export async function copy(text: string, what: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return false;
  }
  announce(`${what} copied`);
  return true;
}

/** Gives the person a file. */
export function download(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // Some browsers read it only after the click was handled.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
