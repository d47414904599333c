/**
 * The console: signing in, and what is around the views.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { callerOf } from "../shared/api.ts";
import { Brand, Button } from "../shared/ui/page.tsx";
import { dropFromTab } from "../shared/tab.ts";
import { type Api, apiOf } from "./data/api.ts";
import { skewWords, wordsOf } from "./data/failure.ts";
import { clock, counted, visible } from "../shared/format.ts";
import { useLive, useNow } from "./hooks.ts";
import { Live } from "./data/live.ts";
import { Names } from "../shared/names.ts";
import { hrefOf, type Place, placeOf, type View, VIEWS } from "./route.ts";
import { type Session, SessionContext, useSession } from "./data/session.ts";
import { Palette, usePalette } from "./palette.tsx";
import { type SignedIn, SignIn } from "./signin.tsx";
import { focusHeading } from "../shared/ui/dialog.tsx";
import { useFragment } from "../shared/fragment.ts";
import { Name } from "../shared/ui/key.tsx";
import { LoggedAs } from "./ui/trouble.tsx";
import { InviteView } from "./views/invite.tsx";
import { Invites } from "./views/invites.tsx";
import { Log } from "./views/log.tsx";
import { Overview } from "./overview/overview.tsx";
import { RoomView } from "./views/room.tsx";
import { Rooms } from "./views/rooms.tsx";
import { UserView } from "./views/user.tsx";
import { Users } from "./views/users.tsx";

/** How far the clock may be off before it is said, milliseconds. */
const SKEW_MS = 20_000;

/** The console. */
export function App(): JSX.Element {
  const [who, enter] = useState<SignedIn | null>(null);
  const [ended, end] = useState<string | null>(null);
  if (who === null) {
    return (
      <SignIn
        ended={ended}
        onSignedIn={(it) => {
          end(null);
          enter(it);
        }}
      />
    );
  }
  return (
    <Inside
      key={who.keys.signPub}
      who={who}
      // With the session its keys are let go of.
      leave={(why) => {
        void dropFromTab();
        end(why);
        enter(null);
      }}
    />
  );
}

function Inside(
  { who, leave }: { who: SignedIn; leave: (why: string | null) => void },
): JSX.Element {
  const [toast, say] = useToast();
  const isOver = useRef(false);
  const session = useMemo((): Session => {
    const api: Api = apiOf(callerOf(who.keys), () => {
      // A late answer must not end the session of another user who has signed in since.
      if (isOver.current) return;
      leave(
        `You were signed out at ${clock(Date.now())}: ${
          visible(who.user.handle)
        } is no longer an active ` +
          "admin of this server. Ask another admin why; they can undo it.",
      );
    });
    const names = new Names(api);
    return {
      api,
      me: who.user,
      live: new Live(api, who.keys.signPub, names),
      names,
      kept: new Map(),
      say,
    };
  }, []);
  useEffect(() => {
    session.live.start();
    if (!who.isKept) say("This browser keeps no keys: a reload will ask for the key file again");
    return () => {
      isOver.current = true;
      session.live.stop();
    };
  }, [session]);
  const place = placeOf(useFragment());
  const [isOpen, open] = usePalette();
  return (
    <SessionContext.Provider value={session}>
      <button type="button" class="skip button" onClick={focusHeading}>Skip to the content</button>
      <div class="frame">
        <Bar leave={() => leave(null)} find={() => open(true)} />
        <Menu view={place.view} />
        <main class="main">
          <Connection />
          <Shown place={place} />
        </main>
      </div>
      {isOpen && (
        <Palette
          titles={TITLES}
          more={[{ kind: "Action", text: "Sign out", run: () => leave(null) }]}
          onClose={() => open(false)}
        />
      )}
      <div class="toasts" role="status">{toast && <p class="toast">{toast}</p>}</div>
    </SessionContext.Provider>
  );
}

function Bar({ leave, find }: { leave: () => void; find: () => void }): JSX.Element {
  const { me, live } = useSession();
  const { connection } = useLive(live);
  return (
    <header class="bar">
      <Brand href={hrefOf("overview")} />
      <span class={`pulse ${TONES[connection]}`}>
        <span class="dot" aria-hidden="true" />
        <span class="pulse-text">
          {connection === "live" ? "Live" : connection === "lost" ? "No connection" : "Connecting"}
        </span>
      </span>
      <button type="button" class="button find" aria-keyshortcuts="Control+K" onClick={find}>
        <svg viewBox="0 0 20 20" aria-hidden="true" focusable="false">
          <path d="M13 13l4 4M14.5 8.5a6 6 0 1 1-12 0 6 6 0 0 1 12 0z" />
        </svg>
        <span class="find-text">Find</span>
        <kbd aria-hidden="true">Ctrl K</kbd>
      </button>
      <span class="bar-me">
        <a
          href={hrefOf("users", me.signPub)}
          class="bar-name"
          aria-label={`You: ${visible(me.handle)}`}
        >
          <Name>{me.handle}</Name>
        </a>
        <Button onClick={leave}>Sign out</Button>
      </span>
    </header>
  );
}

const TONES = { first: "", live: "good", lost: "warn" };

/** The title and the icon of each view. */
const MENU: Readonly<Record<View, readonly [string, string]>> = {
  overview: ["Overview", "M3 13h4v4H3zM8 8h4v9H8zM13 3h4v14h-4z"],
  users: ["Users", "M10 10a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM3.5 17a6.5 5.5 0 0 1 13 0z"],
  invites: ["Invites", "M2.5 5h15v10h-15zM2.5 5.5l7.5 6 7.5-6"],
  rooms: ["Rooms", "M3 4h14v9.5H9L5 17v-3.5H3z"],
  log: ["Log", "M3 5h14M3 10h14M3 15h9"],
};

const TITLES = Object.fromEntries(VIEWS.map((it) => [it, MENU[it][0]])) as Record<View, string>;

function Menu({ view }: { view: View }): JSX.Element {
  return (
    <nav class="menu" aria-label="Console">
      <ul>
        {VIEWS.map((it) => (
          <li key={it}>
            <a href={hrefOf(it)} aria-current={it === view ? "page" : undefined}>
              <svg viewBox="0 0 20 20" aria-hidden="true" focusable="false">
                <path d={MENU[it][1]} />
              </svg>
              {MENU[it][0]}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

/** What is wrong between here and the server. */
function Connection(): JSX.Element {
  const { live, api } = useSession();
  const { connection, failure, retryAt } = useLive(live);
  const now = useNow(1_000);
  const offset = api.clockOffset();
  return (
    <div role="status">
      {connection === "lost" && failure && (
        <div class="notice warn banner">
          <div>
            <p>
              <strong>{wordsOf(failure)}</strong> What you see may be out of date.
            </p>
            <LoggedAs failure={failure} />
          </div>
          <p class="banner-retry">
            <span aria-hidden="true">
              {retryAt === null
                ? "Trying again…"
                : `Trying again in ${
                  counted(Math.max(1, Math.ceil((retryAt - now) / 1000)), "second")
                }.`}
            </span>
            <Button onClick={() => live.retry()}>Try now</Button>
          </p>
        </div>
      )}
      {Math.abs(offset) > SKEW_MS && (
        <p class="notice warn banner">
          {skewWords(-offset)} This page uses the server's time until then.
        </p>
      )}
    </div>
  );
}

function Shown({ place: { view, id } }: { place: Place }): JSX.Element {
  switch (view) {
    case "overview":
      return <Overview />;
    case "users":
      return id === null ? <Users /> : <UserView key={id} signPub={id} />;
    case "invites":
      return id === null || id === "new"
        ? <Invites making={id === "new"} />
        : <InviteView key={id} id={id} />;
    case "rooms":
      return id === null ? <Rooms /> : <RoomView key={id} id={id} />;
    case "log":
      return <Log key={id} asked={id} />;
  }
}

/** How long a message stays, milliseconds. It says nothing that is not seen elsewhere too. */
const TOAST_MS = 6_000;

function useToast(): [string | null, (text: string) => void] {
  const [text, set] = useState<string | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const say = (it: string): void => {
    clearTimeout(timer.current);
    set(it);
    timer.current = setTimeout(() => set(null), TOAST_MS);
  };
  return [text, say];
}
