/**
 * What is shown while no room is: what to do next, and what this page does not do.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Name } from "../../shared/ui/key.tsx";
import { Heading } from "../../shared/ui/page.tsx";
import { useModel } from "../model/model.ts";
import { goTo } from "../place.ts";
import { useDesk } from "./parts/context.ts";
import { Card } from "./people/card.tsx";
import { LinkNotice } from "./parts/status.tsx";

/** The view. */
export function Home(): JSX.Element {
  const { talks, offers, waitingFor, isRead } = useModel(useDesk());
  const waited = useRef(new Set<string>()).current;
  useEffect(() => {
    for (const id of waitingFor) waited.add(id);
    const opened = [...waited].find((id) => talks.has(id));
    if (opened !== undefined) goTo(opened);
  });
  const isOutside = isRead && talks.size === 0;
  const isInvited = offers.length > 0 || waitingFor.length > 0;
  return (
    <div class="home stack">
      <LinkNotice />
      <Heading title="Rooms" site="unibus">
        {!isOutside ? "Choose a room" : isInvited ? "You are invited" : "Join a room"}
      </Heading>
      {waitingFor.map((id) => (
        <p key={id} class="notice accent" role="status">
          You are invited to <Name>{id}</Name>{" "}
          and wait for its owner. The room appears here when the owner lets you in.
        </p>
      ))}
      {isOutside && offers.length === 0 && (
        <>
          <p>
            Create a room of your own, or send your card to the owner of a room: with it the owner
            can add you. The card is public.
          </p>
          <Card />
        </>
      )}
      <section class="stack about" aria-labelledby="about">
        <h2 id="about">How this page works</h2>
        <ul class="small">
          <li>
            Messages are encrypted here, in your browser, and only the members of the room can read
            them. The server cannot.
          </li>
          <li>
            Messages are not stored. You see those that arrive while this page is open; there are
            none from before, and a reload shows an empty room.
          </li>
          <li>
            While you have a room open, its members see that you are here, if there are at most 100
            of them. The server can see it too.
          </li>
          <li>There are no files or pictures, only text.</li>
          <li>You can open this page in several tabs and on several devices at once.</li>
        </ul>
      </section>
    </div>
  );
}
