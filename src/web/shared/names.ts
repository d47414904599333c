/**
 * Users' names by their keys, looked up when they are shown, few at a time.
 *
 * @module
 */

import { useEffect, useState } from "preact/hooks";
import type { Calls } from "../../client/http/client.ts";
import { isStoreError } from "../../core/errors.ts";
import type { User } from "../../core/model.ts";
import type { Changes } from "../../core/operations.ts";
import { hex64 } from "../../core/validate.ts";
import { formsOf } from "./alike.ts";
import { reasonOf } from "./api.ts";

/** Look-ups under way at once. */
const AT_ONCE = 4;
/** Names that are kept. */
const KEPT = 5_000;

/** The names. */
export class Names {
  readonly #api: Pick<Calls, "getUser">;
  readonly #known = new Map<string, string | null>();
  /** The users of each name, by {@link formsOf}. */
  readonly #holders = new Map<string, Set<string>>();
  /** What is called when a user's name changes. */
  readonly #listeners = new Map<string, Set<() => void>>();
  /** Users whose name has been or will be looked up. */
  readonly #asked = new Set<string>();
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

  /** Whether another user is known who has the name of this one, or one that looks like it. */
  isShared(signPub: string): boolean {
    const name = this.#known.get(signPub);
    return typeof name === "string" &&
      formsOf(name).some((form) => this.#holders.get(form)!.size > 1);
  }

  /** Has a name looked up, and tells when it is known, and when it is shared; returns how to end that. */
  ask(signPub: string, told: () => void): () => void {
    const listeners = this.#listeners.get(signPub) ?? new Set();
    listeners.add(told);
    this.#listeners.set(signPub, listeners);
    if (!this.#known.has(signPub) && !this.#asked.has(signPub)) {
      this.#asked.add(signPub);
      this.#queue.push(signPub);
      this.#next();
    }
    return () => {
      listeners.delete(told);
      if (listeners.size === 0) this.#listeners.delete(signPub);
    };
  }

  #next(): void {
    while (this.#under < AT_ONCE && this.#queue.length > 0) {
      const signPub = this.#queue.shift()!;
      // Scrolled past before its turn came.
      if (!this.#listeners.has(signPub)) {
        this.#asked.delete(signPub);
        continue;
      }
      this.#under++;
      this.#api.getUser(signPub).then(
        ({ handle }) => this.#set(signPub, handle),
        (error) => {
          if (isStoreError(error) && reasonOf(error) === "not_found") this.#set(signPub, null);
        },
      ).finally(() => {
        this.#asked.delete(signPub);
        this.#under--;
        this.#next();
      });
    }
  }

  #set(signPub: string, handle: string | null): void {
    const before = this.#known.get(signPub);
    if (handle === before) return;
    if (this.#known.size >= KEPT) {
      this.#known.clear();
      this.#holders.clear();
    }
    for (const form of formsOf(before ?? "")) this.#holders.get(form)?.delete(signPub);
    this.#known.set(signPub, handle);
    for (const form of handle === null ? [] : formsOf(handle)) {
      const holders = this.#holders.get(form) ?? new Set();
      this.#holders.set(form, holders.add(signPub));
      // Until now the other has stood there without its key.
      if (holders.size === 2) { for (const holder of holders) this.#tell(holder); }
    }
    this.#tell(signPub);
  }

  #tell(signPub: string): void {
    for (const listener of [...this.#listeners.get(signPub) ?? []]) listener();
  }
}

/**
 * Returns the name of a user: null if there is none, undefined while it is being looked up. Draws again when
 * it changes, and when it is shared.
 */
export function useNameOf(signPub: string, names: Names): string | null | undefined {
  const [, draw] = useState(0);
  const known = names.get(signPub);
  const isShared = names.isShared(signPub);
  useEffect(() => {
    const again = (): void => draw((it) => it + 1);
    const stop = names.ask(signPub, again);
    // It may have come between the drawing and now.
    if (names.get(signPub) !== known || names.isShared(signPub) !== isShared) again();
    return stop;
  }, [signPub]);
  return known;
}
