/**
 * Searching users without reading them all for every keystroke: they are read once, kept while
 * somebody searches, and brought up to date by what the store tells of changes.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";
import type { Page, PageRequest, User } from "../../core/model.ts";
import type { Store } from "../../core/store.ts";
import { LIMITS } from "../../core/validate.ts";
import type { UserFilter } from "../operations.ts";
import { userOf } from "../rights/lookup.ts";

/** What of the store is needed. */
type Users = Pick<Store, "listUsers" | "getUser" | "watchAccess">;

/** More users than this are not kept, about 30 MB: they are looked through anew, a part at a time. */
const MOST_KEPT = 50_000;
/** Most users looked at for one request then. */
const MOST_LOOKED_AT = 20_000;
/** Users read, or compared, at once: that holds the thread meanwhile. */
const CHUNK = 1_000;
/** More changed users than this are not read one by one. */
const MOST_TOUCHED = 200;
/** Having been too many, they are not counted anew for so long, milliseconds. */
const TOO_MANY_MS = 600_000;
/** Nobody has searched for so long: what is kept is given up, milliseconds. */
const IDLE_MS = 120_000;

/** The users of one store. */
export class UserIndex {
  readonly #store: Users;
  readonly #mostKept: number;
  /** Those that have changed since they were read; `null`: anything may have. */
  #touched: Set<string> | null = null;
  #users: User[] | null = null;
  #tooManyUntil = 0;
  #endWatch: (() => void) | null = null;
  #idle: ReturnType<typeof setTimeout> | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(store: Users, mostKept: number = MOST_KEPT) {
    this.#store = store;
    this.#mostKept = mostKept;
  }

  /** Users that match, by signing key. With very many users a page may be short, and `next` says so. */
  async search(filter: UserFilter, page: PageRequest): Promise<Page<User>> {
    const turn = this.#turn.then(() => this.#fresh());
    this.#turn = turn.catch(() => {});
    const users = await turn;
    const { limit = LIMITS.pageDefault, after = null } = page;
    const matches = matcher(filter);
    if (users === null) return await this.#look(matches, limit, after);
    const items: User[] = [];
    for (let i = after === null ? 0 : behind(users, after); i < users.length; i++) {
      const user = users[i]!;
      if (i % CHUNK === CHUNK - 1) await setImmediate();
      if (!matches(user)) continue;
      if (items.length === limit) return { items, next: items.at(-1)!.signPub };
      items.push(user);
    }
    return { items, next: null };
  }

  /** A user has changed, or may have. */
  touch(signPub: string): void {
    this.#touched?.add(signPub);
    if ((this.#touched?.size ?? 0) > MOST_TOUCHED) this.#touched = null;
  }

  /** Gives up what is kept. */
  close(): void {
    clearTimeout(this.#idle);
    this.#endWatch?.();
    this.#endWatch = this.#users = this.#touched = null;
  }

  /** All users as they are now, or `null` when there are too many to keep. */
  async #fresh(): Promise<User[] | null> {
    if (performance.now() < this.#tooManyUntil) return null;
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.close(), IDLE_MS);
    this.#idle.unref?.();
    // Before the first read, so that no change falls in between.
    this.#endWatch ??= this.#store.watchAccess(({ endpoint, roomId }) => {
      if (endpoint !== undefined) this.touch(endpoint);
      else if (roomId === undefined) this.#touched = null;
    });
    const touched = this.#touched;
    if (this.#users === null || touched === null) {
      this.#touched = new Set();
      this.#users = null;
      return this.#users = await this.#read();
    }
    if (touched.size === 0) return this.#users;
    this.#touched = new Set();
    try {
      this.#users = merged(this.#users, await this.#readThese([...touched]));
    } catch (error) {
      this.#touched = null;
      throw error;
    }
    return this.#users;
  }

  async #read(): Promise<User[] | null> {
    const found: User[] = [];
    for await (const user of this.#all(null)) {
      found.push(user);
      if (found.length <= this.#mostKept) continue;
      this.close();
      this.#tooManyUntil = performance.now() + TOO_MANY_MS;
      return null;
    }
    return found;
  }

  async #readThese(keys: string[]): Promise<Map<string, User | null>> {
    return new Map(
      await Promise.all(keys.map(async (it) => [it, await userOf(this.#store, it)] as const)),
    );
  }

  async #look(
    matches: (user: User) => boolean,
    limit: number,
    after: string | null,
  ): Promise<Page<User>> {
    const items: User[] = [];
    let looked = 0;
    let last = after;
    for await (const user of this.#all(after)) {
      const found = matches(user);
      if ((found && items.length === limit) || looked++ >= MOST_LOOKED_AT) {
        return { items, next: last };
      }
      if (found) items.push(user);
      last = user.signPub;
    }
    return { items, next: null };
  }

  async *#all(after: string | null): AsyncGenerator<User> {
    do {
      const page: Page<User> = await this.#store.listUsers({ limit: CHUNK, after });
      yield* page.items;
      after = page.next;
      await setImmediate();
    } while (after !== null);
  }
}

function matcher({ search, role, status }: UserFilter): (user: User) => boolean {
  const folded = search?.normalize("NFKC").toLowerCase();
  return (it) =>
    (role === undefined || it.role === role) &&
    (status === undefined || it.status === status) &&
    (folded === undefined || it.signPub.startsWith(folded) ||
      it.handle.normalize("NFKC").toLowerCase().includes(folded));
}

/** Where the users behind a key begin. */
function behind(users: readonly User[], key: string): number {
  let [low, high] = [0, users.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (users[middle]!.signPub > key) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The list with these users as they are now; `null`: gone. */
function merged(users: readonly User[], changed: ReadonlyMap<string, User | null>): User[] {
  const kept = users.filter((it) => !changed.has(it.signPub));
  const now = [...changed.values()].filter((it) => it !== null);
  return [...kept, ...now].sort((a, b) => a.signPub < b.signPub ? -1 : 1);
}
