/**
 * A room: who is there, what is said, and a line to say something.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { visible } from "../../../shared/format.ts";
import { Name } from "../../../shared/ui/key.tsx";
import { Button, Heading, Notice } from "../../../shared/ui/page.tsx";
import { useModel } from "../../model/model.ts";
import type { Talk, TalkState } from "../../model/talk.ts";
import { HOME, leave } from "../../place.ts";
import { Offer } from "../list.tsx";
import { Composer } from "./composer.tsx";
import { useDesk } from "../parts/context.ts";
import { HereMark, usePresence } from "../parts/here.tsx";
import { Log } from "./log.tsx";
import { People } from "../people/people.tsx";
import { StartOver } from "../people/start_over.tsx";
import { LinkNotice } from "../parts/status.tsx";
import { Waiting } from "../people/waiting.tsx";

/** The room in the address. */
export function RoomView({ id, talk }: { id: string; talk: Talk | undefined }): JSX.Element {
  const { isRead } = useModel(useDesk());
  if (talk !== undefined) return <Inside talk={talk} />;
  const name = visible(id);
  return (
    <div class="stack">
      <Heading title={name} site="unibus">{name}</Heading>
      {isRead
        ? (
          <>
            <p>There is no such room, or you are not a member of it.</p>
            <p>
              <a href={HOME}>All rooms</a>
            </p>
          </>
        )
        : <p class="muted" role="status">Reading your rooms …</p>}
    </div>
  );
}

function Inside({ talk }: { talk: Talk }): JSX.Element {
  useModel(talk);
  const [isOpen, open] = useState(false);
  useEffect(() => {
    const look = (): void => talk.show(document.visibilityState === "visible");
    look();
    document.addEventListener("visibilitychange", look);
    return () => {
      document.removeEventListener("visibilitychange", look);
      talk.show(false);
    };
  }, [talk]);
  const name = visible(talk.id);
  const count = talk.members.filter((it) => it.accepted).length;
  const presence = usePresence(talk);
  const here = talk.members.filter((it) => presence.here.has(it.endpoint)).length;
  return (
    <>
      <header class="room-head">
        <a class="back" href={HOME}>
          <span aria-hidden="true">←</span>
          <span class="unseen">All rooms</span>
        </a>
        <Heading title={name} site="unibus">
          <Name>{talk.id}</Name>
        </Heading>
        {here > 0 && <HereMark>{here} here</HereMark>}
        <Button onClick={() => open(true)} disabled={talk.state.is !== "open"}>
          People{count > 0 && <span class="muted">{count}</span>}
        </Button>
      </header>
      <div class="room-notices">
        <LinkNotice />
        <State talk={talk} />
        <Waiting talk={talk} />
      </div>
      <Log talk={talk} />
      {talk.state.is !== "over" && <Composer talk={talk} />}
      {isOpen && <People talk={talk} presence={presence} onClose={() => open(false)} />}
    </>
  );
}

function Failed(
  { talk, state }: { talk: Talk; state: TalkState & { is: "failed" } },
): JSX.Element {
  const [isAsked, ask] = useState(false);
  return (
    <Notice tone="warn">
      <p role="status">{state.why} This page tries again by itself.</p>
      {state.isRolledBack && (
        <Button
          label={`Start over with ${visible(talk.id)}`}
          onClick={() => ask(true)}
        >
          Start over
        </Button>
      )}
      {isAsked && <StartOver talk={talk} onClose={() => ask(false)} />}
    </Notice>
  );
}

function State({ talk }: { talk: Talk }): JSX.Element | null {
  const desk = useDesk();
  const { state, id } = talk;
  const offer = desk.offers.find((it) => it.id === id);
  switch (state.is) {
    case "open":
      return null;
    case "opening":
      return <p class="muted" role="status">Opening the room …</p>;
    case "failed":
      return <Failed talk={talk} state={state} />;
    case "over":
      // On a phone the list is out of sight.
      if (offer !== undefined) {
        return (
          <ul class="offers">
            <Offer room={offer} />
          </ul>
        );
      }
      return (
        <Notice tone="bad">
          <p>{state.why} What you have received stays here until you close it.</p>
          <div class="actions">
            <Button
              onClick={() => {
                desk.forget(talk);
                leave();
              }}
            >
              Close the room
            </Button>
          </div>
        </Notice>
      );
  }
}
