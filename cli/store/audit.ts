/**
 * Audit log of commands: who changed what, as the line that the server logs for a request, on
 * stderr.
 *
 * @module
 */

import type { Store } from "../../mod.ts";
import type { Context } from "../command.ts";
import { actor } from "./actor.ts";
import { serverSettings } from "./chosen.ts";
import { createLog } from "../terminal/log.ts";

/** The object of a change: IDs and public keys, never a token. */
type About = Readonly<Record<string, string>>;

/**
 * Returns a store in the name of the user of this command. It logs each change of users and invites, each
 * change of owner or deletion of a room, and each pruning of the history.
 */
export async function audited(opened: Store, { io }: Context): Promise<Store> {
  // A command with an explicit store must work even if the server's settings are invalid.
  const server = await serverSettings(io.env).catch(() => null);
  const format = server?.settings.logFormat ?? "text";
  const write = (line: string) => void io.stderr.write(`${line}\n`);
  const log = createLog({ format, level: "info", secrets: [], write });
  const by = actor();
  const store = opened.as(by);
  const noting = <A extends unknown[], R>(
    action: string,
    work: (...args: A) => Promise<R>,
    about: (result: R, ...args: A) => About,
  ) =>
  async (...args: A): Promise<R> => {
    const result = await work(...args);
    log("info", "audit", { action, by, ...about(result, ...args), outcome: "done" });
    return result;
  };
  const ofUser = ({ signPub: user, role }: { signPub: string; role: string }) => ({ user, role });
  return {
    ...opened,
    ...store,
    addUser: noting("addUser", store.addUser, ofUser),
    revokeUser: noting("revokeUser", store.revokeUser, ofUser),
    restoreUser: noting("restoreUser", store.restoreUser, ofUser),
    setUserRole: noting("setUserRole", store.setUserRole, ofUser),
    deleteUser: noting("deleteUser", store.deleteUser, (_, user) => ({ user })),
    createInvite: noting("createInvite", store.createInvite, ({ invite: { id, role } }) => ({
      invite: id,
      role,
    })),
    cancelInvite: noting("cancelInvite", store.cancelInvite, ({ id }) => ({ invite: id })),
    consumeInvite: noting("register", store.consumeInvite, ofUser),
    changeRoomOwner: noting("changeRoomOwner", store.changeRoomOwner, (_, room, user) => ({
      room,
      user,
    })),
    deleteRoom: noting("deleteRoom", store.deleteRoom, (_, room) => ({ room })),
    pruneHistory: noting("pruneHistory", store.pruneHistory, (removed) => ({
      removed: String(removed),
    })),
  };
}
