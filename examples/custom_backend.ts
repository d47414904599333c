/**
 * A backend of your own, here in the memory of the process: what `createStore` needs, and nothing
 * else. Inputs arrive validated, so a backend is transactions only. `tests/package/examples_test.ts` runs
 * the conformance suite on it; run it on yours.
 *
 * It keeps no history, so it runs the suite with `capabilities: { history: false }`. One that does stores an
 * entry of `did` with each change, in its transaction, calls `author.wrote` with the revision, and returns a
 * `HistorySource` as `history`: see docs/history.md.
 *
 *     deno run examples/custom_backend.ts
 *
 * @module
 */

import {
  type AccessChange,
  afterHandover,
  afterWaiting,
  type Backend,
  cancelProblem,
  compareRecords,
  type Counts,
  createStore,
  handoverProblem,
  inviteEnd,
  inviteExists,
  inviteProblem,
  isActiveAdmin,
  isHandedOver,
  type Kind,
  KINDS,
  lastAdmin,
  type Member,
  memberExists,
  newMemberKeyProblem,
  noMember,
  notEmpty,
  notFound,
  ownerChangeProblem,
  type Range,
  type RecordOf,
  rekeyProblem,
  removalProblem,
  type Room,
  roomExists,
  sealedKeyProblem,
  type Store,
  StoreError,
  type StoreOptions,
  type StoreRecord,
  type User,
  userExists,
  waitAfterClaim,
  waitsFor,
} from "@unibus/membership/backend";

/** Records by key, kind by kind. */
type Tables = { [K in Kind]: Map<string, RecordOf[K]> };

/** What stores on the same data share. */
export class Memory {
  #tables = emptyTables();
  readonly #listeners = new Set<{ tell: (change: AccessChange) => void }>();

  /** Opens it; as many stores as you like see the same data. */
  open(options?: StoreOptions): Store {
    return createStore(this.#backend(), options);
  }

  /** Everything runs between two turns of the event loop, so each method is a transaction by itself. */
  #backend(): Backend {
    const mine = new Set<{ tell: (change: AccessChange) => void }>();
    const tables = () => this.#tables;
    const room = (id: string): Room => found(tables().rooms.get(id), "room", id);
    const user = (id: string): User => found(tables().users.get(id), "user", id);
    const member = (roomId: string, endpoint: string): Member =>
      tables().members.get(join(room(roomId).id, endpoint)) ?? raise(noMember(roomId, endpoint));
    const membersOf = (id: string) =>
      [...tables().members.values()].filter((it) => it.roomId === id);
    const tell = (...changes: AccessChange[]) => {
      for (const listener of this.#listeners) {
        for (const it of changes) {
          try {
            // Neither waited for nor listened to.
            const answer: unknown = listener.tell({ ...it });
            if (answer instanceof Promise) answer.catch(() => {});
          } catch { /* The listener's own affair. */ }
        }
      }
    };
    const endWaiting = (roomId: string, endpoint: string) => {
      const user = tables().users.get(endpoint);
      if (user?.invitedTo === roomId) put(tables(), "users", afterWaiting(user));
    };
    const guardLastAdmin = (it: User, force: boolean) => {
      if (force || !isActiveAdmin(it)) return;
      const others = [...tables().users.values()].filter((other) => other.signPub !== it.signPub);
      if (!others.some(isActiveAdmin)) throw lastAdmin(it);
    };

    return {
      name: "memory",

      createRoom: (it, members, keys) =>
        now(() => {
          if (tables().rooms.has(it.id)) throw roomExists(it.id);
          put(tables(), "rooms", it);
          for (const member of members) put(tables(), "members", member);
          for (const key of keys) put(tables(), "room_keys", key);
          tell({ roomId: it.id }, ...members.map(({ endpoint }) => ({ endpoint })));
        }),
      getRoom: (id) => now(() => copy(tables().rooms.get(id))),
      listRooms: (range) => now(() => page(tables().rooms.values(), range, (it) => it.id)),
      listRoomsForEndpoint: (endpoint, range, accepted) =>
        now(() => {
          const isIn = (it: Room) => {
            const own = tables().members.get(join(it.id, endpoint));
            return own !== undefined && (accepted ?? own.accepted) === own.accepted;
          };
          return page([...tables().rooms.values()].filter(isIn), range, (it) => it.id);
        }),
      deleteRoom: (id) =>
        now(() => {
          room(id);
          const endpoints = membersOf(id).map(({ endpoint }) => ({ endpoint }));
          tables().rooms.delete(id);
          for (const kind of ["members", "room_keys"] as const) {
            for (const [key, it] of tables()[kind]) {
              if (it.roomId === id) tables()[kind].delete(key);
            }
          }
          tell({ roomId: id }, ...endpoints);
        }),

      addMember: (member, key) =>
        now(() => {
          const { roomId, endpoint } = member;
          const to = room(roomId);
          if (tables().members.has(join(roomId, endpoint))) throw memberExists(roomId, endpoint);
          const problem = key && newMemberKeyProblem(to, key);
          if (problem !== null) throw problem;
          if (key !== null) put(tables(), "room_keys", key);
          put(tables(), "members", member);
          endWaiting(roomId, endpoint);
          tell({ endpoint });
        }),
      getMember: (roomId, endpoint) =>
        now(() => copy(tables().members.get(join(roomId, endpoint)))),
      listMembers: (roomId, range) =>
        now(() => page(membersOf(room(roomId).id), range, (it) => it.endpoint)),
      listWaiting: (roomId, range) =>
        now(() => {
          const there = room(roomId);
          const waiting = [...tables().users.values()].filter((it) =>
            waitsFor(it, there) && !tables().members.has(join(roomId, it.signPub))
          );
          return page(waiting, range, (it) => it.signPub);
        }),
      countMembers: (roomId) => now(() => membersOf(roomId).length),
      joinRoom: (roomId, endpoint) =>
        now(() => {
          const next = { ...member(roomId, endpoint), accepted: true };
          put(tables(), "members", next);
          tell({ endpoint });
          return next;
        }),
      changeRoomOwner: (roomId, endpoint) =>
        now(() => {
          const before = room(roomId);
          const next = member(roomId, endpoint);
          if (before.owner === endpoint) return { ...before };
          const owner = tables().users.get(before.owner) ?? null;
          const hasKey = tables().room_keys.has(join(roomId, padded(before.epoch), endpoint));
          const problem = ownerChangeProblem(before, owner, next, hasKey);
          if (problem !== null) throw problem;
          put(tables(), "rooms", { ...before, owner: endpoint });
          put(tables(), "members", { ...next, role: "owner" });
          tables().members.delete(join(roomId, before.owner));
          tell({ roomId }, { endpoint }, { endpoint: before.owner });
          return { ...before, owner: endpoint };
        }),
      handOverRoom: (roomId, handover) =>
        now(() => {
          const before = room(roomId);
          const next = member(roomId, handover.to);
          if (isHandedOver(before, handover)) return structuredClone(before);
          const hasKey = tables().room_keys.has(join(roomId, padded(before.epoch), handover.to));
          const problem = handoverProblem(before, handover, next, hasKey);
          if (problem !== null) throw problem;
          const after = afterHandover(before, handover);
          put(tables(), "rooms", after);
          put(tables(), "members", { ...next, role: "owner" });
          put(tables(), "members", { ...member(roomId, handover.from), role: "member" });
          tell({ roomId }, { endpoint: handover.to }, { endpoint: handover.from });
          return structuredClone(after);
        }),
      removeMember: (roomId, endpoint) =>
        now(() => {
          const problem = removalProblem(room(roomId), endpoint);
          if (problem !== null) throw problem;
          if (!tables().members.delete(join(roomId, endpoint))) throw noMember(roomId, endpoint);
          endWaiting(roomId, endpoint);
          tell({ endpoint });
        }),

      rekeyRoom: (roomId, epoch, keys) =>
        now(() => {
          const before = room(roomId);
          const members = new Set(membersOf(roomId).map((it) => it.endpoint));
          const problem = rekeyProblem(before, members, epoch, keys.map((it) => it.endpoint));
          if (problem !== null) throw problem;
          put(tables(), "rooms", { ...before, epoch });
          for (const key of keys) put(tables(), "room_keys", key);
          return { ...before, epoch };
        }),
      putSealedKey: (key) =>
        now(() => {
          const to = room(key.roomId);
          member(key.roomId, key.endpoint);
          const problem = sealedKeyProblem(to, key.epoch);
          if (problem !== null) throw problem;
          put(tables(), "room_keys", key);
        }),
      pruneSealedKeys: (roomId, keep) =>
        now(() => {
          const last = room(roomId).epoch - keep;
          const old = [...tables().room_keys].filter(([, it]) =>
            it.roomId === roomId && it.epoch <= last
          );
          for (const [key] of old) tables().room_keys.delete(key);
          return old.length;
        }),
      getSealedKey: (roomId, endpoint, epoch) =>
        now(() => {
          const own = [...tables().room_keys.values()]
            .filter((it) => it.roomId === roomId && it.endpoint === endpoint)
            .filter((it) => epoch === null || it.epoch === epoch);
          return copy(own.sort((a, b) => b.epoch - a.epoch)[0]);
        }),
      listSealedKeys: (roomId, epoch, { limit, after }) =>
        now(() => {
          room(roomId);
          const keys = [...tables().room_keys.values()]
            .filter((it) => it.roomId === roomId && (epoch ?? it.epoch) === it.epoch);
          const text = (it: { epoch: number; endpoint: string }) => padded(it.epoch) + it.endpoint;
          return page(keys, { limit, after: after && text(after) }, text);
        }),

      addUser: (it) =>
        now(() => {
          if (tables().users.has(it.signPub)) throw userExists(it.signPub);
          put(tables(), "users", it);
          tell({ endpoint: it.signPub });
        }),
      getUser: (id) => now(() => copy(tables().users.get(id))),
      listUsers: (range) => now(() => page(tables().users.values(), range, (it) => it.signPub)),
      setUserStatus: (id, status, at, force) =>
        now(() => {
          const before = user(id);
          if (before.status === status) return { ...before };
          if (status === "revoked") guardLastAdmin(before, force);
          const next = { ...before, status, revokedAt: status === "revoked" ? at : null };
          put(tables(), "users", next);
          tell({ endpoint: id });
          return { ...next };
        }),
      setUserRole: (id, role, force) =>
        now(() => {
          const before = user(id);
          if (before.role === role) return { ...before };
          guardLastAdmin(before, force);
          put(tables(), "users", { ...before, role });
          tell({ endpoint: id });
          return { ...before, role };
        }),
      deleteUser: (id, force) =>
        now(() => {
          guardLastAdmin(user(id), force);
          tables().users.delete(id);
          tell({ endpoint: id });
        }),
      isAuthorized: (id) => tables().users.get(id)?.status === "active",
      hasAdmin: () => [...tables().users.values()].some(isActiveAdmin),

      createInvite: (it) =>
        now(() => {
          if (it.room !== undefined) room(it.room);
          if (tables().invites.has(it.id)) throw inviteExists(it.id);
          put(tables(), "invites", it);
        }),
      getInvite: (id) => now(() => copy(tables().invites.get(id))),
      listInvites: (range) => now(() => page(tables().invites.values(), range, (it) => it.id)),
      consumeInvite: (id, claim) =>
        now(() => {
          const invite = found(tables().invites.get(id), "invite", id);
          const problem = inviteProblem(invite, claim.createdAt);
          if (problem !== null) throw problem;
          put(tables(), "invites", { ...invite, usedAt: claim.createdAt, usedBy: claim.signPub });
          const to = tables().rooms.get(invite.room ?? "") ?? null;
          const isMember = tables().members.has(join(invite.room ?? "", claim.signPub));
          const waiting = waitAfterClaim(invite, to, isMember);
          const there = tables().users.get(claim.signPub);
          if (there !== undefined) {
            put(tables(), "users", { ...there, ...waiting });
            throw userExists(claim.signPub);
          }
          const joined = { ...claim, role: invite.role, ...waiting };
          put(tables(), "users", joined);
          tell({ endpoint: joined.signPub });
          return { ...joined };
        }),
      cancelInvite: (id, at) =>
        now(() => {
          const invite = found(tables().invites.get(id), "invite", id);
          const problem = cancelProblem(invite);
          if (problem !== null) throw problem;
          const next = { ...invite, canceledAt: invite.canceledAt ?? at };
          put(tables(), "invites", next);
          return { ...next };
        }),

      pruneInvites: (before) =>
        now(() => {
          const over = [...tables().invites.values()].filter((it) => inviteEnd(it) <= before);
          for (const { id } of over) tables().invites.delete(id);
          return over.length;
        }),

      async *records(signal) {
        // One point in time: what is changed later is another object.
        const all = KINDS.flatMap((kind) =>
          [...tables()[kind].values()].map((record) => ({ kind, record }) as StoreRecord)
        );
        for (const it of all.sort(compareRecords)) {
          if (signal?.aborted) throw new StoreError("aborted", "Reading was ended");
          yield await Promise.resolve(structuredClone(it));
        }
      },
      restore: async (records, { replace = false, signal, onProgress }) => {
        const check = () => {
          if (signal?.aborted) throw new StoreError("aborted", "The restore was ended");
        };
        check();
        const isEmpty = () => KINDS.every((kind) => tables()[kind].size === 0);
        if (!replace && !isEmpty()) throw notEmpty("Restoring into memory");
        const next = emptyTables();
        let done = 0;
        for await (const it of records) {
          check();
          put(next, it.kind, it.record);
          onProgress?.(++done);
        }
        check();
        if (!replace && !isEmpty()) throw notEmpty("Restoring into memory");
        this.#tables = next;
        tell({});
        return Object.fromEntries(KINDS.map((kind) => [kind, next[kind].size])) as Counts;
      },

      watchAccess: (listener) => {
        const own = { tell: listener };
        mine.add(own);
        this.#listeners.add(own);
        return () => void this.#listeners.delete(own);
      },
      health: () => Promise.resolve([{ name: "memory", ok: true, detail: "It is here" }]),
      close: () => now(() => mine.forEach((it) => this.#listeners.delete(it))),
    };
  }
}

/** A transaction: what it throws is how the promise ends. */
function now<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => resolve(work()));
}

function emptyTables(): Tables {
  return Object.fromEntries(KINDS.map((kind) => [kind, new Map()])) as unknown as Tables;
}

const padded = (epoch: number) => String(epoch).padStart(16, "0");
const join = (...parts: string[]) => parts.join("\0");

function keyOf(kind: Kind, record: RecordOf[Kind]): string {
  const it = record as RecordOf["rooms"] & RecordOf["room_keys"] & RecordOf["users"];
  if (kind === "members") return join(it.roomId, it.endpoint);
  if (kind === "room_keys") return join(it.roomId, padded(it.epoch), it.endpoint);
  return kind === "users" ? it.signPub : it.id;
}

/** A copy goes in and copies come out: nobody outside holds a part of the store. */
function put<K extends Kind>(tables: Tables, kind: K, record: RecordOf[K]): void {
  (tables[kind] as Map<string, RecordOf[K]>).set(keyOf(kind, record), structuredClone(record));
}

function copy<T>(it: T | undefined): T | null {
  return it === undefined ? null : structuredClone(it);
}

function raise(error: StoreError): never {
  throw error;
}

function found<T>(it: T | undefined, what: string, key: string): T {
  if (it === undefined) throw notFound(what, key);
  return it;
}

const bytes = new TextEncoder();

/** By key as UTF-8 bytes, which is the order of every list. */
function compare(a: string, b: string): number {
  const [x, y] = [bytes.encode(a), bytes.encode(b)];
  for (let i = 0; i < x.length && i < y.length; i++) if (x[i] !== y[i]) return x[i]! - y[i]!;
  return x.length - y.length;
}

function page<T>(all: Iterable<T>, { limit, after }: Range, key: (it: T) => string): T[] {
  return [...all].filter((it) => after === null || compare(key(it), after) > 0)
    .sort((a, b) => compare(key(a), key(b))).slice(0, limit).map((it) => structuredClone(it));
}

if (import.meta.main) {
  await using store = new Memory().open();
  const { invite, token } = await store.createInvite({ createdBy: "cli", role: "admin" });
  await store.consumeInvite(token, {
    signPub: "a1".repeat(32),
    kexPub: "b2".repeat(32),
    handle: "ada",
  });
  console.log(await store.hasAdmin(), (await store.getInvite(invite.id)).usedAt !== null);
}
