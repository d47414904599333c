/**
 * Adding people one shares another room with, found by name.
 *
 * @module
 */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { NewMember } from "../../../../core/model.ts";
import { number } from "../../../shared/format.ts";
import { fingerprint } from "../../../shared/keys.ts";
import { Button, Field } from "../../../shared/ui/page.tsx";
import { knownPeople } from "../../model/known.ts";
import { useModel } from "../../model/model.ts";
import type { Talk } from "../../model/talk.ts";
import { useDesk, useName } from "../parts/context.ts";
import { useTask } from "../parts/task.ts";
import { Person } from "../parts/ui.tsx";

/** A field to search them, and those it finds; nothing where there are none. */
export function KnownPeople({ talk }: { talk: Talk }): JSX.Element | null {
  const desk = useModel(useDesk());
  const [query, setQuery] = useState("");
  const nameOf = (endpoint: string) => desk.names.get(endpoint) ?? "";
  const { shown, total } = knownPeople([...desk.talks.values()], talk, nameOf, query);
  if (total === 0 && query === "") return null;
  const told = total === 0
    ? "No one in your other rooms has this name or key."
    : shown.length < total
    ? `${number(shown.length)} of ${number(total)} people. Type more of the name.`
    : "";
  return (
    <section class="stack" aria-labelledby="known">
      <h3 id="known">People in your other rooms</h3>
      <div
        // Enter would add the card.
        onKeyDown={(event) => {
          if (event.key === "Enter") event.preventDefault();
        }}
      >
        <Field
          label="Find by name"
          hint="Names are not unique: compare the fingerprint with the person."
          type="search"
          value={query}
          autoComplete="off"
          onInput={setQuery}
        />
      </div>
      <p class="muted small" role="status">{told}</p>
      <ul class="people">
        {shown.map((it) => <Known key={it.endpoint} talk={talk} other={it} />)}
      </ul>
    </section>
  );
}

function Known({ talk, other }: { talk: Talk; other: NewMember }): JSX.Element {
  const name = useName(other.endpoint);
  const { busy, failure, run } = useTask();
  return (
    <li>
      <span class="person-facts">
        <Person endpoint={other.endpoint} />
        <span class="mono muted small">{fingerprint({ ...other, signPub: other.endpoint })}</span>
        {failure !== null && <span class="error" role="alert">{failure}</span>}
      </span>
      <Button
        busy={busy}
        label={`Add ${name}`}
        onClick={() =>
          run(async () => {
            await talk.room.addMember(other);
            await talk.readMembers();
          })}
      >
        Add
      </Button>
    </li>
  );
}
