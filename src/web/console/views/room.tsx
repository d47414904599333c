/**
 * One room: its members, and who lacks its current key.
 *
 * @module
 */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { RosterEntry } from "../../../core/operations.ts";
import { moment, number, visible } from "../../shared/format.ts";
import { useLive } from "../hooks.ts";
import { hrefOf } from "../route.ts";
import { useServerNow, useSession } from "../data/session.ts";
import { Key, Name } from "../../shared/ui/key.tsx";
import { Listing, START, type Trail, usePage } from "../ui/listing.tsx";
import { Badge, Choice, Empty, Fact, ViewHead, When, Who } from "../ui/pieces.tsx";
import { Reading } from "../ui/trouble.tsx";
import type { Column } from "../ui/table.tsx";
import { History } from "./changes.tsx";
import { Attention, WaitingUsers } from "./room_needs.tsx";
import { Coverage } from "./rooms.tsx";

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
          : <Reading load={roster} what="Loading the room" />}
        {isGone && <History of="room" id={id} />}
      </>
    );
  }
  const { room, members } = data;
  return (
    <>
      <ViewHead title={visible(id)} back={BACK} name={<Name>{id}</Name>} />
      <Reading load={roster} what="Loading the room" />
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
        it.role === "owner"
          ? <Badge look="accent">owner</Badge>
          : it.accepted === false
          ? <Badge look="warn">has not joined yet</Badge>
          : <Badge>member</Badge>,
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
