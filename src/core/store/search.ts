/**
 * Searching, sorting and counting users and rooms.
 *
 * @module
 */

import type { Page, PageRequest, Room, User, UserRole, UserStatus } from "../model.ts";

/** By what users can be sorted, the default first. */
export const USER_SORTS = ["key", "handle", "created"] as const;
/** By what rooms can be sorted, the default first. */
export const ROOM_SORTS = ["id", "created"] as const;
/** The directions of sorting, the default first. */
export const ORDERS = ["asc", "desc"] as const;

/** What the queries of users and rooms share. */
export interface Query extends PageRequest {
  /** The direction of sorting. Default `asc`. */
  order?: typeof ORDERS[number];
  /** Also count all items that match. Default `false`. */
  total?: boolean;
}

/** Which users to find; fields that are omitted match every user. */
export interface UserQuery extends Query {
  /** Part of the handle, in any case, or the first characters of the signing key: 1 to 64 characters. */
  search?: string;
  /** Only users with this role. */
  role?: UserRole;
  /** Only users with this status. */
  status?: UserStatus;
  /** Only users who lack the current key of a room that they are a member of, or with `false` others. */
  lacking?: boolean;
  /** What to sort by: the signing key, the handle ignoring the case of ASCII letters, or the time. */
  sort?: typeof USER_SORTS[number];
}

/** Which rooms to find; fields that are omitted match every room. */
export interface RoomQuery extends Query {
  /** Part of the id, in any case: 1 to 256 characters. */
  search?: string;
  /** Only rooms with this member. */
  member?: string;
  /** Only rooms that `member` has accepted, or with `false` its offers. */
  accepted?: boolean;
  /** Only rooms with members who lack the current key, or with `false` others. */
  lacking?: boolean;
  /** What to sort by. */
  sort?: typeof ROOM_SORTS[number];
}

/** A page of what was found. */
export interface Found<T> extends Page<T> {
  /** Number of all items that match; only if asked for. */
  total?: number;
  /** The position in the stream as of which a follower answered; absent for a store in SQLite. */
  position?: number;
  /** Whether the follower held everything up to `position`; else items may be missing or outdated. */
  exact?: boolean;
}

/**
 * Finds users and rooms. A page continues after an item's place in the order, so items that are added or
 * removed meanwhile shift no others.
 */
export interface Search {
  /**
   * Finds users.
   *
   * @throws {StoreError} `invalid`; `corrupt`: the follower has an alarm; `unavailable`; `closed`
   */
  users(query?: UserQuery): Promise<Found<User>>;
  /**
   * Finds rooms.
   *
   * @throws {StoreError} `invalid`; `corrupt`: the follower has an alarm; `unavailable`; `closed`
   */
  rooms(query?: RoomQuery): Promise<Found<Room>>;
}
