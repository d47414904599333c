/**
 * People who came by an invite to the room and wait for its owner.
 *
 * @module
 */

import type { JSX } from "preact";
import type { User } from "../../../../core/model.ts";
import { fingerprint } from "../../../shared/keys.ts";
import { Button } from "../../../shared/ui/page.tsx";
import { useModel } from "../../model/model.ts";
import type { Talk } from "../../model/talk.ts";
import { useName } from "../parts/context.ts";
import { useTask } from "../parts/task.ts";
import { Person } from "../parts/ui.tsx";

/** The list, for the owner. */
export function Waiting({ talk }: { talk: Talk }): JSX.Element | null {
  const { waiting } = useModel(talk);
  if (waiting.length === 0) return null;
  return (
    <ul class="people notice accent" aria-label="People who wait to be let in">
      {waiting.map((it) => <One key={it.signPub} talk={talk} user={it} />)}
    </ul>
  );
}

function One({ talk, user }: { talk: Talk; user: User }): JSX.Element {
  const name = useName(user.signPub);
  const { busy, failure, run } = useTask();
  return (
    <li>
      <span class="person-facts">
        <span>
          <Person endpoint={user.signPub} /> was invited to this room.
        </span>
        <span class="small">
          The server names this person's keys: compare the fingerprint with theirs.{" "}
          <span class="mono">{fingerprint(user)}</span>
        </span>
        {failure !== null && <span class="error" role="alert">{failure}</span>}
      </span>
      <Button
        look="primary"
        busy={busy}
        label={`Let in ${name}`}
        onClick={() => run(() => talk.admit(user))}
      >
        Let in
      </Button>
    </li>
  );
}
