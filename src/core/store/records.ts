/**
 * Methods that a store and an HTTP client have in common.
 *
 * @module
 */

import type {
  Handover,
  Invite,
  KeyFor,
  Member,
  MemberToAdd,
  NewSealedKey,
  NewUser,
  Page,
  PageRequest,
  Rekey,
  Room,
  SealedKey,
  User,
  UserRole,
} from "../model.ts";

/** The methods that work the same on a {@link Store} and, over HTTP, on a client. */
export interface RecordMethods {
  /**
   * Returns a room.
   *
   * @throws {StoreError} `not_found`
   */
  getRoom(id: string): Promise<Room>;
  /**
   * Deletes a room with its members and sealed keys.
   *
   * @throws {StoreError} `not_found`
   */
  deleteRoom(id: string): Promise<void>;

  /**
   * Adds a member, with a sealed key of the room's current epoch if one is given. Over HTTP the
   * membership is an offer, which the member has to accept, unless an admin adds it.
   *
   * @throws {StoreError} `not_found`: no such room; `member_exists`; `conflict`: the key is of another
   * epoch; over HTTP also `rate_limited`: too many open offers
   */
  addMember(
    roomId: string,
    member: MemberToAdd,
    key?: Omit<KeyFor, "endpoint"> & { epoch: number },
  ): Promise<Member>;
  /**
   * Returns a membership.
   *
   * @throws {StoreError} `not_found`
   */
  getMember(roomId: string, endpoint: string): Promise<Member>;
  /**
   * Lists the users who wait for a room, by signPub: each has used an invite that names the room, is
   * active, and has not been added to the room since. Add one with {@link addMember}. Over HTTP for the
   * room's owner and admins.
   *
   * @throws {StoreError} `not_found`: no such room
   */
  listWaiting(roomId: string, page?: PageRequest): Promise<Page<User>>;
  /** Iterates over {@link listWaiting}, one page at a time. */
  waiting(roomId: string, page?: PageRequest): AsyncIterable<User>;
  /**
   * Makes a member the owner of a room whose owner is not an active user. Removes the former owner's
   * membership; epoch and sealed keys stay the same. Idempotent. Over HTTP for admins only.
   *
   * @throws {StoreError} `not_found`: no such room or member; `conflict`: the member has not accepted,
   * or lacks the current key; `refused`: the owner is an active user
   */
  changeRoomOwner(roomId: string, endpoint: string): Promise<Room>;
  /**
   * Makes another member the owner of a room, with a statement that its owner signed; the former owner
   * stays a member. A store does not verify the signature, members' clients do. `OpenRoom.handOver` signs
   * the statement and calls this. Idempotent. Over HTTP for the owner only.
   *
   * @throws {StoreError} `not_found`: no such room or member; `invalid`: the room is cleartext; `conflict`:
   * it has another owner or epoch, has been handed over at this epoch, or the member has not accepted, or lacks the current key
   */
  handOverRoom(roomId: string, handover: Handover): Promise<Room>;
  /**
   * Removes a membership. The member's sealed keys stay stored: rekey the room so that it cannot read
   * future messages.
   *
   * @throws {StoreError} `not_found`; `room_owner`: the owner cannot be removed
   */
  removeMember(roomId: string, endpoint: string): Promise<void>;

  /**
   * Moves a room to its next epoch, with the new key sealed for every member.
   *
   * @throws {StoreError} `not_found`; `conflict`: the epoch is not the room's plus 1, or a key is for
   * an endpoint that is not a member; `missing_key`: a member has no key (`missing` lists them)
   */
  rekeyRoom(roomId: string, rekey: Rekey): Promise<Room>;
  /**
   * Stores or replaces a member's sealed key.
   *
   * @throws {StoreError} `not_found`: no such room or member; `conflict`: the epoch is ahead of the
   * room's
   */
  putSealedKey(key: NewSealedKey): Promise<SealedKey>;
  /**
   * Lists a room's sealed keys, of one epoch or all, by epoch, then endpoint.
   *
   * @throws {StoreError} `not_found`: no such room
   */
  listSealedKeys(
    roomId: string,
    options?: PageRequest & { epoch?: number },
  ): Promise<Page<SealedKey>>;
  /** Iterates over {@link listSealedKeys}, one page at a time. */
  sealedKeys(
    roomId: string,
    options?: PageRequest & { epoch?: number },
  ): AsyncIterable<SealedKey>;

  /**
   * Adds an active user.
   *
   * @throws {StoreError} `user_exists`
   */
  addUser(user: NewUser): Promise<User>;
  /**
   * Returns a user.
   *
   * @throws {StoreError} `not_found`
   */
  getUser(signPub: string): Promise<User>;
  /**
   * Revokes a user, who can no longer connect. Idempotent.
   *
   * @throws {StoreError} `not_found`; `last_admin` without `force`
   */
  revokeUser(signPub: string, options?: { force?: boolean }): Promise<User>;
  /**
   * Restores the access of a revoked user. Idempotent.
   *
   * @throws {StoreError} `not_found`
   */
  restoreUser(signPub: string): Promise<User>;
  /**
   * Sets a user's role. Idempotent.
   *
   * @throws {StoreError} `not_found`; `last_admin` without `force`
   */
  setUserRole(signPub: string, role: UserRole, options?: { force?: boolean }): Promise<User>;

  /**
   * Returns an invite by its id, the SHA-256 of its token.
   *
   * @throws {StoreError} `not_found`
   */
  getInvite(id: string): Promise<Invite>;
  /**
   * Cancels an invite. Idempotent.
   *
   * @throws {StoreError} `not_found`; `invite_used`
   */
  cancelInvite(id: string): Promise<Invite>;
}
