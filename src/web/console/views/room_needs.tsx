/**
 * What a room needs: an owner, keys for members, an answer for those who wait.
 *
 * @module
 */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { isStoreError } from "../../../core/errors.ts";
import type { Room } from "../../../core/model.ts";
import type { RoomRoster } from "../../../core/operations.ts";
import { CopyButton } from "../../shared/ui/copy.tsx";
import { Button } from "../../shared/ui/page.tsx";
import { counted, number, shortKey, visible } from "../../shared/format.ts";
import { Failure, failureOf } from "../data/failure.ts";
import { useSession } from "../data/session.ts";
import { useLive, useLoad } from "../hooks.ts";
import { Confirm } from "../ui/confirm.tsx";
import { Dialog } from "../../shared/ui/dialog.tsx";
import { Choice, Who } from "../ui/pieces.tsx";
import { Reading } from "../ui/trouble.tsx";

/** The text of a reminder for the owner. The control plane sends no messages: an admin does. */
function reminderOf({ room, lacking }: RoomRoster): string {
  return `Room ${room.id}: ${
    counted(lacking, "member")
  } cannot read new messages because no key of ` +
    `epoch ${room.epoch} is sealed for ${
      lacking === 1 ? "it" : "them"
    }. You own the room, so only ` +
    "your client can do that. Please open it and leave it connected for a minute.";
}

/** What needs attention: the owner, or missing keys. */
export function Attention({ roster }: { roster: RoomRoster }): JSX.Element | null {
  const { room, lacking } = roster;
  const { api, live } = useSession();
  const { users: revision } = useLive(live);
  const [isAsked, ask] = useState(false);
  const owner = useLoad(
    (signal) =>
      api.with(signal).getUser(room.owner).catch((error) => {
        if (failureOf(error).particulars.code === "not_found") return null;
        throw error;
      }),
    room.owner,
    revision,
  );
  const isRead = owner.of === room.owner && owner.failure === null &&
    (owner.data !== null || !owner.loading);
  const isGone = isRead && owner.data?.status !== "active";
  return (
    <>
      {isGone && (
        <div class="notice warn">
          <p>
            <strong>The owner is {owner.data === null ? "deleted" : "revoked"}</strong>: no one can
            add or remove members, or rekey the room. Make another member the owner: one who has
            joined and has the current key. Members' clients ask before they trust the new owner.
          </p>
          <Button onClick={() => ask(true)}>Choose another owner</Button>
          {isAsked && <HandOver room={room} onClose={() => ask(false)} />}
        </div>
      )}
      {lacking > 0 && (
        <div class="notice warn">
          <p>
            <strong>{counted(lacking, "member")} cannot read new messages</strong>: there is no key
            of epoch {number(room.epoch)} sealed for {lacking === 1 ? "it" : "them"}.
          </p>
          {!isGone && (
            <>
              <p>
                Only the owner's client can seal keys. It hands out the current key when it runs:
                remind <Who signPub={room.owner} /> to open it.
              </p>
              <CopyButton text={reminderOf(roster)} label="Copy a reminder" look="button" />
            </>
          )}
        </div>
      )}
    </>
  );
}

const NOT_READY = "This member has not joined the room yet, or lacks its current key. Choose " +
  "another member.";
/** Most members to choose the owner from. */
const CANDIDATES = 1_000;

function HandOver({ room, onClose }: { room: Room; onClose: () => void }): JSX.Element {
  const { api, live, say } = useSession();
  const [chosen, choose] = useState("");
  const found = useLoad(
    (signal) => api.with(signal).roomRoster(room.id, { limit: CANDIDATES }),
    room.id,
  );
  const fit =
    found.data?.items.filter((it) =>
      it.endpoint !== room.owner && it.status === "active" && it.accepted !== false &&
      it.hasKey !== false
    ) ?? [];
  const first = chosen === "" ? fit[0]?.endpoint ?? "" : chosen;
  if (found.data === null || fit.length === 0) {
    return (
      <Dialog title="Choose another owner" onClose={onClose}>
        <Reading load={found} what="Loading the members" />
        {found.data !== null && <p>No active member has joined and has the current key.</p>}
        <div class="actions dialog-actions">
          <Button onClick={onClose}>Close</Button>
        </div>
      </Dialog>
    );
  }
  return (
    <Confirm
      title="Choose another owner"
      action="Make owner"
      danger
      onClose={onClose}
      work={async () => {
        await api.changeRoomOwner(room.id, first).catch((error) => {
          throw isStoreError(error, "conflict") ? new Failure("problem", NOT_READY) : error;
        });
        say("The room has another owner");
        live.touch("rooms");
      }}
    >
      <Choice
        label="New owner"
        value={first}
        options={fit.map((it) =>
          [it.endpoint, `${visible(it.handle ?? "")} ${shortKey(it.endpoint)}`] as const
        )}
        onChange={choose}
      />
      <p>
        The former owner's membership is removed. You do not get the room's key, and{" "}
        <strong>you cannot undo this</strong>: only the new owner can hand the room on.
      </p>
    </Confirm>
  );
}

/** Most waiting users that are named. */
const NAMED = 20;

/** Who used an invite to the room and is not a member yet. */
export function WaitingUsers({ room }: { room: Room }): JSX.Element | null {
  const { api, live } = useSession();
  const { users, rooms } = useLive(live);
  const { data } = useLoad(
    (signal) => api.with(signal).listWaiting(room.id, { limit: NAMED }),
    room.id,
    users + rooms,
  );
  if (data === null || data.items.length === 0) return null;
  return (
    <section class="panel" aria-labelledby="room-waiting">
      <h2 id="room-waiting">Waiting to be added</h2>
      <p class="muted">
        They joined with an invite to this room. Its owner adds them: only the owner's client can
        seal the room's key for them.
      </p>
      <ul>
        {data.items.map((it) => (
          <li key={it.signPub}>
            <Who signPub={it.signPub} was={it.handle} />
          </li>
        ))}
      </ul>
      {data.next !== null && <p class="muted">and others</p>}
    </section>
  );
}
