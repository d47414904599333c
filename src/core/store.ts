/**
 * The store: what callers use, the same on every backend. {@link createStore} puts validation,
 * defaults, paging and the closed state in front of a {@link Backend}.
 *
 * @module
 */

import { createHash, randomBytes } from "node:crypto";
import type { Backend, Range, RestoreOptions, SealedKeyCursor } from "./backend.ts";
import { StoreError } from "./errors.ts";
import { checkedRecords } from "./checks/integrity.ts";
import type {
  AccessChange,
  AddedMember,
  Claim,
  Counts,
  CreatedInvite,
  Invite,
  KeyFor,
  Member,
  NewInvite,
  NewRoom,
  NewSealedKey,
  NewUser,
  Page,
  PageRequest,
  Rekey,
  Room,
  SealedKey,
  StoreHealth,
  StoreRecord,
  User,
  UserRole,
} from "./model.ts";
import { notFound } from "./rules.ts";
import * as check from "./validate.ts";

export type { RestoreOptions } from "./backend.ts";

/**
 * The control plane's store. Every method is one transaction: all of it happens or none, also when
 * the process is killed half-way. Methods reject with a `StoreError`; besides the codes each one
 * names, any may reject with `invalid` (nothing was written), `unavailable` and `closed`.
 *
 * @example
 * ```ts
 * import { openSqlite } from "@unibus/membership";
 *
 * await using store = openSqlite(":memory:");
 * const { token } = await store.createInvite({ createdBy: "cli", role: "admin" });
 * const user = await store.consumeInvite(token, {
 *   signPub: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
 *   kexPub: "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
 *   handle: "ada",
 * });
 * if (!(await store.isAuthorized(user.signPub))) throw new Error("unreachable");
 * ```
 */
export interface Store extends AsyncDisposable {
  /** The backend's short name: `sqlite` or `jetstream`. */
  readonly backend: string;

  /** Makes a room at epoch 1 with its owner, first members and their sealed keys. `room_exists` */
  createRoom(room: NewRoom): Promise<Room>;
  /** Reads a room. `not_found` */
  getRoom(id: string): Promise<Room>;
  /** Lists rooms by id (UTF-8 bytes). */
  listRooms(page?: PageRequest): Promise<Page<Room>>;
  /**
   * Lists the rooms an endpoint is a member of, by id; none is an empty page. `accepted: true` lists only
   * those it has accepted, `false` only offers.
   */
  listRoomsForEndpoint(
    endpoint: string,
    page?: PageRequest & { accepted?: boolean },
  ): Promise<Page<Room>>;
  /** Removes a room with its members and sealed keys. `not_found` */
  deleteRoom(id: string): Promise<void>;

  /**
   * Adds a member, and its sealed key of the room's current epoch where one is given.
   * `not_found` (room), `member_exists`, `conflict` (the room is at another epoch)
   */
  addMember(
    roomId: string,
    member: AddedMember,
    key?: { epoch: number; sealedKey: Uint8Array },
  ): Promise<Member>;
  /** Reads a membership. `not_found` */
  getMember(roomId: string, endpoint: string): Promise<Member>;
  /** Lists a room's members by endpoint. `not_found` (room) */
  listMembers(roomId: string, page?: PageRequest): Promise<Page<Member>>;
  /** How many members a room has; 0 for a room that does not exist. */
  countMembers(roomId: string): Promise<number>;
  /** Accepts an offered membership. Idempotent. `not_found` (room or member) */
  joinRoom(roomId: string, endpoint: string): Promise<Member>;
  /**
   * Gives a room whose owner is revoked, or no user, to another member. The former owner's membership
   * ends; epoch and sealed keys stay as they are. Idempotent. `not_found` (room or member), `conflict`
   * (the member has not accepted, or lacks the current key), `refused` (the owner is an active user)
   */
  changeRoomOwner(roomId: string, endpoint: string): Promise<Room>;
  /**
   * Ends a membership. Sealed keys the member had stay, inert; rekey the room to shut it out of what
   * comes. `not_found`, `room_owner`
   */
  removeMember(roomId: string, endpoint: string): Promise<void>;

  /**
   * Moves a room to its next epoch with the new key sealed for every member. `not_found`, `conflict`
   * (another epoch than the room's plus 1, or not exactly the room's members)
   */
  rekeyRoom(roomId: string, rekey: Rekey): Promise<Room>;
  /** Stores or replaces a member's sealed key. `not_found` (room or member), `conflict` (epoch ahead of the room) */
  putSealedKey(key: NewSealedKey): Promise<SealedKey>;
  /** Reads an endpoint's sealed key: of `epoch`, or of the latest epoch it has one for. `not_found` */
  getSealedKey(roomId: string, endpoint: string, epoch?: number): Promise<SealedKey>;
  /** Lists a room's sealed keys, of one epoch or all, by epoch then endpoint. `not_found` (room) */
  listSealedKeys(
    roomId: string,
    options?: PageRequest & { epoch?: number },
  ): Promise<Page<SealedKey>>;
  /**
   * Removes a room's oldest sealed keys, so that the newest `keep` epochs (2 at least) have theirs. Up
   * to 20,000 keys a call, the oldest epochs first; a later call continues. Nothing of the epochs that
   * are kept is touched. `not_found` (room)
   *
   * @returns How many keys were removed
   */
  pruneSealedKeys(roomId: string, keep: number): Promise<number>;

  /** Adds an active user. `user_exists` */
  addUser(user: NewUser): Promise<User>;
  /** Reads a user. `not_found` */
  getUser(signPub: string): Promise<User>;
  /** Lists users by signPub. */
  listUsers(page?: PageRequest): Promise<Page<User>>;
  /** Takes a user's access; again changes nothing. `not_found`, `last_admin` (unless `force`) */
  revokeUser(signPub: string, options?: { force?: boolean }): Promise<User>;
  /** Gives a revoked user access again; again changes nothing. `not_found` */
  restoreUser(signPub: string): Promise<User>;
  /** Makes a user an admin, or no more; again changes nothing. `not_found`, `last_admin` (unless `force`) */
  setUserRole(signPub: string, role: UserRole, options?: { force?: boolean }): Promise<User>;
  /**
   * Removes a user. Its memberships stay: inert, and good again when a user with the same key is added.
   * `removeUser` ends them too. `not_found`, `last_admin` (unless `force`)
   */
  deleteUser(signPub: string, options?: { force?: boolean }): Promise<void>;
  /** Whether the key belongs to an active user. Never rejects: on any error or doubt the answer is no. */
  isAuthorized(signPub: string): Promise<boolean>;
  /** Whether there is an active admin. Never rejects: on any error or doubt the answer is no. */
  hasAdmin(): Promise<boolean>;

  /** Makes a single-use invite. The token is in the answer and nowhere else. */
  createInvite(invite: NewInvite): Promise<CreatedInvite>;
  /** Reads an invite by its id, the SHA-256 of the token. `not_found` */
  getInvite(id: string): Promise<Invite>;
  /** Lists invites by id. */
  listInvites(page?: PageRequest): Promise<Page<Invite>>;
  /**
   * Claims an invite: exactly one caller wins, and becomes a user with the invite's role.
   * `not_found`, `invite_used`, `invite_expired`, `invite_canceled`; `user_exists` when the key is
   * registered already, and then the invite is spent all the same
   */
  consumeInvite(token: string, claim: Claim): Promise<User>;
  /** Cancels an invite; again changes nothing. `not_found`, `invite_used` */
  cancelInvite(id: string): Promise<Invite>;
  /**
   * Removes invites that had been used, canceled or expired at a time (ISO 8601, in UTC with
   * milliseconds); a time to come counts as now. One that can still be claimed is never removed; its token is then `not_found`.
   *
   * @returns How many invites were removed
   */
  pruneInvites(before: string): Promise<number>;

  /** Every record as of one point in time, in canonical order, streamed. */
  records(options?: { signal?: AbortSignal }): AsyncIterable<StoreRecord>;
  /**
   * Puts records back as they are: epochs, statuses and times kept. They must come in canonical
   * order and fit together. `refused` (not empty, without `replace`), `invalid`, `aborted`
   */
  restore(
    records: AsyncIterable<StoreRecord> | Iterable<StoreRecord>,
    options?: RestoreOptions,
  ): Promise<Counts>;

  /**
   * Calls `listener` after every change of who may do what, whoever made it: this store, another
   * process on the same file, another node on the same bucket. Within 250 ms while the backend
   * answers; each change at least once, and at times for nothing. Where a change may have been
   * missed, or cannot be named, it is called with `{}`. What it reads then through this store is at
   * least as new as the change. It is not awaited, and what it throws is ignored. Throws `closed`.
   *
   * @returns Ends it; again does nothing
   */
  watchAccess(listener: (change: AccessChange) => void): () => void;
  /** Whether the store can do its work now, and what was looked at. Never rejects. */
  health(): Promise<StoreHealth>;
  /** Ends the store; later calls reject with `closed`. Closing again does nothing. */
  close(): Promise<void>;
}

/** What {@link createStore} takes besides the backend. */
export interface StoreOptions {
  /** The time now, for tests. Default: the system clock. */
  clock?: () => Date;
}

/** The id of an invite: the SHA-256 of its token, hex. */
export function inviteId(token: string): string {
  return createHash("sha256").update(token.toLowerCase()).digest("hex");
}

/**
 * Makes a {@link Store} of a {@link Backend}. For people who write a backend of their own.
 *
 * @param backend Where the records are kept; the store owns it and closes it
 * @param options A clock, for tests
 */
export function createStore(backend: Backend, options: StoreOptions = {}): Store {
  const clock = options.clock ?? (() => new Date());
  let closing: Promise<void> | null = null;

  const now = () => clock().toISOString();

  function open(): Backend {
    if (closing !== null) throw new StoreError("closed", "The store is closed");
    return backend;
  }

  async function found<T>(read: Promise<T | null>, what: string, key: string): Promise<T> {
    const it = await read;
    if (it === null) throw notFound(what, key);
    return it;
  }

  const memberOf = (
    roomId: string,
    it: Required<AddedMember>,
    role: Member["role"],
    at: string,
  ): Member => ({
    roomId,
    endpoint: it.endpoint,
    role,
    signPub: it.endpoint,
    kexPub: it.kexPub,
    joinedAt: at,
    accepted: it.accepted,
  });
  const keyOf = (roomId: string, epoch: number, it: KeyFor, at: string): SealedKey => ({
    roomId,
    epoch,
    endpoint: it.endpoint,
    sealedKey: it.sealedKey,
    createdAt: at,
  });

  async function close(): Promise<void> {
    closing ??= backend.close();
    await closing;
  }

  return {
    backend: backend.name,

    async createRoom(input) {
      const it = check.object("room", input);
      const id = check.roomId("id", it.id);
      const subject = check.subject("subject", it.subject);
      const encrypted = check.boolean("encrypted", it.encrypted ?? true);
      const owner = { ...check.newMember("owner", it.owner), accepted: true };
      const others = check.array("members", it.members ?? []).map((m, i) =>
        check.addedMember(`members[${i}]`, m)
      );
      const keys = check.keysFor("sealedKeys", it.sealedKeys ?? []);
      const endpoints = new Set([owner.endpoint]);
      for (const [i, { endpoint }] of others.entries()) {
        if (endpoints.has(endpoint)) {
          throw invalid(`members[${i}].endpoint`, `members names ${endpoint} twice`);
        }
        endpoints.add(endpoint);
      }
      checkFirstKeys(encrypted, endpoints, keys);
      const at = now();
      const room: Room = { id, subject, encrypted, owner: owner.endpoint, epoch: 1, createdAt: at };
      await open().createRoom(
        room,
        [memberOf(id, owner, "owner", at), ...others.map((m) => memberOf(id, m, "member", at))],
        keys.map((key) => keyOf(id, 1, key, at)),
      );
      return room;
    },
    async getRoom(id) {
      const it = check.roomId("id", id);
      return await found(open().getRoom(it), "room", it);
    },
    async listRooms(page) {
      const range = rangeOf(page, check.roomId);
      return pageOf(range, await open().listRooms(oneMore(range)), (it) => it.id);
    },
    async listRoomsForEndpoint(endpoint, page) {
      const it = check.signPub("endpoint", endpoint);
      const range = rangeOf(page, check.roomId, "accepted");
      const accepted = page?.accepted === undefined
        ? null
        : check.boolean("accepted", page.accepted);
      const rooms = await open().listRoomsForEndpoint(it, oneMore(range), accepted);
      return pageOf(range, rooms, (room) => room.id);
    },
    async deleteRoom(id) {
      const it = check.roomId("id", id);
      await open().deleteRoom(it);
    },

    async addMember(roomId, input, key) {
      const id = check.roomId("roomId", roomId);
      const it = check.addedMember("member", input);
      const sealed = key === undefined ? null : {
        epoch: check.epoch("key.epoch", check.object("key", key).epoch),
        sealedKey: check.sealedKey("key.sealedKey", key.sealedKey),
      };
      const at = now();
      const member = memberOf(id, it, "member", at);
      await open().addMember(
        member,
        sealed &&
          keyOf(id, sealed.epoch, { endpoint: it.endpoint, sealedKey: sealed.sealedKey }, at),
      );
      return member;
    },
    async getMember(roomId, endpoint) {
      const id = check.roomId("roomId", roomId);
      const it = check.signPub("endpoint", endpoint);
      return await found(open().getMember(id, it), "member", `${it} in room ${id}`);
    },
    async listMembers(roomId, page) {
      const id = check.roomId("roomId", roomId);
      const range = rangeOf(page, check.hashId);
      return pageOf(range, await open().listMembers(id, oneMore(range)), (it) => it.endpoint);
    },
    async countMembers(roomId) {
      const id = check.roomId("roomId", roomId);
      return await open().countMembers(id);
    },
    async joinRoom(roomId, endpoint) {
      const id = check.roomId("roomId", roomId);
      const it = check.signPub("endpoint", endpoint);
      return await open().joinRoom(id, it);
    },
    async changeRoomOwner(roomId, endpoint) {
      const id = check.roomId("roomId", roomId);
      const it = check.signPub("endpoint", endpoint);
      return await open().changeRoomOwner(id, it);
    },
    async removeMember(roomId, endpoint) {
      const id = check.roomId("roomId", roomId);
      const it = check.signPub("endpoint", endpoint);
      await open().removeMember(id, it);
    },

    async rekeyRoom(roomId, input) {
      const id = check.roomId("roomId", roomId);
      const it = check.object("rekey", input);
      const epoch = check.epoch("epoch", it.epoch);
      const keys = check.keysFor("sealedKeys", it.sealedKeys);
      const at = now();
      return await open().rekeyRoom(id, epoch, keys.map((key) => keyOf(id, epoch, key, at)));
    },
    async putSealedKey(input) {
      const it = check.object("key", input);
      const key: SealedKey = {
        roomId: check.roomId("roomId", it.roomId),
        epoch: check.epoch("epoch", it.epoch),
        endpoint: check.signPub("endpoint", it.endpoint),
        sealedKey: check.sealedKey("sealedKey", it.sealedKey),
        createdAt: now(),
      };
      await open().putSealedKey(key);
      return key;
    },
    async getSealedKey(roomId, endpoint, epoch) {
      const id = check.roomId("roomId", roomId);
      const it = check.signPub("endpoint", endpoint);
      const number = epoch === undefined ? null : check.epoch("epoch", epoch);
      const what = number === null ? "sealed key" : `sealed key of epoch ${number}`;
      return await found(open().getSealedKey(id, it, number), what, `for ${it} in room ${id}`);
    },
    async listSealedKeys(roomId, options) {
      const id = check.roomId("roomId", roomId);
      const range = rangeOf(options, sealedKeyCursor, "epoch");
      const epoch = options?.epoch === undefined ? null : check.epoch("epoch", options.epoch);
      const keys = await open().listSealedKeys(id, epoch, oneMore(range));
      return pageOf(range, keys, (it) => `${it.epoch}/${it.endpoint}`);
    },
    async pruneSealedKeys(roomId, keep) {
      const id = check.roomId("roomId", roomId);
      return await open().pruneSealedKeys(id, check.integer("keep", keep, 2, 2 ** 31));
    },

    async addUser(input) {
      const user = newUser(input, check.object("user", input).role ?? "user", now());
      await open().addUser(user);
      return user;
    },
    async getUser(signPub) {
      const it = check.signPub("signPub", signPub);
      return await found(open().getUser(it), "user", it);
    },
    async listUsers(page) {
      const range = rangeOf(page, check.hashId);
      return pageOf(range, await open().listUsers(oneMore(range)), (it) => it.signPub);
    },
    async revokeUser(signPub, options) {
      const it = check.signPub("signPub", signPub);
      const force = forceOf(options);
      return await open().setUserStatus(it, "revoked", now(), force);
    },
    async restoreUser(signPub) {
      const it = check.signPub("signPub", signPub);
      return await open().setUserStatus(it, "active", now(), false);
    },
    async setUserRole(signPub, role, options) {
      const it = check.signPub("signPub", signPub);
      const next = check.userRole("role", role);
      const force = forceOf(options);
      return await open().setUserRole(it, next, force);
    },
    async deleteUser(signPub, options) {
      const it = check.signPub("signPub", signPub);
      const force = forceOf(options);
      await open().deleteUser(it, force);
    },
    isAuthorized(signPub) {
      const it = check.hex64(signPub);
      return it === null ? NO : orNo(() => open().isAuthorized(it));
    },
    hasAdmin() {
      return orNo(() => open().hasAdmin());
    },

    async createInvite(input) {
      const it = check.object("invite", input);
      const createdAt = now();
      const expiresIn = check.integer(
        "expiresIn",
        it.expiresIn ?? check.LIMITS.inviteDefaultMs,
        1,
        check.LIMITS.inviteMaxMs,
      );
      const token = randomBytes(32).toString("hex");
      const invite: Invite = {
        id: inviteId(token),
        createdBy: check.createdBy("createdBy", it.createdBy),
        role: check.userRole("role", it.role ?? "user"),
        note: check.note("note", it.note ?? ""),
        createdAt,
        expiresAt: new Date(Date.parse(createdAt) + expiresIn).toISOString(),
        usedAt: null,
        usedBy: null,
        canceledAt: null,
      };
      await open().createInvite(invite);
      return { invite, token };
    },
    async getInvite(id) {
      const it = check.hashId("id", id);
      return await found(open().getInvite(it), "invite", it);
    },
    async listInvites(page) {
      const range = rangeOf(page, check.hashId);
      return pageOf(range, await open().listInvites(oneMore(range)), (it) => it.id);
    },
    async consumeInvite(token, claim) {
      if (check.hex64(token) === null) {
        // Says nothing of what was found: it may be a token with a slip in it.
        throw invalid("token", "token must be 64 hex digits");
      }
      // The role is the invite's; the backend puts it in when it has read the invite.
      const user = newUser(claim, "user", now());
      return await open().consumeInvite(inviteId(token), user);
    },
    async cancelInvite(id) {
      const it = check.hashId("id", id);
      return await open().cancelInvite(it, now());
    },
    async pruneInvites(before) {
      const it = check.time("before", before);
      // What is over at a time to come could still be claimed now.
      return await open().pruneInvites(it < now() ? it : now());
    },

    async *records(options) {
      check.options("options", options, ["signal"]);
      yield* open().records(options?.signal);
    },
    async restore(records, options) {
      check.options("options", options, ["replace", "signal", "onProgress"]);
      return await open().restore(checkedRecords(records), { ...options });
    },

    watchAccess(listener) {
      if (typeof listener !== "function") {
        throw invalid("listener", `listener must be a function, found ${check.show(listener)}`);
      }
      return open().watchAccess(listener);
    },
    async health() {
      if (closing !== null) return unhealthy("The store is closed");
      try {
        const checks = await backend.health();
        return { ok: checks.every((it) => it.ok), checks };
      } catch (error) {
        return unhealthy(error instanceof Error ? error.message : String(error));
      }
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

const NO = Promise.resolve(false);
const YES = Promise.resolve(true);

/** Fails closed: whatever goes wrong is a no. Answers known at once cost no new promise. */
function orNo(ask: () => boolean | Promise<boolean>): Promise<boolean> {
  try {
    const answer = ask();
    if (typeof answer === "boolean") return answer ? YES : NO;
    return answer.then((it) => it === true, () => false);
  } catch {
    return NO;
  }
}

function unhealthy(detail: string): StoreHealth {
  return { ok: false, checks: [{ name: "store", ok: false, detail }] };
}

function invalid(field: string, message: string): StoreError {
  return new StoreError("invalid", message, { field });
}

function checkFirstKeys(encrypted: boolean, endpoints: Set<string>, keys: KeyFor[]): void {
  if (!encrypted && keys.length > 0) {
    throw invalid("sealedKeys", "sealedKeys must be empty for a cleartext room");
  }
  const stranger = keys.find((it) => !endpoints.has(it.endpoint));
  if (stranger !== undefined) {
    throw invalid("sealedKeys", `sealedKeys names ${stranger.endpoint}, who is not a member`);
  }
  if (encrypted && keys.length < endpoints.size) {
    const given = new Set(keys.map((it) => it.endpoint));
    const missing = [...endpoints].find((it) => !given.has(it));
    throw invalid("sealedKeys", `sealedKeys has no key for ${missing}`);
  }
}

function newUser(input: unknown, role: unknown, at: string): User {
  const it = check.object("user", input);
  return {
    signPub: check.signPub("signPub", it.signPub),
    kexPub: check.kexPub("kexPub", it.kexPub),
    handle: check.handle("handle", it.handle),
    role: check.userRole("role", role),
    status: "active",
    createdAt: at,
    revokedAt: null,
  };
}

function forceOf(options: unknown): boolean {
  return check.boolean("force", check.options("options", options, ["force"]).force ?? false);
}

function rangeOf<K>(
  page: unknown,
  after: (field: string, value: unknown) => K,
  ...more: string[]
): Range<K> & { parse: (field: string, value: unknown) => K } {
  const it = check.options("page", page, ["limit", "after", ...more]);
  return {
    parse: after,
    limit: check.integer(
      "limit",
      it.limit ?? check.LIMITS.pageDefault,
      1,
      check.LIMITS.pageMax,
    ),
    after: it.after === undefined || it.after === null ? null : after("after", it.after),
  };
}

/** One more than asked for tells whether there is a next page. */
function oneMore<K>(range: Range<K>): Range<K> {
  return { ...range, limit: range.limit + 1 };
}

function pageOf<K, T>(
  range: Range<K> & { parse: (field: string, value: unknown) => K },
  items: T[],
  cursor: (it: T) => string,
): Page<T> {
  if (items.length <= range.limit) return { items, next: null };
  const shown = items.slice(0, range.limit);
  const next = cursor(shown[shown.length - 1]!);
  requireReadable(next, range.parse);
  return { items: shown, next };
}

/** Behind a key that reads as another one the next page would repeat records or leave some out. */
function requireReadable(next: string, parse: (field: string, value: unknown) => unknown): void {
  let cause: unknown;
  try {
    if (typeof parse("next", next) !== "string" || parse("next", next) === next) return;
  } catch (error) {
    cause = error;
  }
  throw new StoreError(
    "corrupt",
    `Listing found the invalid key ${check.show(next, 400)}; doctor lists all such records`,
    { cause, field: "key" },
  );
}

function sealedKeyCursor(field: string, value: unknown): SealedKeyCursor {
  const [, epoch, endpoint] = /^(\d{1,10})\/([0-9a-f]{64})$/.exec(String(value)) ?? [];
  if (epoch === undefined || endpoint === undefined) {
    throw invalid(
      field,
      `${field} must be the next of an earlier page, found ${check.show(value)}`,
    );
  }
  return { epoch: Number(epoch), endpoint };
}
