/**
 * The SQLite backend: every method is one transaction on one connection.
 *
 * @module
 */

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import {
  type Backend,
  PRUNE_LIMIT,
  type Range,
  type RestoreOptions,
  type SealedKeyCursor,
} from "../core/backend.ts";
import { AccessListeners } from "../core/async/listeners.ts";
import type {
  AccessChange,
  Counts,
  Handover,
  HealthCheck,
  Invite,
  Kind,
  Member,
  RecordOf,
  Room,
  SealedKey,
  StoreRecord,
  User,
  UserRole,
  UserStatus,
} from "../core/model.ts";
import {
  afterHandover,
  cancelProblem,
  handoverProblem,
  invitedSince,
  inviteExists,
  inviteProblem,
  isActiveAdmin,
  isHandedOver,
  lastAdmin,
  memberExists,
  newMemberKeyProblem,
  noMember,
  notFound,
  ownerChangeProblem,
  rekeyProblem,
  removalProblem,
  roomExists,
  sealedKeyProblem,
  userExists,
  waitAfterClaim,
} from "../core/rules.ts";
import { type Author, did, type Draft } from "../core/history/entry.ts";
import { compareRevisions, formatRevision, type Revision } from "../core/history/revision.ts";
import { StoreError } from "../core/errors.ts";
import { FileHistory } from "./history/source.ts";
import { historyIn, HistoryTable } from "./history/table.ts";
import { MEMORY, transaction } from "./file/connect.ts";
import { toStoreError } from "./file/errors.ts";
import { type FileOptions, openDatabase } from "./file/file.ts";
import { checkUse, fileIdentity } from "./health.ts";
import { clearRemains } from "./remains.ts";
import { type Past, restoreRecords } from "./restore.ts";
import { asArrays, columnsOf, insertSql, type Row, type Table, TABLES } from "./rows.ts";
import { FileSearch } from "./search/mod.ts";
import { type Ending, type Place, streamRecords } from "./stream.ts";
import { readRole } from "./file/role.ts";
import { Guard } from "./file/journey/guard.ts";
import { watchCommits } from "./watch.ts";

/** Returns the columns of a kind. */
const ALL = (kind: Kind) => TABLES[kind].columns;

/** The epoch of the room whose id is the statement's first parameter. */
const EPOCH = "(SELECT epoch FROM rooms WHERE id = ?1)";

const SQL = {
  room: `SELECT ${ALL("rooms")} FROM rooms WHERE id = ?`,
  rooms: `SELECT ${ALL("rooms")} FROM rooms WHERE id > ? ORDER BY id LIMIT ?`,
  roomsOfEndpoint: `SELECT ${columnsOf("rooms", "r")} FROM members m CROSS JOIN rooms r
    ON r.id = m.room_id WHERE m.endpoint = ? AND m.room_id > ? ORDER BY m.room_id LIMIT ?`,
  acceptedOfEndpoint: `SELECT ${columnsOf("rooms", "r")} FROM members m CROSS JOIN rooms r
    ON r.id = m.room_id WHERE m.endpoint = ? AND m.accepted = 1 AND m.room_id > ?
    ORDER BY m.room_id LIMIT ?`,
  offersToEndpoint: `SELECT ${columnsOf("rooms", "r")} FROM members m CROSS JOIN rooms r
    ON r.id = m.room_id WHERE m.endpoint = ? AND m.accepted = 0 AND m.room_id > ?
    ORDER BY m.room_id LIMIT ?`,
  deleteRoom: "DELETE FROM rooms WHERE id = ?",
  setEpoch: "UPDATE rooms SET epoch = ? WHERE id = ?",
  setOwner: "UPDATE rooms SET owner = ? WHERE id = ?",
  handOver: "UPDATE rooms SET owner = ?, handovers = ? WHERE id = ?",

  member: `SELECT ${ALL("members")} FROM members WHERE room_id = ? AND endpoint = ?`,
  members: `SELECT ${ALL("members")} FROM members WHERE room_id = ? AND endpoint > ?
    ORDER BY endpoint LIMIT ?`,
  endpoints: "SELECT endpoint FROM members WHERE room_id = ?",
  countMembers: "SELECT count(*) FROM members WHERE room_id = ?",
  accept: "UPDATE members SET accepted = 1 WHERE room_id = ? AND endpoint = ?",
  makeOwner: "UPDATE members SET role = 'owner' WHERE room_id = ? AND endpoint = ?",
  makeMember: "UPDATE members SET role = 'member' WHERE room_id = ? AND endpoint = ?",
  deleteMember: "DELETE FROM members WHERE room_id = ? AND endpoint = ?",

  putKey: `${insertSql("room_keys")} ON CONFLICT DO UPDATE
    SET sealed_key = excluded.sealed_key, created_at = excluded.created_at`,
  // A sealed key ahead of its room's epoch is invisible to readers, as in a bucket.
  key: `SELECT ${ALL("room_keys")} FROM room_keys
    WHERE room_id = ? AND epoch = ? AND endpoint = ? AND epoch <= ${EPOCH}`,
  // Steps down from one epoch that has keys to the next, each a seek in the primary key; an index
  // by endpoint would double the table.
  latestKey: `WITH RECURSIVE epochs (n) AS (
      SELECT max(epoch) FROM room_keys WHERE room_id = ?1 AND epoch <= ${EPOCH}
      UNION ALL
      SELECT (SELECT max(epoch) FROM room_keys WHERE room_id = ?1 AND epoch < n)
        FROM epochs WHERE n IS NOT NULL)
    SELECT ${columnsOf("room_keys", "k")} FROM epochs CROSS JOIN room_keys k
      ON k.room_id = ?1 AND k.epoch = n AND k.endpoint = ?2 LIMIT 1`,
  keys: `SELECT ${ALL("room_keys")} FROM room_keys
    WHERE room_id = ? AND (epoch, endpoint) > (?, ?) AND epoch <= ${EPOCH} ORDER BY epoch, endpoint LIMIT ?`,
  keysOfEpoch: `SELECT ${ALL("room_keys")} FROM room_keys
    WHERE room_id = ? AND epoch = ? AND endpoint > ? AND epoch <= ${EPOCH} ORDER BY endpoint LIMIT ?`,
  pruneKeys: `DELETE FROM room_keys WHERE (room_id, epoch, endpoint) IN (
    SELECT room_id, epoch, endpoint FROM room_keys WHERE room_id = ? AND epoch <= ?
    ORDER BY epoch, endpoint LIMIT ?)`,

  addUser: `${insertSql("users")} ON CONFLICT DO NOTHING`,
  user: `SELECT ${ALL("users")} FROM users WHERE sign_pub = ?`,
  users: `SELECT ${ALL("users")} FROM users WHERE sign_pub > ? ORDER BY sign_pub LIMIT ?`,
  setStatus: "UPDATE users SET status = ?, revoked_at = ? WHERE sign_pub = ?",
  setRole: "UPDATE users SET role = ? WHERE sign_pub = ?",
  deleteUser: "DELETE FROM users WHERE sign_pub = ?",
  authorized: "SELECT 1 FROM users WHERE sign_pub = ? AND status = 'active'",
  admin: "SELECT 1 FROM users WHERE role = 'admin' AND status = 'active' LIMIT 1",
  otherAdmin: `SELECT 1 FROM users WHERE role = 'admin' AND status = 'active'
    AND sign_pub <> ? LIMIT 1`,

  addInvite: `${insertSql("invites")} ON CONFLICT DO NOTHING`,
  invite: `SELECT ${ALL("invites")} FROM invites WHERE id = ?`,
  invites: `SELECT ${ALL("invites")} FROM invites WHERE id > ? ORDER BY id LIMIT ?`,
  setInvitedTo: "UPDATE users SET invited_to = ? WHERE sign_pub = ?",
  endWaiting: "UPDATE users SET invited_to = NULL WHERE sign_pub = ? AND invited_to = ?",
  waiting: `SELECT ${columnsOf("users", "u")} FROM users u
    WHERE u.invited_to = ?1 AND u.status = 'active' AND u.created_at >= ?2 AND u.sign_pub > ?3
    AND NOT EXISTS (SELECT 1 FROM members m WHERE m.room_id = ?1 AND m.endpoint = u.sign_pub)
    ORDER BY u.sign_pub LIMIT ?4`,
  useInvite: "UPDATE invites SET used_at = ?, used_by = ? WHERE id = ?",
  cancelInvite: "UPDATE invites SET canceled_at = ? WHERE id = ?",
  pruneInvites: "DELETE FROM invites WHERE coalesce(used_at, canceled_at, expires_at) <= ?",
} as const;

/** The backend of a control plane in a SQLite file, or in memory. */
export class SqliteBackend implements Backend {
  readonly name = "sqlite";
  readonly created: boolean;
  generation: number;
  readonly search: FileSearch;
  readonly #path: string;
  readonly #options: FileOptions;
  readonly #db: DatabaseSync;
  readonly #identity: string;
  readonly #statements = new Map<string, StatementSync>();
  readonly #authorized: StatementSync;
  readonly #guard: Guard | null;
  /** Ends the streams and restores that are running on separate connections. */
  readonly #endings = new Set<Ending>();
  readonly #endClearing: () => void;
  readonly history?: FileHistory;
  readonly #table: HistoryTable | null;
  /** What waits for a change of the file. */
  readonly #waiting = new Set<() => void>();
  readonly #listeners = new AccessListeners(() =>
    // A database in memory has no other connections.
    this.#path === MEMORY ? () => {} : watchCommits(this.#db, () => this.#listeners.emit({}))
  );

  /** @param path An absolute path, or `:memory:` */
  constructor(path: string, options: FileOptions) {
    this.#path = path;
    this.#options = { ...options };
    const { db, created } = openDatabase(path, this.#options);
    this.#db = db;
    this.created = created;
    this.generation = readRole(db).generation;
    this.#identity = fileIdentity(path);
    this.#authorized = this.#prepare(SQL.authorized);
    const { own, readOnly, busyTimeout } = this.#place();
    // No other connection can change what the file is.
    const guard = own === null ? new Guard(db, path) : null;
    this.#guard = guard;
    this.search = new FileSearch({
      path,
      own,
      readOnly,
      ...guard && { before: async () => await guard.requireHere(`Searching ${path}`) },
    });
    this.#table = this.#options.history ? historyIn(db) : null;
    if (this.#table !== null) {
      this.history = new FileHistory(db, this.#table, {
        read: (attempt, work) => this.#readMany(attempt, work),
        write: (attempt, work) => this.#write(attempt, work),
        changed: (signal) => this.#changed(signal),
      });
    }
    this.#endClearing = own === null && !readOnly ? clearRemains(db, busyTimeout) : () => {};
  }

  createRoom(room: Room, members: Member[], keys: SealedKey[], author: Author): Promise<void> {
    return this.#write(`Creating room ${room.id}`, () => {
      if (this.#room(room.id) !== null) throw roomExists(room.id);
      this.#insert("rooms", room);
      for (const member of members) this.#insert("members", member);
      for (const key of keys) this.#putKey(key);
      this.#note(did.roomCreated(room, members.length), author);
    }, () => [{ roomId: room.id }, ...members.map(({ endpoint }) => ({ endpoint }))]);
  }

  getRoom(id: string): Promise<Room | null> {
    return this.#read(`Reading room ${id}`, () => this.#room(id));
  }

  listRooms(range: Range): Promise<Room[]> {
    return this.#read("Listing rooms", () => this.#all("rooms", SQL.rooms, ...bounds(range)));
  }

  listRoomsForEndpoint(endpoint: string, range: Range, accepted: boolean | null): Promise<Room[]> {
    const sql = accepted === null
      ? SQL.roomsOfEndpoint
      : accepted
      ? SQL.acceptedOfEndpoint
      : SQL.offersToEndpoint;
    return this.#read(
      `Listing rooms of ${endpoint}`,
      () => this.#all("rooms", sql, endpoint, ...bounds(range)),
    );
  }

  deleteRoom(id: string, author: Author): Promise<void> {
    return this.#write(`Deleting room ${id}`, () => {
      const endpoints = this.#listeners.any ? this.#endpoints(id) : [];
      // Deletes its members and sealed keys too (ON DELETE CASCADE).
      if (this.#run(SQL.deleteRoom, id) === 0) throw notFound("room", id);
      this.#note(did.roomDeleted(id), author);
      return endpoints;
    }, (endpoints) => [{ roomId: id }, ...endpoints.map((endpoint) => ({ endpoint }))])
      .then(() => {});
  }

  addMember(member: Member, key: SealedKey | null, author: Author): Promise<void> {
    const { roomId, endpoint } = member;
    return this.#write(`Adding ${endpoint} to room ${roomId}`, () => {
      const room = this.#requireRoom(roomId);
      if (this.#member(roomId, endpoint) !== null) throw memberExists(roomId, endpoint);
      this.#insert("members", member);
      if (key !== null) {
        const problem = newMemberKeyProblem(room, key);
        if (problem !== null) throw problem;
        this.#putKey(key);
      }
      this.#run(SQL.endWaiting, endpoint, roomId);
      this.#note(did.memberAdded(member), author);
    }, () => [{ endpoint }]);
  }

  getMember(roomId: string, endpoint: string): Promise<Member | null> {
    return this.#read(
      `Reading member ${endpoint} of room ${roomId}`,
      () => this.#member(roomId, endpoint),
    );
  }

  listMembers(roomId: string, range: Range): Promise<Member[]> {
    return this.#readMany(`Listing members of room ${roomId}`, () => {
      this.#requireRoom(roomId);
      return this.#all("members", SQL.members, roomId, ...bounds(range));
    });
  }

  listWaiting(roomId: string, range: Range): Promise<User[]> {
    return this.#readMany(`Listing users who wait for room ${roomId}`, () => {
      const since = invitedSince(this.#requireRoom(roomId));
      return this.#all("users", SQL.waiting, roomId, since, ...bounds(range));
    });
  }

  countMembers(roomId: string): Promise<number> {
    return this.#read(`Counting members of room ${roomId}`, () => {
      const [count] = this.#prepare(SQL.countMembers).get(roomId) as unknown as Row;
      return Number(count);
    });
  }

  joinRoom(roomId: string, endpoint: string, author: Author): Promise<Member> {
    return this.#write(`Joining room ${roomId} as ${endpoint}`, () => {
      this.#requireRoom(roomId);
      const member = this.#requireMember(roomId, endpoint);
      if (!member.accepted) {
        this.#run(SQL.accept, roomId, endpoint);
        this.#note(did.memberJoined(roomId, endpoint), author);
      }
      return { ...member, accepted: true };
    }, () => [{ endpoint }]);
  }

  changeRoomOwner(roomId: string, endpoint: string, author: Author): Promise<Room> {
    return this.#write(`Changing the owner of room ${roomId}`, () => {
      const room = this.#requireRoom(roomId);
      const member = this.#requireMember(roomId, endpoint);
      const former = room.owner;
      if (former !== endpoint) {
        const owner = this.#one("users", SQL.user, former);
        const key = this.#one("room_keys", SQL.key, roomId, room.epoch, endpoint);
        const problem = ownerChangeProblem(room, owner, member, key !== null);
        if (problem !== null) throw problem;
        this.#run(SQL.setOwner, endpoint, roomId);
        this.#run(SQL.makeOwner, roomId, endpoint);
        this.#run(SQL.deleteMember, roomId, former);
        this.#note(did.ownerChanged(room, endpoint), author);
      }
      return { room: { ...room, owner: endpoint }, former };
    }, ({ former }) => [{ roomId }, { endpoint }, { endpoint: former }]).then(({ room }) => room);
  }

  handOverRoom(roomId: string, handover: Handover, author: Author): Promise<Room> {
    const { from, to } = handover;
    return this.#write(`Handing over room ${roomId}`, () => {
      const room = this.#requireRoom(roomId);
      const member = this.#requireMember(roomId, to);
      if (isHandedOver(room, handover)) return room;
      const key = this.#one("room_keys", SQL.key, roomId, room.epoch, to);
      const problem = handoverProblem(room, handover, member, key !== null);
      if (problem !== null) throw problem;
      const next = afterHandover(room, handover);
      this.#run(SQL.handOver, to, JSON.stringify(next.handovers), roomId);
      this.#run(SQL.makeOwner, roomId, to);
      this.#run(SQL.makeMember, roomId, from);
      this.#note(did.ownerChanged(room, to), author);
      return next;
    }, () => [{ roomId }, { endpoint: to }, { endpoint: from }]);
  }

  removeMember(roomId: string, endpoint: string, author: Author): Promise<void> {
    return this.#write(`Removing ${endpoint} from room ${roomId}`, () => {
      const room = this.#requireRoom(roomId);
      const problem = removalProblem(room, endpoint);
      if (problem !== null) throw problem;
      if (this.#run(SQL.deleteMember, roomId, endpoint) === 0) throw noMember(roomId, endpoint);
      this.#run(SQL.endWaiting, endpoint, roomId);
      this.#note(did.memberRemoved(roomId, endpoint), author);
    }, () => [{ endpoint }]);
  }

  rekeyRoom(roomId: string, epoch: number, keys: SealedKey[], author: Author): Promise<Room> {
    return this.#write(`Rekeying room ${roomId}`, () => {
      const room = this.#requireRoom(roomId);
      const problem = rekeyProblem(
        room,
        new Set(this.#endpoints(roomId)),
        epoch,
        keys.map((it) => it.endpoint),
      );
      if (problem !== null) throw problem;
      this.#run(SQL.setEpoch, epoch, roomId);
      for (const key of keys) this.#putKey(key);
      this.#note(did.rekeyed(room, epoch), author);
      return { ...room, epoch };
    });
  }

  putSealedKey(key: SealedKey, author: Author): Promise<void> {
    return this.#write(`Storing a sealed key of room ${key.roomId}`, () => {
      const room = this.#requireRoom(key.roomId);
      this.#requireMember(key.roomId, key.endpoint);
      const problem = sealedKeyProblem(room, key.epoch);
      if (problem !== null) throw problem;
      this.#putKey(key);
      this.#note(did.keyStored(key.roomId, key.endpoint, key.epoch), author);
    });
  }

  getSealedKey(roomId: string, endpoint: string, epoch: number | null): Promise<SealedKey | null> {
    return this.#read(
      `Reading the sealed key of ${endpoint} in room ${roomId}`,
      () =>
        epoch === null
          ? this.#one("room_keys", SQL.latestKey, roomId, endpoint)
          : this.#one("room_keys", SQL.key, roomId, epoch, endpoint),
    );
  }

  listSealedKeys(
    roomId: string,
    epoch: number | null,
    range: Range<SealedKeyCursor>,
  ): Promise<SealedKey[]> {
    const from = range.after ?? { epoch: 0, endpoint: "" };
    return this.#readMany(`Listing sealed keys of room ${roomId}`, () => {
      this.#requireRoom(roomId);
      if (epoch === null) {
        return this.#all("room_keys", SQL.keys, roomId, from.epoch, from.endpoint, range.limit);
      }
      if (from.epoch > epoch) return [];
      const after = from.epoch === epoch ? from.endpoint : "";
      return this.#all("room_keys", SQL.keysOfEpoch, roomId, epoch, after, range.limit);
    });
  }

  pruneSealedKeys(roomId: string, keep: number, author: Author): Promise<number> {
    return this.#write(`Pruning sealed keys of room ${roomId}`, () => {
      const { epoch } = this.#requireRoom(roomId);
      const count = this.#run(SQL.pruneKeys, roomId, epoch - keep, PRUNE_LIMIT);
      if (count > 0) this.#note(did.keysPruned(roomId, count), author);
      return count;
    });
  }

  addUser(user: User, author: Author): Promise<void> {
    return this.#write(`Adding user ${user.signPub}`, () => {
      if (!this.#insertNew("users", SQL.addUser, user)) throw userExists(user.signPub);
      this.#note(did.userAdded(user), author);
    }, () => [{ endpoint: user.signPub }]);
  }

  getUser(signPub: string): Promise<User | null> {
    return this.#read(
      `Reading user ${signPub}`,
      () => this.#one("users", SQL.user, signPub),
    );
  }

  listUsers(range: Range): Promise<User[]> {
    return this.#read("Listing users", () => this.#all("users", SQL.users, ...bounds(range)));
  }

  setUserStatus(
    signPub: string,
    status: UserStatus,
    at: string,
    force: boolean,
    author: Author,
  ): Promise<User> {
    return this.#write(`Setting user ${signPub} to ${status}`, () => {
      const user = this.#requireUser(signPub);
      if (user.status === status) return user;
      if (status === "revoked") this.#guardLastAdmin(user, force);
      const revokedAt = status === "revoked" ? at : null;
      this.#run(SQL.setStatus, status, revokedAt, signPub);
      const next: User = { ...user, status, revokedAt };
      this.#note(did.userChanged(user, next), author);
      return next;
    }, () => [{ endpoint: signPub }]);
  }

  setUserRole(signPub: string, role: UserRole, force: boolean, author: Author): Promise<User> {
    return this.#write(`Making user ${signPub} ${role}`, () => {
      const user = this.#requireUser(signPub);
      if (user.role === role) return user;
      this.#guardLastAdmin(user, force);
      this.#run(SQL.setRole, role, signPub);
      const next: User = { ...user, role };
      this.#note(did.userChanged(user, next), author);
      return next;
    }, () => [{ endpoint: signPub }]);
  }

  deleteUser(signPub: string, force: boolean, author: Author): Promise<void> {
    return this.#write(`Deleting user ${signPub}`, () => {
      const user = this.#requireUser(signPub);
      this.#guardLastAdmin(user, force);
      this.#run(SQL.deleteUser, signPub);
      this.#note(did.userDeleted(user), author);
    }, () => [{ endpoint: signPub }]);
  }

  reach(revision: Revision): Promise<void> {
    return this.#read("Reading a later change", () => {
      const { generation } = this;
      const last = this.#table?.end().revision ?? { generation, number: 0 };
      if (compareRevisions(revision, last) <= 0 || revision.generation < generation) return;
      throw new StoreError(
        "unavailable",
        `Revision ${formatRevision(revision)} is not in ${this.#path}, which ends at ` +
          formatRevision(last),
      );
    });
  }

  isAuthorized(signPub: string): boolean {
    return this.#isTrusted() && this.#authorized.get(signPub) !== undefined;
  }

  hasAdmin(): boolean {
    return this.#isTrusted() && this.#prepare(SQL.admin).get() !== undefined;
  }

  createInvite(invite: Invite, author: Author): Promise<void> {
    return this.#write(`Creating invite ${invite.id}`, () => {
      if (invite.room !== undefined) this.#requireRoom(invite.room);
      if (!this.#insertNew("invites", SQL.addInvite, invite)) throw inviteExists(invite.id);
      this.#note(did.inviteCreated(invite), author);
    });
  }

  getInvite(id: string): Promise<Invite | null> {
    return this.#read(`Reading invite ${id}`, () => this.#one("invites", SQL.invite, id));
  }

  listInvites(range: Range): Promise<Invite[]> {
    return this.#read("Listing invites", () => this.#all("invites", SQL.invites, ...bounds(range)));
  }

  async consumeInvite(id: string, user: User, author: Author): Promise<User> {
    const added = await this.#write(`Claiming invite ${id}`, () => {
      const invite = this.#requireInvite(id);
      const problem = inviteProblem(invite, user.createdAt);
      if (problem !== null) throw problem;
      this.#run(SQL.useInvite, user.createdAt, user.signPub, id);
      const room = invite.room === undefined ? null : this.#room(invite.room);
      const isMember = room !== null && this.#member(room.id, user.signPub) !== null;
      const waiting = waitAfterClaim(invite, room, isMember);
      const joined: User = { ...user, role: invite.role, ...waiting };
      const isNew = this.#insertNew("users", SQL.addUser, joined);
      if (!isNew && waiting.invitedTo) {
        this.#run(SQL.setInvitedTo, waiting.invitedTo, user.signPub);
      }
      this.#note(did.inviteClaimed(invite, joined, isNew), author);
      return isNew ? joined : null;
    }, (joined) => joined === null ? [] : [{ endpoint: joined.signPub }]);
    // Thrown after the transaction: the invite is used up anyway.
    if (added === null) throw userExists(user.signPub);
    return added;
  }

  cancelInvite(id: string, at: string, author: Author): Promise<Invite> {
    return this.#write(`Canceling invite ${id}`, () => {
      const invite = this.#requireInvite(id);
      const problem = cancelProblem(invite);
      if (problem !== null) throw problem;
      if (invite.canceledAt !== null) return invite;
      this.#run(SQL.cancelInvite, at, id);
      this.#note(did.inviteCanceled(id), author);
      return { ...invite, canceledAt: at };
    });
  }

  pruneInvites(before: string, author: Author): Promise<number> {
    return this.#write("Pruning invites", () => {
      const count = this.#run(SQL.pruneInvites, before);
      if (count > 0) this.#note(did.invitesPruned(count), author);
      return count;
    });
  }

  records(...[signal, onRevision]: Parameters<Backend["records"]>): AsyncIterable<StoreRecord> {
    this.#guard?.requireHere(`Reading the records of ${this.#path}`);
    const onBegin = (db: DatabaseSync) => {
      if (this.#table !== null) onRevision?.(new HistoryTable(db).end().revision);
    };
    return streamRecords(this.#place(), signal, onBegin);
  }

  async restore(
    records: AsyncIterable<StoreRecord>,
    options: RestoreOptions,
    author: Author,
  ): Promise<Counts> {
    const stored = (db: DatabaseSync, counts: Counts, { start, entries }: Past) => {
      if (this.#table === null) return;
      const table = new HistoryTable(db);
      if (start !== null && table.end().revision === null) table.restore(start, entries());
      table.append(did.restored(counts), author);
    };
    const counts = await restoreRecords(this.#place(), records, { ...options, stored });
    this.generation = readRole(this.#db).generation;
    this.#committed();
    this.#listeners.emit({});
    return counts;
  }

  watchAccess(listener: (change: AccessChange) => void): () => void {
    try {
      return this.#listeners.add(listener);
    } catch (error) {
      throw toStoreError(error, `Watching ${this.#path}`);
    }
  }

  health(): Promise<HealthCheck[]> {
    const { busyTimeout, readOnly = false } = this.#options;
    return this.#settle(
      `Checking ${this.#path}`,
      () => [
        ...checkUse(this.#db, this.#path, { identity: this.#identity, busyTimeout, readOnly }),
        ...this.#guard?.checks(`Checking ${this.#path}`) ?? [],
      ],
    );
  }

  async close(): Promise<void> {
    const closing = this.search.close();
    // Not awaited without need: the file is closed when this returns.
    if (closing !== null) await closing;
    await this.#settle(`Closing ${this.#path}`, () => {
      this.#listeners.clear();
      this.#committed();
      this.#endClearing();
      for (const end of [...this.#endings]) end();
      this.#statements.clear();
      if (this.#db.isOpen) this.#db.close();
    });
  }

  #place(): Place {
    const isAlone = this.#path === MEMORY || this.#options.exclusive === true;
    return {
      path: this.#path,
      busyTimeout: this.#options.busyTimeout,
      readOnly: this.#options.readOnly ?? false,
      own: isAlone ? this.#db : null,
      endings: this.#endings,
    };
  }

  /** The file's path, if other connections can write to it and this one too; else `null`. */
  get sharedPath(): string | null {
    const { path, own, readOnly } = this.#place();
    return own === null && !readOnly ? path : null;
  }

  #isTrusted(): boolean {
    return this.#guard?.isTrusted() ?? true;
  }

  #room(id: string): Room | null {
    return this.#one("rooms", SQL.room, id);
  }

  #requireRoom(id: string): Room {
    const room = this.#room(id);
    if (room === null) throw notFound("room", id);
    return room;
  }

  #member(roomId: string, endpoint: string): Member | null {
    return this.#one("members", SQL.member, roomId, endpoint);
  }

  #requireMember(roomId: string, endpoint: string): Member {
    const member = this.#member(roomId, endpoint);
    if (member === null) throw noMember(roomId, endpoint);
    return member;
  }

  #endpoints(roomId: string): string[] {
    const rows = this.#prepare(SQL.endpoints).all(roomId) as unknown as Row[];
    return rows.map(([endpoint]) => endpoint as string);
  }

  #requireUser(signPub: string): User {
    const user = this.#one("users", SQL.user, signPub);
    if (user === null) throw notFound("user", signPub);
    return user;
  }

  #requireInvite(id: string): Invite {
    const invite = this.#one("invites", SQL.invite, id);
    if (invite === null) throw notFound("invite", id);
    return invite;
  }

  #guardLastAdmin(user: User, force: boolean): void {
    if (force || !isActiveAdmin(user)) return;
    if (this.#prepare(SQL.otherAdmin).get(user.signPub) === undefined) throw lastAdmin(user);
  }

  #putKey(key: SealedKey): void {
    this.#run(SQL.putKey, ...TABLES.room_keys.toRow(key));
  }

  #insert<K extends Kind>(kind: K, record: RecordOf[K]): void {
    this.#insertNew(kind, insertSql(kind), record);
  }

  /** Inserts a row; returns whether it did not exist. */
  #insertNew<K extends Kind>(kind: K, sql: string, record: RecordOf[K]): boolean {
    return this.#run(sql, ...(TABLES[kind] as Table<K>).toRow(record)) === 1;
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = asArrays(this.#db.prepare(sql));
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** Returns the number of rows changed. */
  #run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#prepare(sql).run(...values).changes);
  }

  #one<K extends Kind>(kind: K, sql: string, ...values: SQLInputValue[]): RecordOf[K] | null {
    const row = this.#prepare(sql).get(...values) as unknown as Row | undefined;
    return row === undefined ? null : (TABLES[kind] as Table<K>).fromRow(row);
  }

  #all<K extends Kind>(kind: K, sql: string, ...values: SQLInputValue[]): RecordOf[K][] {
    const rows = this.#prepare(sql).all(...values) as unknown as Row[];
    return rows.map((TABLES[kind] as Table<K>).fromRow);
  }

  /** Runs one statement, which needs no transaction. */
  #read<T>(attempt: string, work: () => T): Promise<T> {
    return this.#settle(attempt, () => {
      this.#guard?.requireHere(attempt);
      return work();
    });
  }

  /** Adds the entry of a change to the history, in its transaction. */
  #note(draft: Draft, author: Author): void {
    if (this.#table !== null) this.#table.append(draft, author);
    else author.wrote(formatRevision({ generation: this.generation, number: 0 }));
  }

  /** Continues what waits for a change of the file. */
  #committed(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Resolves when the file has changed, or the signal is aborted. */
  #changed(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = this.#path === MEMORY ? () => {} : watchCommits(this.#db, resolve);
    const wake = () => resolve();
    this.#waiting.add(wake);
    signal.addEventListener("abort", wake);
    if (signal.aborted) wake();
    return promise.finally(() => {
      end();
      this.#waiting.delete(wake);
      signal.removeEventListener("abort", wake);
    });
  }

  /** Runs several statements on one state of the database. */
  #readMany<T>(attempt: string, work: () => T): Promise<T> {
    return this.#read(attempt, () => transaction(this.#db, "BEGIN", work));
  }

  /** Runs a transaction that writes, then notifies the listeners of its `changes`. */
  #write<T>(
    attempt: string,
    work: () => T,
    changes: (result: T) => AccessChange[] = () => [],
  ): Promise<T> {
    return this.#settle(attempt, () => {
      const result = transaction(this.#db, "BEGIN IMMEDIATE", () => {
        this.#guard?.requireWritable(attempt);
        return work();
      });
      this.#committed();
      if (this.#listeners.any) changes(result).forEach((change) => this.#listeners.emit(change));
      return result;
    });
  }

  #settle<T>(attempt: string, work: () => T): Promise<T> {
    try {
      return Promise.resolve(work());
    } catch (error) {
      return Promise.reject(toStoreError(error, attempt));
    }
  }
}

function bounds(range: Range): [string, number] {
  // No key is empty, so all keys come after the empty text.
  return [range.after ?? "", range.limit];
}
