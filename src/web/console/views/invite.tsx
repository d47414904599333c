/**
 * One invite: for whom it is, what became of it, and canceling it.
 *
 * @module
 */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Invite, InviteState } from "../../../core/model.ts";
import { inviteState } from "../../../core/rules.ts";
import { moment, shortKey, visible } from "../../shared/format.ts";
import { Key, Name } from "../../shared/ui/key.tsx";
import { Button } from "../../shared/ui/page.tsx";
import { useServerNow, useSession } from "../data/session.ts";
import { useLive, useLoad } from "../hooks.ts";
import { hrefOf } from "../route.ts";
import { Confirm } from "../ui/confirm.tsx";
import { Author, Badge, Empty, Fact, type Look, ViewHead, When, Who } from "../ui/pieces.tsx";
import { Reading } from "../ui/trouble.tsx";
import { History } from "./changes.tsx";
import { RoleBadge } from "./users.tsx";

const BACK = { href: hrefOf("invites"), text: "Invites" };

/** What an invite is called: its note, or its short id. */
export function nameOf({ note, id }: Invite): string {
  return visible(note) || shortKey(id);
}

/** The view of an invite. */
export function InviteView({ id }: { id: string }): JSX.Element {
  const { api, live } = useSession();
  const { invites: revision } = useLive(live);
  const now = useServerNow(5_000);
  const [isAsked, ask] = useState(false);
  const found = useLoad((signal) => api.with(signal).getInvite(id), id, revision);
  const invite = found.data;
  const isGone = found.failure?.particulars.code === "not_found";

  if (invite === null || isGone) {
    return (
      <>
        <ViewHead title="Invite" back={BACK} />
        {isGone
          ? <Empty>There is no invite with this id. Old invites may have been removed.</Empty>
          : <Reading load={found} what="Loading the invite" />}
        {isGone && <History of="invite" id={id} />}
      </>
    );
  }
  const { note, role, room, createdAt, createdBy } = invite;
  const state = inviteState(invite, now);
  return (
    <>
      <ViewHead title="Invite" back={BACK}>
        {state === "open" && (
          <Button look="danger" onClick={() => ask(true)}>Cancel the invite</Button>
        )}
      </ViewHead>
      <Reading load={found} what="Loading the invite" />
      <div class="panel">
        <dl class="facts">
          {note !== "" && (
            <Fact name="Note">
              <bdi>{visible(note)}</bdi>
            </Fact>
          )}
          <Fact name="State">
            <StateBadge state={state} />
          </Fact>
          <Fact name="Role">
            <RoleBadge role={role} />
          </Fact>
          {room !== undefined && (
            <Fact name="Room">
              <a href={hrefOf("rooms", room)}>
                <Name>{room}</Name>
              </a>
            </Fact>
          )}
          <Fact name="Created">
            {moment(createdAt)} by <Author by={createdBy} />
          </Fact>
          <Fact name="Outcome">
            <Outcome it={invite} now={now} />
          </Fact>
          <Fact name="Id">
            <Key whole value={id} what="the id" />
          </Fact>
        </dl>
      </div>
      <History of="invite" id={id} />
      {isAsked && <CancelInvite invite={invite} onClose={() => ask(false)} />}
    </>
  );
}

/** Asks, and cancels it. */
export function CancelInvite(
  { invite, onClose }: { invite: Invite; onClose: () => void },
): JSX.Element {
  const { api, live, say } = useSession();
  return (
    <Confirm
      title="Cancel this invite?"
      action="Cancel the invite"
      stay="Keep it"
      danger
      onClose={onClose}
      work={async () => {
        await api.cancelInvite(invite.id);
        say("The invite was canceled");
        live.touch("invites");
      }}
    >
      {invite.note !== "" && (
        <p>
          <bdi class="note">{visible(invite.note)}</bdi>
        </p>
      )}
      <p>
        Its link stops working immediately.{" "}
        <strong>This cannot be undone</strong>, but you can create another invite.
      </p>
    </Confirm>
  );
}

const LOOKS: Readonly<Record<InviteState, Look>> = {
  open: "accent",
  used: "good",
  expired: "plain",
  canceled: "plain",
};

/** Open, used, expired or canceled. */
export function StateBadge({ state }: { state: InviteState }): JSX.Element {
  return <Badge look={LOOKS[state]}>{state}</Badge>;
}

/** What became of it, and when. */
export function Outcome({ it, now }: { it: Invite; now: number }): JSX.Element {
  const state = inviteState(it, now);
  const time = state === "used" ? it.usedAt! : state === "canceled" ? it.canceledAt! : it.expiresAt;
  return (
    <>
      {state === "open" ? "expires" : state} <When time={time} now={now} ahead={state === "open"} />
      {state === "used" && (
        <>
          {" "}
          by {it.usedBy === null ? "an unknown user" : <Who signPub={it.usedBy} />}
        </>
      )}
    </>
  );
}
