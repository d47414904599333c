/**
 * The users who were invited to a room and have not been added to it yet, by room: a bucket has no index
 * of them, which older programs would not know. A list reads the users' records: this only says where to
 * look.
 *
 * @module
 */

import { compareText } from "../../core/order.ts";
import type { Bucket } from "../log/bucket.ts";
import { scan } from "../log/feed.ts";
import { parseKey } from "../records/keys.ts";
import { decodeUser, readable } from "../records/values.ts";

/** Users by the room that they were invited to. */
export class Invited {
  readonly #rooms = new Map<string, string>();
  readonly #users = new Map<string, Set<string>>();

  /** Notes the room that a user was invited to; `undefined` for none. */
  set(signPub: string, room: string | undefined): void {
    const former = this.#rooms.get(signPub);
    if (former === room) return;
    if (former !== undefined) {
      const users = this.#users.get(former)!;
      users.delete(signPub);
      if (users.size === 0) this.#users.delete(former);
    }
    if (room === undefined) {
      this.#rooms.delete(signPub);
      return;
    }
    this.#rooms.set(signPub, room);
    const users = this.#users.get(room);
    if (users === undefined) this.#users.set(room, new Set([signPub]));
    else users.add(signPub);
  }

  /** Returns the users of a room, in order. */
  to(room: string): string[] {
    return [...this.#users.get(room) ?? []].sort(compareText);
  }
}

/**
 * Finds the users who were invited to a room by reading all users.
 *
 * @param patience Time limit without progress in milliseconds
 */
export async function findInvited(
  bucket: Bucket,
  room: string,
  patience: number,
): Promise<string[]> {
  const found = new Invited();
  await scan(bucket, {
    pattern: "users.*",
    patience,
    onEntry: ({ key, data }) => {
      const parsed = parseKey(key);
      if (parsed?.space !== "users") return;
      const { signPub } = parsed;
      const user = data.length === 0 ? null : readable(() => decodeUser(key, signPub, data));
      found.set(signPub, user?.invitedTo);
    },
  });
  return found.to(room);
}
