/**
 * Users' names by their keys, looked up when they are shown, few at a time.
 *
 * @module
 */

import type { Calls } from "../../client/http/client.ts";
import { isStoreError } from "../../core/errors.ts";
import type { User } from "../../core/model.ts";
import type { Changes } from "../../core/operations.ts";
import { hex64 } from "../../core/validate.ts";
import { reasonOf } from "./api.ts";

/** Look-ups under way at once. */
const AT_ONCE = 4;
/** Names that are kept. */
const KEPT = 5_000;

/** The names. */
export class Names {
  readonly #api: Pick<Calls, "getUser">;
  readonly #known = new Map<string, string | null>();
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #queue: string[] = [];
  #under = 0;

  /** Creates an empty cache. */
  constructor(api: Pick<Calls, "getUser">) {
    this.#api = api;
  }

  /** Returns a name: null if the user does not exist, undefined if it is not known yet. */
  get(signPub: string): string | null | undefined {
    return this.#known.get(signPub);
  }

  /** Notes users that have been read anyway. */
  learn(users: readonly Pick<User, "signPub" | "handle">[]): void {
    for (const { signPub, handle } of users) this.#set(signPub, handle);
  }

  /** Notes the names that changes came with. */
  note({ items, handles }: Changes): void {
    for (const key of items.flatMap(({ by, user }) => [by, user])) {
      if (hex64(key) !== null) this.#set(key!, handles[key!] ?? null);
    }
  }

  /** Records that a user was deleted. */
  forget(signPub: string): void {
    this.#set(signPub, null);
  }

  /** Has a name looked up; returns how not to be told any more. */
  ask(signPub: string, told: () => void): () => void {
    if (this.#known.has(signPub)) return () => {};
    const waiting = this.#waiting.get(signPub) ?? new Set();
    if (waiting.size === 0) this.#queue.push(signPub);
    waiting.add(told);
    this.#waiting.set(signPub, waiting);
    this.#next();
    return () => waiting.delete(told);
  }

  #next(): void {
    while (this.#under < AT_ONCE && this.#queue.length > 0) {
      const signPub = this.#queue.shift()!;
      // Scrolled past before its turn came.
      if (this.#waiting.get(signPub)?.size === 0) {
        this.#waiting.delete(signPub);
        continue;
      }
      this.#under++;
      this.#api.getUser(signPub).then(
        ({ handle }) => this.#set(signPub, handle),
        (error) => {
          if (isStoreError(error) && reasonOf(error) === "not_found") this.#set(signPub, null);
          else this.#waiting.delete(signPub);
        },
      ).finally(() => {
        this.#under--;
        this.#next();
      });
    }
  }

  #set(signPub: string, handle: string | null): void {
    if (this.#known.size >= KEPT) this.#known.clear();
    this.#known.set(signPub, handle);
    const waiting = this.#waiting.get(signPub);
    this.#waiting.delete(signPub);
    for (const told of waiting ?? []) told();
  }
}
