/**
 * What can be done to a user, and what is asked before.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import type { User } from "../../../core/model.ts";
import { visible } from "../../shared/format.ts";
import { type Session, useSession } from "../data/session.ts";
import { Confirm } from "../ui/confirm.tsx";
import { Name } from "../../shared/ui/key.tsx";

/** Something that can be done to a user. */
export type UserAction = "revoke" | "restore" | "promote" | "demote" | "delete";

/** Asks, and does it. */
export function UserDialog(
  { action, user, onClose, onDone }: {
    action: UserAction;
    user: User;
    onClose: () => void;
    /** With the user as it is now; null: it was deleted. */
    onDone: (user: User | null) => void;
  },
): JSX.Element {
  const session = useSession();
  const isSelf = user.signPub === session.me.signPub;
  const { title, button, danger, done, perform, consequence } = DEEDS[action];
  const work = async (): Promise<void> => {
    const now = await perform(session.api, user.signPub);
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
      <p>{consequence(isSelf)}</p>
    </Confirm>
  );
}

interface Deed {
  title: string;
  button: string;
  done: string;
  danger?: boolean;
  /** Gives the user as it is now; null: it was deleted. */
  perform: (api: Session["api"], signPub: string) => Promise<User | null>;
  /** What it means, and whether it can be undone. */
  consequence: (isSelf: boolean) => ComponentChildren;
}

const DEEDS: Readonly<Record<UserAction, Deed>> = {
  revoke: {
    title: "Revoke",
    button: "Revoke access",
    done: "access revoked",
    danger: true,
    perform: (api, signPub) => api.revokeUser(signPub),
    consequence: (isSelf) => (
      <>
        Requests are refused from the next one on, and open bus connections are closed.{" "}
        {!isSelf && (
          <>
            <strong>You can undo this</strong> with Restore.{" "}
          </>
        )}
        The user keeps the room keys it already has: where that matters, ask the owners of its rooms
        to rekey them.
      </>
    ),
  },
  restore: {
    title: "Restore",
    button: "Restore access",
    done: "access restored",
    perform: (api, signPub) => api.restoreUser(signPub),
    consequence: () => "The same keys can connect again, to the same rooms as before.",
  },
  promote: {
    title: "Promote",
    button: "Make admin",
    done: "is now an admin",
    perform: (api, signPub) => api.setUserRole(signPub, "admin"),
    consequence: () =>
      "Admins can do everything this console shows: revoke and delete users, create invites, and " +
      "remove the admin role from others. You can undo this.",
  },
  demote: {
    title: "Demote",
    button: "Remove admin role",
    done: "is no longer an admin",
    danger: true,
    perform: (api, signPub) => api.setUserRole(signPub, "user"),
    consequence: (isSelf) =>
      "The user keeps access to its rooms." +
      (isSelf ? "" : " You can undo this: make it an admin again."),
  },
  delete: {
    title: "Delete",
    button: "Delete permanently",
    done: "deleted",
    danger: true,
    perform: (api, signPub) => api.deleteUser(signPub).then(() => null),
    consequence: () => (
      <>
        The user is deleted from the allowlist.{" "}
        <strong>This cannot be undone</strong>: to come back, it needs a new invite. Its memberships
        are removed, except in rooms it owns. To block someone temporarily, revoke instead.
      </>
    ),
  },
};

/** A name that cannot be typed on every keyboard is no fair question; the key's beginning is. */
function typedFor({ handle, signPub }: User): { what: string; text: string } {
  return /^[\w.@-]+( [\w.@-]+)*$/.test(handle) && handle.length <= 24
    ? { what: "the name", text: handle }
    : { what: "the first 8 digits of the key", text: signPub.slice(0, 8) };
}
