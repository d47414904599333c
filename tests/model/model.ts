/**
 * The control plane in a few maps: what a store should do, written as plainly as can be and on its
 * own, so that it can tell a backend wrong. Knows nothing of transactions: it is never interrupted.
 *
 * @module
 */

import type { StoreErrorCode } from "../../src/core/errors.ts";
import type {
  Handover,
  Invite,
  Member,
  Room,
  SealedKey,
  StoreRecord,
  User,
} from "../../src/core/model.ts";
import { digest } from "./commands.ts";

/** How the model says no. */
export class Refusal extends Error {
  /** The code a store's error would have. */
  readonly code: StoreErrorCode;

  /** @param code The code a store's error would have */
  constructor(code: StoreErrorCode) {
    super(code);
    this.code = code;
  }
}

function refuse(code: StoreErrorCode): never {
  throw new Refusal(code);
}

/** Sorts by UTF-8 bytes. */
function sorted<T>(items: Iterable<T>, key: (it: T) => string): T[] {
  return [...items].sort((a, b) => Buffer.compare(Buffer.from(key(a)), Buffer.from(key(b))));
}

/** Whether something may be for a room, and not for one with the same id that was deleted before. */
function isOfTimeOf(room: Room, { createdAt }: { createdAt: string }): boolean {
  return Date.parse(createdAt) >= Date.parse(room.createdAt) - 60_000;
}

interface RoomState {
  room: Room;
  members: Map<string, Member>;
  /** By epoch, then endpoint. */
  keys: Map<number, Map<string, SealedKey>>;
}

/** The state and its operations; each throws {@link Refusal} or does it all. */
export class Model {
  /** The time now. */
  now: number;
  /** Rooms with what belongs to them. */
  readonly rooms: Map<string, RoomState> = new Map();
  /** Users by signPub. */
  readonly users: Map<string, User> = new Map();
  /** Invites by id. */
  readonly invites: Map<string, Invite> = new Map();

  /** @param now The time it starts at */
  constructor(now: number) {
    this.now = now;
  }

  /** A copy that goes its own way. */
  clone(): Model {
    const copy = new Model(this.now);
    for (const [id, it] of structuredClone(this.rooms)) copy.rooms.set(id, it);
    for (const [id, it] of structuredClone(this.users)) copy.users.set(id, it);
    for (const [id, it] of structuredClone(this.invites)) copy.invites.set(id, it);
    return copy;
  }

  #at(): string {
    return new Date(this.now).toISOString();
  }

  #room(id: string): RoomState {
    return this.rooms.get(id) ?? refuse("not_found");
  }

  #member(
    roomId: string,
    who: { endpoint: string; kexPub: string; accepted?: boolean },
    role: Member["role"],
  ): Member {
    const { endpoint, kexPub, accepted = true } = who;
    return { roomId, endpoint, role, signPub: endpoint, kexPub, joinedAt: this.#at(), accepted };
  }

  #putKey(state: RoomState, epoch: number, endpoint: string, sealedKey: Uint8Array): SealedKey {
    const key = { roomId: state.room.id, epoch, endpoint, sealedKey, createdAt: this.#at() };
    const keys = state.keys.get(epoch) ?? new Map<string, SealedKey>();
    state.keys.set(epoch, keys.set(endpoint, key));
    return key;
  }

  createRoom(
    id: string,
    subject: string,
    encrypted: boolean,
    owner: { endpoint: string; kexPub: string },
    others: { endpoint: string; kexPub: string; accepted?: boolean }[],
    keys: { endpoint: string; sealedKey: Uint8Array }[],
  ): Room {
    const named = [owner, ...others].map((it) => it.endpoint);
    const all = new Set(named);
    const given = new Set(keys.map((it) => it.endpoint));
    if (all.size < named.length || given.size < keys.length) refuse("invalid");
    if (!encrypted && keys.length > 0) refuse("invalid");
    if ([...given].some((it) => !all.has(it))) refuse("invalid");
    if (encrypted && given.size < all.size) refuse("invalid");
    if (this.rooms.has(id)) refuse("room_exists");
    const createdAt = this.#at();
    const room: Room = { id, subject, encrypted, owner: owner.endpoint, epoch: 1, createdAt };
    const state: RoomState = { room, members: new Map(), keys: new Map() };
    state.members.set(owner.endpoint, this.#member(id, owner, "owner"));
    for (const it of others) state.members.set(it.endpoint, this.#member(id, it, "member"));
    for (const it of keys) this.#putKey(state, 1, it.endpoint, it.sealedKey);
    this.rooms.set(id, state);
    return { ...room };
  }

  getRoom(id: string): Room {
    return { ...this.#room(id).room };
  }

  listRooms(): Room[] {
    return sorted([...this.rooms.values()].map((it) => ({ ...it.room })), (it) => it.id);
  }

  listRoomsForEndpoint(endpoint: string, accepted?: boolean): Room[] {
    return this.listRooms().filter((it) => {
      const member = this.#room(it.id).members.get(endpoint);
      return member !== undefined && (accepted === undefined || member.accepted === accepted);
    });
  }

  deleteRoom(id: string): void {
    this.#room(id);
    this.rooms.delete(id);
  }

  addMember(
    id: string,
    who: { endpoint: string; kexPub: string; accepted?: boolean },
    key?: { epoch: number; sealedKey: Uint8Array },
  ): Member {
    const state = this.#room(id);
    if (state.members.has(who.endpoint)) refuse("member_exists");
    if (key !== undefined) {
      if (!state.room.encrypted) refuse("invalid");
      if (key.epoch !== state.room.epoch) refuse("conflict");
      this.#putKey(state, key.epoch, who.endpoint, key.sealedKey);
    }
    const member = this.#member(id, who, "member");
    state.members.set(who.endpoint, member);
    this.#endWaiting(id, who.endpoint);
    return { ...member };
  }

  getMember(id: string, endpoint: string): Member {
    return { ...(this.#room(id).members.get(endpoint) ?? refuse("not_found")) };
  }

  listMembers(id: string): Member[] {
    return sorted(this.#room(id).members.values(), (it) => it.endpoint);
  }

  joinRoom(id: string, endpoint: string): Member {
    const { members } = this.#room(id);
    const joined = { ...(members.get(endpoint) ?? refuse("not_found")), accepted: true };
    members.set(endpoint, joined);
    return { ...joined };
  }

  changeRoomOwner(id: string, endpoint: string): Room {
    const { room, members, keys } = this.#room(id);
    const member = members.get(endpoint) ?? refuse("not_found");
    if (room.owner !== endpoint) {
      if (this.isAuthorized(room.owner)) refuse("refused");
      if (!member.accepted) refuse("conflict");
      if (room.encrypted && !keys.get(room.epoch)?.has(endpoint)) refuse("conflict");
      members.delete(room.owner);
      members.set(endpoint, { ...member, role: "owner" });
      room.owner = endpoint;
    }
    return { ...room };
  }

  handOverRoom(id: string, handover: Handover): Room {
    const { from, to, epoch, signature } = handover;
    if (from === to) refuse("invalid");
    const { room, members, keys } = this.#room(id);
    const member = members.get(to) ?? refuse("not_found");
    const last = room.handovers?.at(-1);
    if (room.owner === to && last?.signature === signature) return { ...room };
    if (!room.encrypted) refuse("invalid");
    if (room.owner !== from || room.epoch !== epoch || (last?.epoch ?? 0) >= epoch) {
      refuse("conflict");
    }
    if (!member.accepted || !keys.get(epoch)?.has(to)) refuse("conflict");
    members.set(to, { ...member, role: "owner" });
    members.set(from, { ...members.get(from)!, role: "member" });
    room.owner = to;
    room.handovers = [...room.handovers ?? [], handover].slice(-8);
    return { ...room };
  }

  removeMember(id: string, endpoint: string): void {
    const { room, members } = this.#room(id);
    if (!members.has(endpoint)) refuse("not_found");
    if (room.owner === endpoint) refuse("room_owner");
    members.delete(endpoint);
    this.#endWaiting(id, endpoint);
  }

  #endWaiting(room: string, signPub: string): void {
    const user = this.users.get(signPub);
    if (user?.invitedTo !== room) return;
    const { invitedTo: _, ...rest } = user;
    this.users.set(signPub, rest);
  }

  listWaiting(id: string): User[] {
    const { room, members } = this.#room(id);
    return this.listUsers().filter((it) =>
      it.invitedTo === id && it.status === "active" && !members.has(it.signPub) &&
      isOfTimeOf(room, it)
    );
  }

  rekeyRoom(id: string, epoch: number, keys: { endpoint: string; sealedKey: Uint8Array }[]): Room {
    const given = new Set(keys.map((it) => it.endpoint));
    if (given.size < keys.length) refuse("invalid");
    const state = this.#room(id);
    if (!state.room.encrypted) refuse("invalid");
    if (epoch !== state.room.epoch + 1) refuse("conflict");
    if ([...given].some((it) => !state.members.has(it))) refuse("conflict");
    if (given.size !== state.members.size) refuse("missing_key");
    state.room.epoch = epoch;
    for (const it of keys) this.#putKey(state, epoch, it.endpoint, it.sealedKey);
    return { ...state.room };
  }

  putSealedKey(id: string, epoch: number, endpoint: string, sealedKey: Uint8Array): SealedKey {
    const state = this.#room(id);
    if (!state.members.has(endpoint)) refuse("not_found");
    if (!state.room.encrypted) refuse("invalid");
    if (epoch > state.room.epoch) refuse("conflict");
    return this.#putKey(state, epoch, endpoint, sealedKey);
  }

  getSealedKey(id: string, endpoint: string, epoch?: number): SealedKey {
    const { keys } = this.#room(id);
    const epochs = epoch === undefined ? [...keys.keys()].sort((a, b) => b - a) : [epoch];
    for (const it of epochs) {
      const key = keys.get(it)?.get(endpoint);
      if (key !== undefined) return key;
    }
    return refuse("not_found");
  }

  listSealedKeys(id: string, epoch?: number): SealedKey[] {
    const { keys } = this.#room(id);
    const epochs = [...keys.keys()].sort((a, b) => a - b);
    return epochs.filter((it) => epoch === undefined || it === epoch)
      .flatMap((it) => sorted(keys.get(it)!.values(), (key) => key.endpoint));
  }

  addUser(signPub: string, kexPub: string, handle: string, role: User["role"]): User {
    if (this.users.has(signPub)) refuse("user_exists");
    const createdAt = this.#at();
    const user: User = {
      signPub,
      kexPub,
      handle,
      role,
      status: "active",
      createdAt,
      revokedAt: null,
    };
    this.users.set(signPub, user);
    return { ...user };
  }

  getUser(signPub: string): User {
    return { ...(this.users.get(signPub) ?? refuse("not_found")) };
  }

  listUsers(): User[] {
    return sorted(this.users.values(), (it) => it.signPub);
  }

  isAuthorized(signPub: string): boolean {
    return this.users.get(signPub)?.status === "active";
  }

  #admins(): User[] {
    return [...this.users.values()].filter((it) => it.role === "admin" && it.status === "active");
  }

  hasAdmin(): boolean {
    return this.#admins().length > 0;
  }

  #keepAdmin(signPub: string, force: boolean): void {
    const admins = this.#admins();
    if (!force && admins.length === 1 && admins[0]!.signPub === signPub) refuse("last_admin");
  }

  revokeUser(signPub: string, force: boolean): User {
    const user = this.users.get(signPub) ?? refuse("not_found");
    if (user.status === "active") {
      this.#keepAdmin(signPub, force);
      this.users.set(signPub, { ...user, status: "revoked", revokedAt: this.#at() });
    }
    return this.getUser(signPub);
  }

  restoreUser(signPub: string): User {
    const user = this.users.get(signPub) ?? refuse("not_found");
    this.users.set(signPub, { ...user, status: "active", revokedAt: null });
    return this.getUser(signPub);
  }

  setUserRole(signPub: string, role: User["role"], force: boolean): User {
    const user = this.users.get(signPub) ?? refuse("not_found");
    if (role === "user") this.#keepAdmin(signPub, force);
    this.users.set(signPub, { ...user, role });
    return this.getUser(signPub);
  }

  deleteUser(signPub: string, force: boolean): void {
    if (!this.users.has(signPub)) refuse("not_found");
    this.#keepAdmin(signPub, force);
    this.users.delete(signPub);
  }

  /** The id comes from outside: a store makes it of a random token. */
  createInvite(
    id: string,
    role: User["role"],
    note: string,
    expiresIn: number,
    room?: string,
  ): Invite {
    if (room !== undefined) this.#room(room);
    const invite: Invite = {
      id,
      createdBy: "model",
      role,
      note,
      createdAt: this.#at(),
      expiresAt: new Date(this.now + expiresIn).toISOString(),
      usedAt: null,
      usedBy: null,
      canceledAt: null,
      ...room !== undefined && { room },
    };
    this.invites.set(id, invite);
    return { ...invite };
  }

  getInvite(id: string): Invite {
    return { ...(this.invites.get(id) ?? refuse("not_found")) };
  }

  listInvites(): Invite[] {
    return sorted(this.invites.values(), (it) => it.id);
  }

  consumeInvite(token: string, signPub: string, kexPub: string, handle: string): User {
    const invite = this.invites.get(digest(token)) ?? refuse("not_found");
    if (invite.usedAt !== null) refuse("invite_used");
    if (invite.canceledAt !== null) refuse("invite_canceled");
    if (this.now >= Date.parse(invite.expiresAt)) refuse("invite_expired");
    // Spent in any case, also when the key turns out to be registered.
    this.invites.set(invite.id, { ...invite, usedAt: this.#at(), usedBy: signPub });
    const { room } = invite;
    const state = room === undefined ? undefined : this.rooms.get(room);
    const waits = state !== undefined && !state.members.has(signPub) &&
      isOfTimeOf(state.room, invite);
    const wait = () => {
      if (waits) this.users.set(signPub, { ...this.getUser(signPub), invitedTo: room! });
    };
    if (this.users.has(signPub)) {
      wait();
      refuse("user_exists");
    }
    this.addUser(signPub, kexPub, handle, invite.role);
    wait();
    return this.getUser(signPub);
  }

  cancelInvite(id: string): Invite {
    const invite = this.getInvite(id);
    if (invite.usedAt !== null) refuse("invite_used");
    if (invite.canceledAt === null) this.invites.set(id, { ...invite, canceledAt: this.#at() });
    return this.getInvite(id);
  }

  /** Leaves nothing but these users. */
  replaceAll(users: User[]): void {
    this.rooms.clear();
    this.users.clear();
    this.invites.clear();
    for (const it of users) this.users.set(it.signPub, it);
  }

  /** Everything in canonical order. */
  records(): StoreRecord[] {
    const rooms = this.listRooms();
    return [
      ...rooms.map((record) => ({ kind: "rooms" as const, record })),
      ...rooms.flatMap(({ id }) => this.listMembers(id))
        .map((record) => ({ kind: "members" as const, record })),
      ...rooms.flatMap(({ id }) => this.listSealedKeys(id))
        .map((record) => ({ kind: "room_keys" as const, record })),
      ...this.listUsers().map((record) => ({ kind: "users" as const, record })),
      ...this.listInvites().map((record) => ({ kind: "invites" as const, record })),
    ];
  }
}
