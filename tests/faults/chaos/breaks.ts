/**
 * Stores that break one promise each, to show that the checkers see it: a wrapper around a store that
 * is right.
 *
 * @module
 */

import type { Store } from "../../../src/core/store.ts";

/**
 * What can be broken.
 *
 * @param silent The same store, which keeps no history
 */
export const BREAKS: Readonly<Record<string, (store: Store, silent: Store) => Store>> = {
  /** Remembers every yes for good. */
  endless_cache(store) {
    const known = new Set<string>();
    return {
      ...store,
      async isAuthorized(signPub) {
        if (known.has(signPub)) return true;
        const answer = await store.isAuthorized(signPub);
        if (answer) known.add(signPub);
        return answer;
      },
    };
  },

  /** Says yes when the store cannot answer, as it did before. */
  open_when_cut(store) {
    const known = new Map<string, boolean>();
    return {
      ...store,
      async isAuthorized(signPub) {
        if (await store.isAuthorized(signPub)) {
          known.set(signPub, true);
          return true;
        }
        if ((await store.health()).ok) {
          known.delete(signPub);
          return false;
        }
        return known.has(signPub);
      },
    };
  },

  /** Acknowledges every third revocation without making it. */
  dropped_write(store) {
    let count = 0;
    return {
      ...store,
      async revokeUser(signPub, options) {
        if (++count % 3 !== 0) return await store.revokeUser(signPub, options);
        const user = await store.getUser(signPub);
        return { ...user, status: "revoked", revokedAt: new Date().toISOString() };
      },
    };
  },

  /** Lets everybody have a used invite's access. */
  double_claim(store) {
    return {
      ...store,
      async consumeInvite(token, claim) {
        try {
          return await store.consumeInvite(token, claim);
        } catch (error) {
          if ((error as { code?: string }).code !== "invite_used") throw error;
          return await store.addUser(claim);
        }
      },
    };
  },

  /** Rekeys without the owner. */
  no_owner_key(store) {
    const lost = new Set<string>();
    const owners = new Map<string, string>();
    return {
      ...store,
      async rekeyRoom(roomId, rekey) {
        const room = await store.rekeyRoom(roomId, rekey);
        lost.add(`${roomId}/${rekey.epoch}`);
        owners.set(roomId, room.owner);
        return room;
      },
      async *records(options) {
        for await (const it of store.records(options)) {
          if (it.kind === "room_keys") {
            const { roomId, epoch, endpoint } = it.record;
            if (lost.has(`${roomId}/${epoch}`) && owners.get(roomId) === endpoint) continue;
          }
          yield it;
        }
      },
    };
  },

  /** Reads users from a copy that is a while behind. */
  stale_read(store) {
    const copies = new Map<string, { at: number; user: ReturnType<Store["getUser"]> }>();
    return {
      ...store,
      getUser(signPub) {
        const copy = copies.get(signPub);
        if (copy !== undefined && performance.now() - copy.at < 3000) return copy.user;
        const user = store.getUser(signPub);
        copies.set(signPub, { at: performance.now(), user });
        return user;
      },
    };
  },

  /** Answers later than it may. */
  late(store) {
    let count = 0;
    return {
      ...store,
      async getUser(signPub) {
        if (++count % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 4000));
        return await store.getUser(signPub);
      },
    };
  },

  /** Makes every third change of this kind without an entry. */
  no_entry(store, silent) {
    let count = 0;
    return {
      ...store,
      deleteUser: (signPub) => (++count % 3 === 0 ? silent : store).deleteUser(signPub),
    };
  },

  /** Makes every third change of this kind twice. */
  two_entries(store) {
    let count = 0;
    return {
      ...store,
      async restoreUser(signPub) {
        const user = await store.restoreUser(signPub);
        if (++count % 3 !== 0) return user;
        await store.revokeUser(signPub);
        return await store.restoreUser(signPub);
      },
    };
  },

  /** Tells nobody of changes, so that who lost access stays connected. */
  deaf(store) {
    return { ...store, watchAccess: () => () => {} };
  },

  /** Promotes an old copy of the follower, which the node's process sees to. */
  old_copy: (store) => store,

  /** Loses a record at the end. */
  forgets(store) {
    return {
      ...store,
      async *records(options) {
        let last = null;
        for await (const it of store.records(options)) {
          if (last !== null) yield last;
          last = it;
        }
      },
    };
  },
};
