/**
 * Signing in, and what is around a room.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { visible } from "../shared/format.ts";
import { Name } from "../shared/ui/key.tsx";
import { Brand, Button } from "../shared/ui/page.tsx";
import { browserMemory } from "./memory.ts";
import { Desk, type SignedIn } from "./model/desk.ts";
import { useModel } from "./model/model.ts";
import { HOME, useCard, usePlace } from "./place.ts";
import { markOut, SignIn } from "./signin.tsx";
import { AddByLink } from "./views/people/add.tsx";
import { DeskContext } from "./views/parts/context.ts";
import { Home } from "./views/home.tsx";
import { List } from "./views/list.tsx";
import { Questions } from "./views/people/questions.tsx";
import { Status } from "./views/parts/status.tsx";
import { RoomView } from "./views/talk/room.tsx";
import { You } from "./views/people/you.tsx";

/** The page. */
export function App(): JSX.Element {
  const [card, dropCard] = useCard();
  const [desk, setDesk] = useState<Desk | null>(null);
  const [ended, end] = useState<string | null>(null);
  if (desk === null) {
    return (
      <SignIn
        ended={ended}
        onSignedIn={async (who: SignedIn) => {
          const memory = await browserMemory(who.keys.signPub);
          end(null);
          setDesk(new Desk(who, memory));
        }}
      />
    );
  }
  return (
    <DeskContext.Provider value={desk}>
      <Inside
        desk={desk}
        leave={(why) => {
          void desk.close();
          markOut(true);
          end(why);
          setDesk(null);
        }}
      />
      {card !== null && <AddByLink card={card} onClose={dropCard} />}
    </DeskContext.Provider>
  );
}

function Inside(
  { desk, leave }: { desk: Desk; leave: (why: string | null) => void },
): JSX.Element {
  const { talks, over } = useModel(desk);
  const place = usePlace();
  const [showsYou, showYou] = useState(false);
  useEffect(() => {
    if (over !== null) leave(over);
  }, [over]);
  useEffect(() => {
    const bye = (): void => void desk.close();
    // A browser may show the page again as it was, without its connection.
    const again = ({ persisted }: PageTransitionEvent): void =>
      void (persisted && location.reload());
    addEventListener("pagehide", bye);
    addEventListener("pageshow", again);
    return () => {
      removeEventListener("pagehide", bye);
      removeEventListener("pageshow", again);
    };
  }, [desk]);
  const unread = [...talks.values()].reduce((sum, it) => sum + it.unread, 0);
  useEffect(() => {
    const title = document.title.replace(/^\(\d+\) /, "");
    document.title = unread === 0 ? title : `(${unread}) ${title}`;
  }, [unread, place]);
  const talk = place === null ? undefined : talks.get(place);
  return (
    <div class={place === null ? "frame at-home" : "frame in-room"}>
      <header class="bar">
        <Brand href={HOME} />
        <Status />
        <Button onClick={() => showYou(true)} label={`You: ${visible(desk.me.handle)}`}>
          <Name>{desk.me.handle}</Name>
        </Button>
      </header>
      <List shown={place} />
      <main class="main">
        {place === null ? <Home /> : <RoomView key={place} id={place} talk={talk} />}
      </main>
      {showsYou && <You onClose={() => showYou(false)} onSignOut={() => leave(null)} />}
      <Questions />
    </div>
  );
}
