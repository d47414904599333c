/**
 * Small pieces that several views show.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { hex64 } from "../../../core/validate.ts";
import { Heading } from "../../shared/ui/page.tsx";
import { ago, date, moment, shortKey, since, visible } from "../../shared/format.ts";
import { hrefOf } from "../route.ts";
import { useName, useSession } from "../data/session.ts";
import { Name } from "../../shared/ui/key.tsx";

/** A kind of {@link Badge}. */
export type Look = "plain" | "good" | "warn" | "bad" | "accent";

/** A word that stands out. */
export function Badge(
  { look = "plain", children }: { look?: Look; children: ComponentChildren },
): JSX.Element {
  return <span class={`badge ${look}`}>{children}</span>;
}

/** The head of a view. */
export function ViewHead(
  { title, name, back, children }: {
    /** For the window. */
    title: string;
    /** The heading, where it is more than the title. */
    name?: ComponentChildren;
    /** Where it belongs to. */
    back?: { href: string; text: string };
    /** What one can do. */
    children?: ComponentChildren;
  },
): JSX.Element {
  return (
    <header class="view-head">
      <div class="view-name">
        {back && <a class="back" href={back.href}>← {back.text}</a>}
        <Heading title={title} site="unibus console">{name ?? title}</Heading>
      </div>
      {children && <div class="view-actions">{children}</div>}
    </header>
  );
}

/** A time as seen from now, with the exact one to point at: one that has passed, or is `ahead`. */
export function When(
  { time, now, ahead = false }: { time: string; now: number; ahead?: boolean },
): JSX.Element {
  return (
    <time dateTime={time} title={moment(time)}>
      {ahead ? ago(time, now) : since(time, now)}
    </time>
  );
}

/** The day of a time that has passed, with the exact time to point at. */
export function Day({ time }: { time: string }): JSX.Element {
  return <time dateTime={time} title={moment(time)}>{date(time)}</time>;
}

/** A user by key: the name where there is one, and the key, for names are not unique. */
export function Who(
  { signPub, was, link = true }: {
    signPub: string;
    /** The name of a user who may have been deleted. */
    was?: string | undefined;
    link?: boolean;
  },
): JSX.Element {
  const known = useName(signPub);
  const name = known ?? was ?? known;
  const { me } = useSession();
  const label = name === null
    ? <span class="muted">no longer a user</span>
    : <Name>{name ?? "…"}</Name>;
  return (
    <span class="who">
      {link && name !== null ? <a href={hrefOf("users", signPub)}>{label}</a> : label}
      {signPub === me.signPub ? " (you)" : ""}{" "}
      <code class="who-key" title={signPub}>{shortKey(signPub)}</code>
    </span>
  );
}

/** Who made something: a user by key, or a program. */
export function Author({ by }: { by: string }): JSX.Element {
  return hex64(by) === null ? <bdi>{visible(by)}</bdi> : <Who signPub={by} />;
}

/** A line of facts. */
export function Fact(
  { name, children }: { name: string; children: ComponentChildren },
): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** That there is nothing, and what to do about it. */
export function Empty({ children }: { children: ComponentChildren }): JSX.Element {
  return <div class="empty">{children}</div>;
}

/** A text to search for. */
export function Search(
  { value, onInput, ...rest }: {
    value: string;
    maxLength: number;
    placeholder: string;
    onInput: (value: string) => void;
  },
): JSX.Element {
  return (
    <label class="choice grow">
      <span>Search</span>
      <input
        {...rest}
        class="input"
        type="search"
        value={value}
        autoComplete="off"
        autoCapitalize="none"
        spellcheck={false}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
    </label>
  );
}

/** A choice of one of few. */
export function Choice<T extends string>(
  { label, value, options, onChange }: {
    label: string;
    value: T;
    /** Each with its text, and whether it cannot be chosen. */
    options: readonly (readonly [T, string, boolean?])[];
    onChange: (value: T) => void;
  },
): JSX.Element {
  return (
    <label class="choice">
      <span>{label}</span>
      <select
        class="select"
        value={value}
        onChange={(event) => onChange(event.currentTarget.value as T)}
      >
        {options.map(([it, text, isOff]) => (
          <option key={it} value={it} disabled={isOff}>{text}</option>
        ))}
      </select>
    </label>
  );
}
