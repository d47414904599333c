/**
 * The members of a room, and what its owner can do with them.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { counted, visible } from "../../../shared/format.ts";
import { Dialog } from "../../../shared/ui/dialog.tsx";
import type { RoomPresence } from "../../../../client/rooms/types.ts";
import type { ListedMember } from "../../../../client/types.ts";
import { Button } from "../../../shared/ui/page.tsx";
import { useModel } from "../../model/model.ts";
import type { Talk } from "../../model/talk.ts";
import { leave } from "../../place.ts";
import { Add } from "./add.tsx";
import { useDesk, useName } from "../parts/context.ts";
import { HereMark } from "../parts/here.tsx";
import { Ask, Person } from "../parts/ui.tsx";
import { HandOver } from "./hand_over.tsx";

/** The dialog. */
export function People(
  { talk, presence, onClose }: { talk: Talk; presence: RoomPresence; onClose: () => void },
): JSX.Element {
  const { members, isOwn } = useModel(talk);
  const [removing, remove] = useState<string | null>(null);
  const [receiver, handOver] = useState<string | null>(null);
  const [doing, begin] = useState<"add" | "leave" | "delete" | null>(null);
  useEffect(() => void talk.readMembers(), []);
  const end = (): void => {
    begin(null);
    remove(null);
    handOver(null);
  };
  if (removing !== null) return <Remove talk={talk} endpoint={removing} onClose={end} />;
  if (receiver !== null) return <HandOver talk={talk} endpoint={receiver} onClose={end} />;
  if (doing === "add") return <Add talk={talk} onClose={end} />;
  if (doing === "leave") return <Leave talk={talk} onClose={end} />;
  if (doing === "delete") return <Delete talk={talk} onClose={end} />;
  return (
    <Dialog title={<>People in {visible(talk.id)}</>} onClose={onClose}>
      <ul class="people">
        {members.map((it) => (
          <li key={it.endpoint}>
            <span class="person-facts">
              <Person endpoint={it.endpoint} withKey />
              <Standing member={it} />
              {presence.here.has(it.endpoint) && <HereMark>here now</HereMark>}
            </span>
            {isOwn && it.role !== "owner" && (
              <Actions
                member={it}
                onHandOver={() => handOver(it.endpoint)}
                onRemove={() => remove(it.endpoint)}
              />
            )}
          </li>
        ))}
      </ul>
      {presence.isTooLarge && (
        <p class="small muted">
          This page does not show who is here: the room has more than 100 members.
        </p>
      )}
      <p class="small muted">
        Names are not unique: compare keys.{" "}
        {isOwn ? "You are the owner: you decide who can read." : "The owner decides who can read."}
      </p>
      <div class="actions dialog-actions">
        {isOwn
          ? (
            <>
              <Button look="danger" onClick={() => begin("delete")}>Delete the room</Button>
              <Button look="primary" onClick={() => begin("add")}>Add a person</Button>
            </>
          )
          : <Button look="danger" onClick={() => begin("leave")}>Leave the room</Button>}
      </div>
    </Dialog>
  );
}

function Standing({ member }: { member: ListedMember }): JSX.Element {
  const { role, accepted, status } = member;
  const words = status === "revoked"
    ? "access revoked"
    : status === null
    ? "not a user of this server"
    : role === "owner"
    ? "owner"
    : accepted
    ? "member"
    : "invited, has not joined yet";
  return <span class="muted small">{words}</span>;
}

function Actions(
  { member, onHandOver, onRemove }: {
    member: ListedMember;
    onHandOver: () => void;
    onRemove: () => void;
  },
): JSX.Element {
  const name = useName(member.endpoint);
  return (
    <span class="actions">
      {member.accepted && member.status === "active" && (
        <Button look="quiet" label={`Hand the room over to ${name}`} onClick={onHandOver}>
          Hand the room over
        </Button>
      )}
      <Button label={`Remove ${name}`} onClick={onRemove}>Remove</Button>
    </span>
  );
}

function Remove(
  { talk, endpoint, onClose }: { talk: Talk; endpoint: string; onClose: () => void },
): JSX.Element {
  const name = useName(endpoint);
  return (
    <Ask
      title={<>Remove {name}?</>}
      action="Remove"
      danger
      work={async () => {
        await talk.room.removeMember(endpoint);
        await talk.readMembers();
      }}
      onClose={onClose}
    >
      <p>
        <Person endpoint={endpoint} withKey />{" "}
        will not be able to read what is sent from now on: the room gets a new key. What has arrived
        there already stays there.
      </p>
    </Ask>
  );
}

function Leave({ talk, onClose }: { talk: Talk; onClose: () => void }): JSX.Element {
  const desk = useDesk();
  return (
    <Ask
      title={<>Leave {visible(talk.id)}?</>}
      action="Leave the room"
      danger
      stay="Stay"
      work={async () => {
        await desk.leave(talk);
        leave();
      }}
      onClose={onClose}
    >
      <p>You will receive no more messages. Only the owner can add you again.</p>
    </Ask>
  );
}

function Delete({ talk, onClose }: { talk: Talk; onClose: () => void }): JSX.Element {
  const desk = useDesk();
  return (
    <Ask
      title={<>Delete {visible(talk.id)}?</>}
      action="Delete the room"
      danger
      work={async () => {
        await desk.remove(talk);
        leave();
      }}
      onClose={onClose}
    >
      <p>
        The room ends for{" "}
        {counted(talk.members.length, "person", "people")}. This cannot be undone, and the name
        cannot be used again.
      </p>
    </Ask>
  );
}
