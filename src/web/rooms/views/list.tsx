/**
 * The rooms one is in, and those one was invited to.
 *
 * @module
 */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { counted, visible } from "../../shared/format.ts";
import type { Room } from "../../../core/model.ts";
import { Name } from "../../shared/ui/key.tsx";
import { Button, Notice } from "../../shared/ui/page.tsx";
import { useModel } from "../model/model.ts";
import type { Talk, TalkState } from "../model/talk.ts";
import { goTo, hrefOf } from "../place.ts";
import { useDesk } from "./parts/context.ts";
import { NewRoom } from "./new_room.tsx";
import { useTask } from "./parts/task.ts";
import { Person } from "./parts/ui.tsx";

/** The list. */
export function List({ shown }: { shown: string | null }): JSX.Element {
  const { talks, offers, isRead, isCut } = useModel(useDesk());
  const [making, make] = useState(false);
  const sorted = [...talks.values()].sort((a, b) => a.id.localeCompare(b.id));
  return (
    <nav class="list" aria-label="Rooms">
      <div class="list-head">
        <h2>Rooms</h2>
        <Button onClick={() => make(true)}>New room</Button>
      </div>
      {offers.length > 0 && (
        <ul class="offers" aria-label="Invitations">
          {offers.map((it) => <Offer key={it.id} room={it} />)}
        </ul>
      )}
      <p class="unseen" role="status">{newsOf(offers, sorted)}</p>
      <ul aria-label="Your rooms">
        {sorted.map((it) => <Entry key={it.id} talk={it} isShown={it.id === shown} />)}
      </ul>
      {isRead && sorted.length === 0 && <p class="muted small">You are not in a room yet.</p>}
      {isCut && <p class="muted small">This page shows at most 200 of your rooms.</p>}
      {!isRead && <p class="muted small" role="status">Reading your rooms …</p>}
      {making && <NewRoom onClose={() => make(false)} />}
    </nav>
  );
}

/** Who waits for this person, as it is announced when it changes. */
function newsOf(offers: readonly Room[], talks: readonly Talk[]): string {
  const waiting = talks.filter((it) => it.waiting.length > 0).map(({ id, waiting: { length } }) =>
    `${counted(length, "person waits", "people wait")} to be let in to ${visible(id)}.`
  );
  const invited = offers.map(({ id }) => `You are invited to ${visible(id)}.`);
  return [...invited, ...waiting].join(" ");
}

const STATES: Readonly<Record<TalkState["is"], string>> = {
  open: "",
  opening: "opening",
  failed: "not open",
  over: "ended",
};

function Entry({ talk, isShown }: { talk: Talk; isShown: boolean }): JSX.Element {
  const { id, unread, waiting, state } = talk;
  return (
    <li>
      <a href={hrefOf(id)} aria-current={isShown ? "page" : undefined}>
        <Name>{id}</Name>
        {STATES[state.is] !== "" && <span class="muted small">{STATES[state.is]}</span>}
        {waiting.length > 0 && <span class="badge warn">{waiting.length} waiting</span>}
        {unread > 0 && (
          <span class="badge accent">
            {unread > 99 ? "99+" : unread}
            <span class="unseen">{unread === 1 ? " new message" : " new messages"}</span>
          </span>
        )}
      </a>
    </li>
  );
}

/** An offer, to be accepted or declined. */
export function Offer({ room }: { room: Room }): JSX.Element {
  const desk = useDesk();
  const { busy, failure, run } = useTask();
  const name = visible(room.id);
  return (
    <li class="offer">
      <p>
        <Person endpoint={room.owner} withKey /> invites you to <bdi>{name}</bdi>
      </p>
      {failure !== null && <Notice tone="bad">{failure}</Notice>}
      <div class="actions">
        <Button
          look="primary"
          busy={busy}
          label={`Join ${name}`}
          onClick={() => run(() => desk.accept(room).then(() => goTo(room.id)))}
        >
          Join
        </Button>
        <Button
          look="quiet"
          disabled={busy}
          label={`Decline ${name}`}
          onClick={() => run(() => desk.decline(room))}
        >
          Decline
        </Button>
      </div>
    </li>
  );
}
