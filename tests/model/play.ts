/**
 * Plays an operation on the model, or on a store, and gives what came of it in a form that compares.
 *
 * @module
 */

import { StoreError } from "../../src/core/errors.ts";
import type { AddedMember, StoreRecord, User } from "../../src/core/model.ts";
import { inviteId, type Store } from "../../src/core/store.ts";
import { collect, everyPage, hex } from "../conformance/kit/kit.ts";
import {
  type Command,
  endpointOf,
  handoverOf,
  kexOf,
  keysOf,
  memberOf,
  type Peer,
  sealedOf,
} from "./commands.ts";
import { type Model, Refusal } from "./model.ts";

/** What came of an operation: a value as JSON would hold it, or the code of the error. */
export type Outcome = { value: unknown } | { code: string };

/** What a store adds: for people, or not known beforehand. Not part of what is compared. */
export interface Extra {
  /** The invite that was made. */
  made?: Made;
  /** The error's message. */
  message?: string;
}

/** An invite's token, known once a store has made the invite. */
export interface Made {
  /** The token. */
  token: string;
}

function comparable(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value ?? null, (_, it) => it instanceof Uint8Array ? { hex: hex(it) } : it),
  );
}

const subjectOf = (id: string) => `bus.${id}`.slice(0, 40).replace(/\.$/, "_");

function restored(users: Peer[]): User[] {
  const all = users.map((who): User => ({
    signPub: endpointOf(who),
    kexPub: kexOf(who),
    handle: `restored ${who}`,
    role: who % 50 === 0 ? "admin" : "user",
    status: "active",
    createdAt: "2020-01-01T00:00:00.000Z",
    revokedAt: null,
  }));
  return all.sort((a, b) => a.signPub < b.signPub ? -1 : 1);
}

/** Plays on the model. `made` is what the store answered when an invite was created. */
export function onModel(model: Model, it: Command, made?: Made): Outcome {
  try {
    return { value: comparable(callModel(model, it, made)) };
  } catch (error) {
    if (error instanceof Refusal) return { code: error.code };
    throw error;
  }
}

/** Plays on a store. */
export async function onStore(store: Store, it: Command): Promise<[Outcome, Extra]> {
  try {
    if (it.op === "createInvite") {
      const { admin, note, expiresIn, room } = it;
      const role = admin ? "admin" : "user";
      const made = await store.createInvite({ createdBy: "model", role, note, expiresIn, room });
      return [{ value: comparable(made.invite) }, { made: { token: made.token } }];
    }
    return [{ value: comparable(await callStore(store, it)) }, {}];
  } catch (error) {
    if (error instanceof StoreError) return [{ code: error.code }, { message: error.message }];
    throw error;
  }
}

function callModel(model: Model, it: Command, made?: Made): unknown {
  switch (it.op) {
    case "createRoom":
      return model.createRoom(
        it.id,
        subjectOf(it.id),
        it.encrypted,
        memberOf(it.owner),
        it.members.map((who) => addedOf(who, it)),
        keysOf(it.keys, it.salt),
      );
    case "deleteRoom":
      return model.deleteRoom(it.id);
    case "addMember":
      return model.addMember(it.id, addedOf(it.who, it), keyOf(it));
    case "joinRoom":
      return model.joinRoom(it.id, endpointOf(it.who));
    case "changeRoomOwner":
      return model.changeRoomOwner(it.id, endpointOf(it.who));
    case "handOverRoom":
      return model.handOverRoom(it.id, handoverOf(it.from, it.who, it.epoch, it.salt));
    case "removeMember":
      return model.removeMember(it.id, endpointOf(it.who));
    case "rekeyRoom":
      return model.rekeyRoom(it.id, it.epoch, keysOf(it.keys, it.salt));
    case "putSealedKey":
      return model.putSealedKey(it.id, it.epoch, endpointOf(it.who), sealedOf(it.who, it.salt));
    case "addUser":
      return model.addUser(endpointOf(it.who), kexOf(it.who), it.handle, roleOf(it.admin));
    case "revokeUser":
      return model.revokeUser(endpointOf(it.who), it.force);
    case "restoreUser":
      return model.restoreUser(endpointOf(it.who));
    case "setUserRole":
      return model.setUserRole(endpointOf(it.who), roleOf(it.admin), it.force);
    case "deleteUser":
      return model.deleteUser(endpointOf(it.who), it.force);
    case "createInvite":
      // A store that made no invite has told a difference already; any id shows it.
      return model.createInvite(
        inviteId(made?.token ?? ""),
        roleOf(it.admin),
        it.note,
        it.expiresIn,
        it.room,
      );
    case "consumeInvite":
      return model.consumeInvite(it.token, endpointOf(it.who), kexOf(it.who), it.handle);
    case "cancelInvite":
      return model.cancelInvite(it.invite);
    case "replaceAll":
      return model.replaceAll(restored(it.users));
    case "getRoom":
      return model.getRoom(it.id);
    case "listRooms":
      return model.listRooms();
    case "listRoomsForEndpoint":
      return model.listRoomsForEndpoint(endpointOf(it.who), it.accepted);
    case "getMember":
      return model.getMember(it.id, endpointOf(it.who));
    case "listMembers":
      return model.listMembers(it.id);
    case "listWaiting":
      return model.listWaiting(it.id);
    case "getSealedKey":
      return model.getSealedKey(it.id, endpointOf(it.who), it.epoch);
    case "listSealedKeys":
      return model.listSealedKeys(it.id, it.epoch);
    case "getUser":
      return model.getUser(endpointOf(it.who));
    case "listUsers":
      return model.listUsers();
    case "isAuthorized":
      return model.isAuthorized(endpointOf(it.who));
    case "hasAdmin":
      return model.hasAdmin();
    case "getInvite":
      return model.getInvite(it.invite);
    case "listInvites":
      return model.listInvites();
    case "records":
      return model.records();
  }
}

function callStore(store: Store, it: Exclude<Command, { op: "createInvite" }>): Promise<unknown> {
  switch (it.op) {
    case "createRoom":
      return store.createRoom({
        id: it.id,
        subject: subjectOf(it.id),
        encrypted: it.encrypted,
        owner: memberOf(it.owner),
        members: it.members.map((who) => addedOf(who, it)),
        sealedKeys: keysOf(it.keys, it.salt),
      });
    case "deleteRoom":
      return store.deleteRoom(it.id);
    case "addMember":
      return store.addMember(it.id, addedOf(it.who, it), keyOf(it));
    case "joinRoom":
      return store.joinRoom(it.id, endpointOf(it.who));
    case "changeRoomOwner":
      return store.changeRoomOwner(it.id, endpointOf(it.who));
    case "handOverRoom":
      return store.handOverRoom(it.id, handoverOf(it.from, it.who, it.epoch, it.salt));
    case "removeMember":
      return store.removeMember(it.id, endpointOf(it.who));
    case "rekeyRoom":
      return store.rekeyRoom(it.id, { epoch: it.epoch, sealedKeys: keysOf(it.keys, it.salt) });
    case "putSealedKey":
      return store.putSealedKey({
        roomId: it.id,
        epoch: it.epoch,
        endpoint: endpointOf(it.who),
        sealedKey: sealedOf(it.who, it.salt),
      });
    case "addUser":
      return store.addUser({
        signPub: endpointOf(it.who),
        kexPub: kexOf(it.who),
        handle: it.handle,
        role: roleOf(it.admin),
      });
    case "revokeUser":
      return store.revokeUser(endpointOf(it.who), { force: it.force });
    case "restoreUser":
      return store.restoreUser(endpointOf(it.who));
    case "setUserRole":
      return store.setUserRole(endpointOf(it.who), roleOf(it.admin), { force: it.force });
    case "deleteUser":
      return store.deleteUser(endpointOf(it.who), { force: it.force });
    case "consumeInvite":
      return store.consumeInvite(it.token, {
        signPub: endpointOf(it.who),
        kexPub: kexOf(it.who),
        handle: it.handle,
      });
    case "cancelInvite":
      return store.cancelInvite(it.invite);
    case "replaceAll": {
      const users = restored(it.users).map((record): StoreRecord => ({ kind: "users", record }));
      return store.restore(users, { replace: true }).then(() => undefined);
    }
    case "getRoom":
      return store.getRoom(it.id);
    case "listRooms":
      return everyPage((page) => store.listRooms(page), it.limit);
    case "listRoomsForEndpoint":
      return everyPage(
        (p) =>
          store.listRoomsForEndpoint(
            endpointOf(it.who),
            it.accepted === undefined ? p : { ...p, accepted: it.accepted },
          ),
        it.limit,
      );
    case "getMember":
      return store.getMember(it.id, endpointOf(it.who));
    case "listMembers":
      return everyPage((page) => store.listMembers(it.id, page), it.limit);
    case "listWaiting":
      return everyPage((page) => store.listWaiting(it.id, page), it.limit);
    case "getSealedKey":
      return store.getSealedKey(it.id, endpointOf(it.who), it.epoch);
    case "listSealedKeys":
      return everyPage(
        (p) => store.listSealedKeys(it.id, it.epoch === undefined ? p : { ...p, epoch: it.epoch }),
        it.limit,
      );
    case "getUser":
      return store.getUser(endpointOf(it.who));
    case "listUsers":
      return everyPage((page) => store.listUsers(page), it.limit);
    case "isAuthorized":
      return store.isAuthorized(endpointOf(it.who));
    case "hasAdmin":
      return store.hasAdmin();
    case "getInvite":
      return store.getInvite(it.invite);
    case "listInvites":
      return everyPage((page) => store.listInvites(page), it.limit);
    case "records":
      return collect(store.records());
  }
}

function addedOf(who: Peer, { accepted }: { accepted?: boolean }): AddedMember {
  return { ...memberOf(who), ...(accepted !== undefined && { accepted }) };
}

const roleOf = (admin: boolean) => admin ? "admin" as const : "user" as const;

function keyOf(it: { who: Peer; key?: { epoch: number; salt: number } }) {
  if (it.key === undefined) return undefined;
  return { epoch: it.key.epoch, sealedKey: sealedOf(it.who, it.key.salt) };
}
