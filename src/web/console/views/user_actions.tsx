/**
 * What can be done to a user, and what is asked before.
 *
 * @module
 */

import type { JSX } from "preact";
import type { User } from "../../../core/model.ts";
import { visible } from "../format.ts";
import { type Session, useSession } from "../data/session.ts";
import { Confirm } from "../ui/confirm.tsx";
import { Name } from "../ui/key.tsx";

/** Something that can be done to a user. */
export type UserAction = "revoke" | "restore" | "promote" | "demote" | "delete";

/** Asks, and does it. */
export function UserDialog(
  { action, user, onClose, onDone }: {
    action: UserAction;
    user: User;
    onClose: () => void;
    /** With the user as it is now; null: it is no more. */
    onDone: (user: User | null) => void;
  },
): JSX.Element {
  const session = useSession();
  const isSelf = user.signPub === session.me.signPub;
  const { title, button, danger, done } = WORDS[action];
  const work = async (): Promise<void> => {
    const now = await perform(session, action, user);
    session.say(`${visible(user.handle)}: ${done}`);
    if (now === null) session.names.forget(user.signPub);
    session.live.touch("users", "rooms");
    onDone(now);
  };
  return (
    <Confirm
      title={
        <>
          {title} <Name>{user.handle}</Name>?
        </>
      }
      action={button}
      danger={danger}
      {...action === "delete" ? { typed: typedFor(user) } : {}}
      work={work}
      onClose={onClose}
    >
      {isSelf && action !== "restore" && action !== "promote" && (
        <p class="notice warn">
          This is you: you will be signed out of this console, and only another admin can undo it.
        </p>
      )}
      <Consequence action={action} isSelf={isSelf} />
    </Confirm>
  );
}

function perform({ api }: Session, action: UserAction, { signPub }: User): Promise<User | null> {
  switch (action) {
    case "revoke":
      return api.revokeUser(signPub);
    case "restore":
      return api.restoreUser(signPub);
    case "promote":
      return api.setUserRole(signPub, "admin");
    case "demote":
      return api.setUserRole(signPub, "user");
    case "delete":
      return api.deleteUser(signPub).then(() => null);
  }
}

const WORDS = {
  revoke: { title: "Revoke", button: "Revoke access", danger: true, done: "access revoked" },
  restore: { title: "Restore", button: "Restore access", danger: false, done: "access restored" },
  promote: { title: "Promote", button: "Make admin", danger: false, done: "is now an admin" },
  demote: {
    title: "Demote",
    button: "Remove admin role",
    danger: true,
    done: "is no longer an admin",
  },
  delete: { title: "Delete", button: "Delete permanently", danger: true, done: "deleted" },
} as const;

function Consequence(
  { action, isSelf }: { action: UserAction; isSelf: boolean },
): JSX.Element {
  switch (action) {
    case "revoke":
      return (
        <p>
          Requests are refused from the next one on, and open bus connections are closed.{" "}
          {!isSelf && (
            <>
              <strong>You can undo this</strong> with Restore.{" "}
            </>
          )}
          The user still has the room keys it was given: where that matters, ask the rooms' owners
          to change them.
        </p>
      );
    case "restore":
      return <p>The same keys can connect again, to the same rooms as before.</p>;
    case "promote":
      return (
        <p>
          Admins can do everything this console shows: revoke and delete users, create invites, and
          remove the admin role from others. You can undo this.
        </p>
      );
    case "demote":
      return (
        <p>
          The user keeps access to its rooms.{" "}
          {!isSelf && "You can undo this: make it an admin again."}
        </p>
      );
    case "delete":
      return (
        <p>
          The user is deleted from the allowlist.{" "}
          <strong>This cannot be undone</strong>: to come back, it needs a new invite. Its
          memberships are removed, except in rooms it owns. To block someone temporarily, revoke
          instead.
        </p>
      );
  }
}

/** A name that cannot be typed on every keyboard is no fair question; the key's beginning is. */
function typedFor({ handle, signPub }: User): { what: string; text: string } {
  return /^[\w.@-]+( [\w.@-]+)*$/.test(handle) && handle.length <= 24
    ? { what: "the name", text: handle }
    : { what: "the first 8 digits of the key", text: signPub.slice(0, 8) };
}
