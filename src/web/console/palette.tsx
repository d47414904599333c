/**
 * The palette: one field that leads everywhere, opened with Ctrl-K.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useId, useState } from "preact/hooks";
import { isStoreError } from "../../core/errors.ts";
import { hex64 } from "../../core/validate.ts";
import { wordsOf } from "./data/failure.ts";
import { useKept, useSession } from "./data/session.ts";
import { shortKey, visible } from "../shared/format.ts";
import { useLoad, useSettled } from "./hooks.ts";
import { hrefOf, type View, VIEWS } from "./route.ts";
import { Dialog } from "../shared/ui/dialog.tsx";

/** Most users, and most rooms, that are offered. */
const MOST = 6;

/** Something to go to or to do. */
export interface Offer {
  /** What kind of thing it is, such as `User`. */
  readonly kind: string;
  readonly text: string;
  /** What tells it from others of the same text. */
  readonly note?: string;
  readonly run: () => void;
}

/** Opens it with Ctrl-K, or Command-K; returns whether it is open, and what opens and closes it. */
export function usePalette(): [boolean, (isOpen: boolean) => void] {
  const [isOpen, open] = useState(false);
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey) {
        return;
      }
      event.preventDefault();
      // A dialog that asks something is answered first.
      if (document.querySelector("dialog[open]") === null) open(true);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  return [isOpen, open];
}

/** The dialog. */
export function Palette(
  { titles, more, onClose }: {
    /** What the views are called. */
    titles: Readonly<Record<View, string>>;
    /** What else can be done. */
    more: readonly Offer[];
    onClose: () => void;
  },
): JSX.Element {
  const { api } = useSession();
  const [can, setCan] = useKept("search", true);
  const [text, type] = useState("");
  const [at, point] = useState(0);
  const list = useId();
  const wanted = text.trim();
  const search = useSettled(wanted, 180);
  const what = `${can} ${search}`;
  const found = useLoad(async (signal): Promise<Offer[]> => {
    if (search === "" || search.length > 64 || !can) return [];
    const calls = api.with(signal);
    const [users, rooms] = await Promise.all([
      calls.listUsers({ search, limit: MOST, sort: "handle" }),
      calls.listRooms({ search, limit: MOST, all: true }),
    ]).catch((error) => {
      if (!isStoreError(error, "unsupported")) throw error;
      setCan(false);
      return [{ items: [] }, { items: [] }];
    });
    return [
      ...users.items.map((it) => ({
        ...offerOf("User", visible(it.handle), "users", it.signPub),
        note: shortKey(it.signPub),
      })),
      ...rooms.items.map((it) => offerOf("Room", visible(it.id), "rooms", it.id)),
    ];
  }, what);
  const fits = (it: Offer): boolean => it.text.toLowerCase().includes(wanted.toLowerCase());
  const fixed = [
    ...VIEWS.map((it) => offerOf("View", titles[it], it)),
    offerOf("Action", "New invite", "invites", "new"),
    ...more,
  ].filter(fits);
  const id = hex64(wanted);
  const isNew = found.of === what && search === wanted;
  // What was found for an earlier text is not gone to by mistake.
  const others = wanted === "" ? [] : found.data?.filter((it) => isNew || fits(it)) ?? [];
  const offers = id === null ? [...fixed, ...others] : [
    ...others.length > 0 ? others : [offerOf("User", shortKey(id), "users", id)],
    offerOf("Invite", shortKey(id), "invites", id),
  ];
  const chosen = Math.min(at, offers.length - 1);
  const take = (offer: Offer | undefined): void => {
    if (offer === undefined) return;
    onClose();
    offer.run();
  };
  const press = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) {
      event.preventDefault();
      if (offers.length === 0) return;
      const next = (chosen + step + offers.length) % offers.length;
      point(next);
      document.getElementById(`${list}-${next}`)!.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      event.preventDefault();
      take(offers[chosen]);
    }
  };
  return (
    <Dialog title="Go to" onClose={onClose}>
      <form
        class="palette"
        onSubmit={(event) => event.preventDefault()}
      >
        <input
          class="input"
          type="text"
          role="combobox"
          aria-label="Go to a view, a user or a room"
          aria-expanded="true"
          aria-controls={list}
          aria-activedescendant={chosen < 0 ? undefined : `${list}-${chosen}`}
          autoComplete="off"
          autoCapitalize="none"
          spellcheck={false}
          maxLength={64}
          placeholder={can ? "View, user, key or room" : "View, or a whole key"}
          value={text}
          onInput={(event) => {
            type(event.currentTarget.value);
            point(0);
          }}
          onKeyDown={press}
        />
        <ul id={list} role="listbox" aria-label="Places">
          {offers.map((it, i) => (
            <li
              key={`${it.kind} ${it.text} ${it.note}`}
              id={`${list}-${i}`}
              role="option"
              aria-selected={i === chosen}
              onPointerMove={() => point(i)}
              onClick={() => take(it)}
            >
              <span class="muted small">{it.kind}</span>
              <bdi>{it.text}</bdi>
              {it.note && <code class="who-key">{it.note}</code>}
            </li>
          ))}
        </ul>
        <p role="status" class="muted small">
          {found.failure !== null
            ? wordsOf(found.failure)
            : offers.length > 0
            ? null
            : found.loading || !isNew
            ? "Searching"
            : "Nothing matches."}
        </p>
      </form>
    </Dialog>
  );
}

function offerOf(kind: string, text: string, view: View, id: string | null = null): Offer {
  return { kind, text, run: () => void (location.hash = hrefOf(view, id)) };
}
