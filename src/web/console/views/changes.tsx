/**
 * Changes of the control plane as sentences.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { useId } from "preact/hooks";
import type { Change } from "../../../core/operations.ts";
import { clock, date, moment, number, shortKey, since } from "../format.ts";
import { hrefOf } from "../route.ts";
import { Name } from "../ui/key.tsx";
import { Badge, Who } from "../ui/pieces.tsx";

/** A list of changes, newest first. */
export function ChangeList(
  { changes, now }: { changes: readonly Change[]; now: number },
): JSX.Element {
  return (
    <ol class="changes">
      {changes.map((it) => (
        <li key={`${it.n} ${it.at}`}>
          <time dateTime={it.at} title={moment(it.at)}>
            <span class="change-clock">
              {now - Date.parse(it.at) > 86_400_000 ? `${date(it.at)} ` : ""}
              {clock(it.at)}:{it.at.slice(17, 19)}
            </span>{" "}
            <span class="change-ago">{since(it.at, now)}</span>
          </time>
          <span class={it.outcome === "done" ? "change" : "change change-failed"}>
            <Sentence it={it} />
            {it.count > 1 && ` (${number(it.count)} alike)`}
            {it.outcome !== "done" && (
              <>
                {" "}
                <Badge look="bad">refused: {it.outcome}</Badge>
              </>
            )}
            {it.by?.proved === false && (
              <>
                {" "}
                <Badge look="warn">not signed</Badge>
              </>
            )}
          </span>
        </li>
      ))}
    </ol>
  );
}

/** The newest of some changes. */
export function LatestChanges(
  { title = "Latest changes", changes, most = 20, now, children }: {
    title?: string;
    changes: readonly Change[];
    most?: number;
    now: number;
    /** Beside the title. */
    children?: ComponentChildren;
  },
): JSX.Element {
  const heading = useId();
  return (
    <section class="panel" aria-labelledby={heading}>
      <div class="section-head">
        <h2 id={heading}>{title}</h2>
        {children}
      </div>
      {changes.length === 0
        ? <p class="muted">None since this server started.</p>
        : <ChangeList changes={changes.slice(0, most)} now={now} />}
    </section>
  );
}

function Sentence({ it }: { it: Change }): JSX.Element {
  const { about, by } = it;
  const who = by === null
    ? "Elsewhere"
    : by.signPub === null
    ? "Someone"
    : <Person signPub={by.signPub} handle={by.handle} />;
  const user = about.user === undefined
    ? "a user"
    : <Person signPub={about.user} handle={about.handle ?? null} />;
  const room = about.room === undefined ? "a room" : <RoomLink id={about.room} />;
  const invite = about.invite === undefined ? "an invite" : (
    <>
      the invite <code title={about.invite}>{shortKey(about.invite)}</code>
    </>
  );
  const admin = about.role === "admin";
  if (it.action === "register") {
    const handle = about.handle ?? by?.handle ?? null;
    if (handle === null) return <>{who} tried to register</>;
    const joined = by?.signPub == null
      ? <Name>{handle}</Name>
      : <Person signPub={by.signPub} handle={handle} />;
    return <>{joined} joined{admin && " as an admin"}</>;
  }
  const said: Readonly<Record<string, ComponentChildren[]>> = {
    addUser: ["added ", user, admin && " as an admin"],
    revokeUser: ["revoked ", user],
    restoreUser: ["restored ", user],
    setUserRole: ["changed the role of ", user, admin ? " to admin" : " to user"],
    deleteUser: ["deleted ", user],
    createInvite: ["created ", invite, admin && " for an admin"],
    cancelInvite: ["canceled ", invite],
    createRoom: ["created the room ", room],
    deleteRoom: ["deleted the room ", room],
    addMember: ["added ", user, " to ", room],
    joinRoom: ["joined ", room],
    changeRoomOwner: ["made ", user, " the owner of ", room],
    removeMember: about.user === by?.signPub ? ["left ", room] : ["removed ", user, " from ", room],
    rekeyRoom: ["changed the key of ", room, about.epoch && ` (epoch ${about.epoch})`],
    putSealedKey: ["gave ", user, " the key of ", room],
    elsewhere: about.room !== undefined
      ? ["room ", room, " changed"]
      : about.user !== undefined
      ? ["user ", user, " changed"]
      : ["something changed"],
  };
  // A server that is newer than this page may name another action.
  return <>{who} {Object.hasOwn(said, it.action) ? said[it.action] : it.action}</>;
}

/** Somebody, by the name at that time where it was told. */
function Person({ signPub, handle }: { signPub: string; handle: string | null }): JSX.Element {
  if (handle === null) return <Who signPub={signPub} />;
  return (
    <a href={hrefOf("users", signPub)} title={signPub}>
      <Name>{handle}</Name>
    </a>
  );
}

function RoomLink({ id }: { id: string }): JSX.Element {
  return (
    <a href={hrefOf("rooms", id)}>
      <Name>{id}</Name>
    </a>
  );
}
