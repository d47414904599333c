/**
 * One room: its members, and who lacks its current key.
 *
 * @module
 */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Room } from "../../../core/model.ts";
import type { RoomRoster, RosterEntry } from "../../../core/operations.ts";
import { CopyButton } from "../../shared/copy.tsx";
import { Button } from "../../shared/page.tsx";
import { counted, moment, number, shortKey, visible } from "../format.ts";
import { failureOf } from "../data/failure.ts";
import { useLive, useLoad } from "../hooks.ts";
import { hrefOf } from "../route.ts";
import { useServerNow, useSession } from "../data/session.ts";
import { Confirm } from "../ui/confirm.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Key, Name } from "../ui/key.tsx";
import { Listing, START, type Trail, usePage } from "../ui/listing.tsx";
import { Badge, Choice, Empty, Reading, ViewHead, When, Who } from "../ui/pieces.tsx";
import type { Column } from "../ui/table.tsx";
import { History } from "./changes.tsx";
import { Coverage } from "./rooms.tsx";
import { Fact } from "./user.tsx";

const SIZE = 50;
const BACK = { href: hrefOf("rooms"), text: "Rooms" };

/** The view of a room. */
export function RoomView({ id }: { id: string }): JSX.Element {
  const { api, live } = useSession();
  const { rooms: revision } = useLive(live);
  const now = useServerNow(10_000);
  const [which, choose] = useState<"all" | "lacking">("all");
  const trail = useState<Trail>(START);
  const roster = usePage(
    (signal, after) =>
      api.with(signal).roomRoster(id, {
        ...(which === "lacking" && { lacking: true }),
        limit: SIZE,
        after,
      }),
    [id, which],
    revision,
    trail,
  );
  const { data } = roster;
  const isGone = roster.failure?.particulars.code === "not_found";

  if (data === null || isGone) {
    return (
      <>
        <ViewHead title={visible(id)} back={BACK} name={<Name>{id}</Name>} />
        {isGone
          ? <Empty>The room does not exist. It may have been deleted.</Empty>
          : <Reading load={roster} what="Reading the room" />}
        {isGone && <History of="room" id={id} />}
      </>
    );
  }
  const { room, members } = data;
  return (
    <>
      <ViewHead title={visible(id)} back={BACK} name={<Name>{id}</Name>} />
      <Reading load={roster} what="Reading the room" />
      {!room.encrypted && (
        <p class="notice warn">
          Messages of this room are not encrypted: anyone who runs the NATS servers can read them.
        </p>
      )}
      <Attention roster={data} />
      <div class="panel">
        <dl class="facts">
          <Fact name="Current key">
            {room.encrypted ? <Coverage roster={data} /> : <Badge>cleartext</Badge>}
          </Fact>
          <Fact name="Members">{number(members)}</Fact>
          <Fact name="Epoch">{number(room.epoch)}</Fact>
          <Fact name="Owner">
            <Who signPub={room.owner} />
          </Fact>
          <Fact name="Created">
            {moment(room.createdAt)}, <When time={room.createdAt} now={now} />
          </Fact>
          <Fact name="Subject">
            <Key whole value={room.subject} what="the subject" />
          </Fact>
        </dl>
      </div>
      <section class="section" aria-labelledby="room-members">
        <div class="section-head">
          <h2 id="room-members">Members</h2>
          {room.encrypted && (
            <Choice
              label="Show"
              value={which}
              options={[["all", "All"], ["lacking", "Without the current key"]]}
              onChange={(it) => {
                choose(it);
                trail[1](START);
              }}
            />
          )}
        </div>
        <Listing
          noun="member"
          of={{ ...roster, data, failure: null }}
          columns={columnsOf(room.encrypted)}
          id={(it) => it.endpoint}
          size={SIZE}
        >
          {which === "lacking" ? "All members have the current key." : "This room has no members."}
        </Listing>
      </section>
      <WaitingUsers room={room} />
      <History of="room" id={id} />
    </>
  );
}

/** Most waiting users that are named. */
const NAMED = 20;

/** Who used an invite to the room and is not a member yet. */
function WaitingUsers({ room }: { room: Room }): JSX.Element | null {
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

function columnsOf(encrypted: boolean): Column<RosterEntry>[] {
  const columns: Column<RosterEntry>[] = [
    {
      head: "Name",
      cell: (it) =>
        it.handle === null
          ? <span class="muted">no longer a user</span>
          : (
            <a href={hrefOf("users", it.endpoint)}>
              <Name>{it.handle}</Name>
            </a>
          ),
    },
    {
      head: "Key",
      cell: (it) => (
        <Key value={it.endpoint} what={`the key of ${visible(it.handle ?? "the member")}`} />
      ),
    },
    {
      head: "Role",
      cell: (it) =>
        it.role === "owner" ? <Badge look="accent">owner</Badge> : <Badge>member</Badge>,
    },
    {
      head: "Access",
      cell: (it) =>
        it.status === "active"
          ? <Badge look="good">active</Badge>
          : <Badge look="bad">{it.status ?? "deleted"}</Badge>,
    },
  ];
  if (encrypted) {
    columns.push({
      head: "Current key",
      cell: (it) =>
        it.hasKey ? <Badge look="good">up to date</Badge> : <Badge look="warn">missing</Badge>,
    });
  }
  return columns;
}

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
function Attention({ roster }: { roster: RoomRoster }): JSX.Element | null {
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
      it.endpoint !== room.owner && it.status === "active" && it.hasKey !== false
    ) ?? [];
  const first = chosen === "" ? fit[0]?.endpoint ?? "" : chosen;
  if (found.data === null || fit.length === 0) {
    return (
      <Dialog title="Choose another owner" onClose={onClose}>
        <Reading load={found} what="Loading the members" />
        {found.data !== null && <p>No active member has the current key.</p>}
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
        await api.changeRoomOwner(room.id, first);
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
        The former owner's membership is removed. You get no key.{" "}
        <strong>This cannot be undone</strong> here.
      </p>
    </Confirm>
  );
}
