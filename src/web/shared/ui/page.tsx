/// <reference lib="dom" />
/**
 * Pieces of a page, and what makes them usable without eyes or a mouse.
 *
 * @module
 */

import type { ComponentChildren, JSX, RefObject } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

/** A text that stands out; what is wrong is read out at once. */
export function Notice(
  { tone, children }: { tone: "good" | "warn" | "bad"; children: ComponentChildren },
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
      {hint && <div class="muted small" id={`${id}-hint`}>{hint}</div>}
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

/** A form, whose fields are checked by who takes them. */
export function Form(
  { onSubmit, children }: { onSubmit: () => void; children: ComponentChildren },
): JSX.Element {
  return (
    <form
      class="stack"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        onSubmit();
      }}
    >
      {children}
    </form>
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

/** That something is on its way. Comes late, so that what is quick does not flicker. */
export function Waiting({ what }: { what: string }): JSX.Element {
  return (
    <p class="waiting" role="status">
      <span class="spinner" aria-hidden="true" /> {what}
    </p>
  );
}

/** The mark: peers on a bus. */
export function Logo(): JSX.Element {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="7" />
      <path d="M9 16h14" />
      {[9, 16, 23].map((x) => <circle key={x} cx={x} cy="16" r="3" />)}
    </svg>
  );
}

/** The mark with the server's name; leads to the first view. */
export function Brand({ href }: { href: string }): JSX.Element {
  return (
    <a class="brand" href={href}>
      <Logo />
      <span>
        unibus <span class="brand-host">{location.host}</span>
      </span>
    </a>
  );
}

/** Focuses an element when it appears. */
export function useFocus<T extends HTMLElement>(): RefObject<T> {
  const ref = useRef<T>(null) as RefObject<T>;
  useEffect(() => ref.current?.focus(), []);
  return ref;
}

/** Gives the person a file. */
export function download(name: string, content: string | Blob): void {
  const url = URL.createObjectURL(new Blob([content]));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // Some browsers read it only after the click was handled.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
