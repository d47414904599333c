/**
 * A store that is reached through the HTTP client: what the conformance suite sees is what a client
 * sees. What no route offers (records, restore, health) is asked of the store behind the server.
 */

import type { ActingStore, Store } from "../../src/core/store.ts";
import { type Client, createClient, createIdentity } from "@unibus/membership/client";
import { iterables } from "../../src/core/store/iterables.ts";
import { createControlPlane } from "../../src/http/control_plane.ts";
import { serve } from "../../src/http/serve/serve.ts";

/**
 * Serves a store that nobody guards (`off`: who asks is who the request says), and gives it as a
 * client has it. Closing the result closes the server and the store.
 */
export async function overHttp(store: Store, clock?: () => Date): Promise<Store> {
  const plane = createControlPlane(store, {
    busAuth: "off",
    registrationsPerMinute: 1e6,
    ...(clock && { clock }),
  });
  const server = await serve(plane, { port: 0 });
  let closing: Promise<void> | null = null;
  const clients = new Map<string, Client>();

  /** Somebody's client. Nobody has the private keys of the suite's people, so none can sign. */
  function as(signPub: string, kexPub = signPub): Client {
    let it = clients.get(signPub);
    if (it === undefined) {
      const identity = {
        ...createIdentity(),
        signPub,
        kexPub,
        signRequest: () => new Uint8Array(64),
      };
      it = createClient({ url: server.url, identity, timeout: 60_000, retries: 0 });
      clients.set(signPub, it);
      if (closing !== null) it.close();
    }
    return it;
  }

  async function close(): Promise<void> {
    closing ??= (async () => {
      plane.close();
      for (const it of clients.values()) it.close();
      await server.close(1000);
      await store.close();
    })();
    await closing;
  }

  return actingFor(as(createIdentity().signPub));

  /** The store as one client sees it; where the suite says who acts, that one acts. */
  function actingFor(anyone: Client): Store & ActingStore {
    const records: Store = {
      ...store,
      createRoom: ({ owner, ...room }) =>
        as("endpoint" in owner ? owner.endpoint : owner.signPub)
          .createRoom({ ...room, kexPub: owner.kexPub }),
      getRoom: (id) => anyone.getRoom(id),
      listRooms: (page) => anyone.listRooms({ ...page, all: true }),
      listRoomsForEndpoint: (endpoint, page) => as(endpoint).listRooms(page),
      deleteRoom: (id) => anyone.deleteRoom(id),
      addMember: (roomId, member, key) => anyone.addMember(roomId, member, key),
      getMember: (roomId, endpoint) => anyone.getMember(roomId, endpoint),
      listMembers: async (roomId, page) => {
        const { items, next } = await anyone.listMembers(roomId, page);
        return { items: items.map(({ status: _, ...member }) => member), next };
      },
      listWaiting: (roomId, page) => anyone.listWaiting(roomId, page),
      joinRoom: (roomId, endpoint) => as(endpoint).joinRoom(roomId),
      changeRoomOwner: (roomId, endpoint) => anyone.changeRoomOwner(roomId, endpoint),
      handOverRoom: (roomId, handover) => anyone.handOverRoom(roomId, handover),
      removeMember: (roomId, endpoint) => anyone.removeMember(roomId, endpoint),
      rekeyRoom: (roomId, rekey) => anyone.rekeyRoom(roomId, rekey),
      putSealedKey: (key) => anyone.putSealedKey(key),
      getSealedKey: (roomId, endpoint, epoch) => as(endpoint).getSealedKey(roomId, epoch),
      listSealedKeys: (roomId, options) => anyone.listSealedKeys(roomId, options),
      addUser: (user) => anyone.addUser(user),
      getUser: (signPub) => anyone.getUser(signPub),
      listUsers: (page) => anyone.listUsers(page),
      revokeUser: (signPub, options) => anyone.revokeUser(signPub, options),
      restoreUser: (signPub) => anyone.restoreUser(signPub),
      setUserRole: (signPub, role, options) => anyone.setUserRole(signPub, role, options),
      deleteUser: (signPub, options) =>
        anyone.deleteUser(signPub, { ...options, keepMemberships: true }),
      createInvite: ({ createdBy: _, ...invite }) => anyone.createInvite(invite),
      getInvite: (id) => anyone.getInvite(id),
      listInvites: (page) => anyone.listInvites(page),
      consumeInvite: (token, { signPub, kexPub, handle }) =>
        as(signPub, kexPub).register(token, handle),
      cancelInvite: (id) => anyone.cancelInvite(id),
      history: async (query) => {
        const { items, next } = await anyone.changes(query);
        return { items, next };
      },
      follow: (options) => anyone.follow(options),
      reach: async (revision) => {
        const identity = createIdentity();
        using it = createClient({ url: server.url, identity, revision, retries: 0 });
        if (closing !== null) it.close();
        await it.me();
      },
      as: (actor) => {
        store.as(actor);
        return actingFor(as(actor));
      },
      close,
      [Symbol.asyncDispose]: close,
    };
    return {
      ...records,
      ...iterables(records),
      get revision() {
        return anyone.revision;
      },
    };
  }
}
