/**
 * One user: who it is, and what can be done.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { Button } from "../../shared/ui/page.tsx";
import { counted, moment, number, shortKey, visible } from "../../shared/format.ts";
import { useLive, useLoad, useTicks } from "../hooks.ts";
import { hrefOf, leaveFor } from "../route.ts";
import { useServerNow, useSession } from "../data/session.ts";
import { focusHeading } from "../../shared/ui/dialog.tsx";
import { Key, Name } from "../../shared/ui/key.tsx";
import { Badge, Empty, Fact, ViewHead, When } from "../ui/pieces.tsx";
import { Reading } from "../ui/trouble.tsx";
import { History } from "./changes.tsx";
import { type UserAction, UserDialog } from "./user_actions.tsx";
import { RoleBadge, StatusBadge } from "./users.tsx";

/** How often the activity is read again, milliseconds. */
const ACTIVITY_MS = 10_000;
const BACK = { href: hrefOf("users"), text: "Users" };

/** The view of a user. */
export function UserView({ signPub }: { signPub: string }): JSX.Element {
  const { api, live, me, names } = useSession();
  const { users: revision, rooms: roomsRevision } = useLive(live);
  const now = useServerNow(10_000);
  const [asked, ask] = useState<UserAction | null>(null);
  const found = useLoad(
    async (signal) => {
      const user = await api.with(signal).getUser(signPub);
      names.learn([user]);
      return user;
    },
    signPub,
    revision,
  );
  const rooms = useLoad(
    (signal) => api.with(signal).listRooms({ all: true, member: signPub, total: true, limit: 50 }),
    signPub,
    roomsRevision,
  ).data;
  const activity = useLoad(
    (signal) => api.with(signal).userActivity(signPub),
    signPub,
    useTicks(ACTIVITY_MS),
  ).data;
  const joined = useLoad(
    async (signal) => {
      const query = { user: signPub, action: "invite.claimed", newest: true, limit: 1 } as const;
      return (await api.with(signal).changes(query)).items[0] ?? null;
    },
    signPub,
  ).data;
  const user = found.data;
  const isGone = found.failure?.particulars.code === "not_found";

  if (user === null || isGone) {
    return (
      <>
        <ViewHead title={visible(names.get(signPub) ?? "User")} back={BACK} />
        {isGone
          ? (
            <Empty>
              <p>There is no user with this key. It may have been deleted.</p>
              <Key value={signPub} what="the key" />
            </Empty>
          )
          : <Reading load={found} what="Loading the user" />}
        {isGone && <History of="user" id={signPub} />}
      </>
    );
  }
  const isActive = user.status === "active";
  return (
    <>
      <ViewHead
        title={visible(user.handle)}
        back={BACK}
        name={
          <>
            <Name>{user.handle}</Name>{" "}
            {user.signPub === me.signPub && <Badge look="accent">you</Badge>}
          </>
        }
      />
      <Reading load={found} what="Loading the user" />
      <div class="panel">
        <dl class="facts">
          <Fact name="Status">
            <StatusBadge status={user.status} />
          </Fact>
          <Fact name="Role">
            <RoleBadge role={user.role} />
          </Fact>
          <Fact name="Added">
            {moment(user.createdAt)}, <When time={user.createdAt} now={now} />
          </Fact>
          {user.revokedAt !== null && (
            <Fact name="Revoked">
              {moment(user.revokedAt)}, <When time={user.revokedAt} now={now} />
            </Fact>
          )}
          {joined?.invite && (
            <Fact name="Joined with">
              <a href={hrefOf("invites", joined.invite)}>
                invite <code class="who-key">{shortKey(joined.invite)}</code>
              </a>
            </Fact>
          )}
          {activity && (
            <>
              <Fact name="Bus connections">
                {activity.connections === null
                  ? <span class="muted">unknown</span>
                  : activity.connections === 0
                  ? activity.lastConnection === null ? "none open" : (
                    <>
                      none open, the last until <When time={activity.lastConnection} now={now} />
                    </>
                  )
                  : <Badge look="good">{number(activity.connections)} open</Badge>}
              </Fact>
              <Fact name="Last request">
                {activity.lastRequest === null
                  ? (
                    <span class="muted">
                      none to this server since it started, <When time={activity.since} now={now} />
                    </span>
                  )
                  : <When time={activity.lastRequest} now={now} />}
              </Fact>
            </>
          )}
          <Fact name="Signing key">
            <Key whole value={user.signPub} what="the signing key" />
          </Fact>
          <Fact name="Encryption key">
            <Key whole value={user.kexPub} what="the encryption key" />
          </Fact>
        </dl>
      </div>
      <section class="panel" aria-labelledby="user-actions">
        <h2 id="user-actions">What you can do</h2>
        <ul class="deeds">
          <Deed text={isActive ? "Revokes access immediately. Can be undone." : "Restores access."}>
            <Button onClick={() => ask(isActive ? "revoke" : "restore")}>
              {isActive ? "Revoke access" : "Restore access"}
            </Button>
          </Deed>
          <Deed
            text={user.role === "admin"
              ? "Admins can do everything in this console."
              : "Lets this user do everything in this console."}
          >
            <Button onClick={() => ask(user.role === "admin" ? "demote" : "promote")}>
              {user.role === "admin" ? "Remove admin role" : "Make admin"}
            </Button>
          </Deed>
          <Deed text="Deletes the user. Cannot be undone.">
            <Button look="danger" onClick={() => ask("delete")}>Delete</Button>
          </Deed>
        </ul>
      </section>
      {rooms && (
        <section class="panel" aria-labelledby="user-rooms">
          <h2 id="user-rooms">{counted(rooms.total!, "room")}</h2>
          <ul>
            {rooms.items.map(({ id }) => (
              <li key={id}>
                <a href={hrefOf("rooms", id)}>
                  <Name>{id}</Name>
                </a>
              </li>
            ))}
          </ul>
          {rooms.next !== null && <p class="muted">and others</p>}
        </section>
      )}
      <History of="user" id={signPub} />
      {asked && (
        <UserDialog
          action={asked}
          user={user}
          onClose={() => ask(null)}
          onDone={(it) => {
            if (it !== null) return;
            leaveFor("users");
            focusHeading();
          }}
        />
      )}
    </>
  );
}

function Deed({ text, children }: { text: string; children: ComponentChildren }): JSX.Element {
  return (
    <li>
      {children}
      <span class="muted">{text}</span>
    </li>
  );
}
