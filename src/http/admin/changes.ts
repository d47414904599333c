/**
 * The history for admins: pages with the names of the users in them, and requests that wait for the
 * next entry.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import { isStoreError } from "../../core/errors.ts";
import { isWanted } from "../../core/history/source.ts";
import type { Changes } from "../../core/operations.ts";
import type { HistoryQuery, Store } from "../../core/store.ts";
import { hex64 } from "../../core/validate.ts";
import type { Poll } from "../operations.ts";
import { Refusal } from "../pipeline/problem.ts";
import { userOf } from "../rights/lookup.ts";

/** Requests that may wait at once: of one key, and in all. */
const MOST_OF_ONE = 8;
const MOST = 64;
/** Entries within this time are returned together, milliseconds. */
const GATHER_MS = 100;
/** How often it is looked whether the client of a request has gone, milliseconds. */
const LOOK_MS = 500;
/** Users that are looked up at once. */
const AT_ONCE = 64;

/** Reads the history of one control plane. */
export class ChangeReader {
  readonly #store: Pick<Store, "history" | "follow" | "getUser">;
  /** What ends each request that waits, and the key of its sender. */
  readonly #waiting = new Map<AbortController, string | null>();
  #closed = false;

  /** Reads nothing yet. */
  constructor(store: Pick<Store, "history" | "follow" | "getUser">) {
    this.#store = store;
  }

  /** Number of requests that wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Returns a page of the history; waits for the first entry if there is none. */
  async read(query: HistoryQuery, poll: Poll): Promise<Changes> {
    try {
      if (poll.wait > 0) await this.#wait(query, poll);
      return await this.#named(await this.#store.history(query));
    } catch (error) {
      if (!isStoreError(error, "unsupported")) throw error;
      const hint = "start the server without --no-history";
      throw new Refusal("unsupported", error.message, { status: 400, hint });
    }
  }

  /** Ends all waiting. */
  close(): void {
    this.#closed = true;
    for (const end of this.#waiting.keys()) end.abort();
  }

  /** Resolves when there are entries that match, or the wait is over. */
  async #wait(query: HistoryQuery, poll: Poll): Promise<void> {
    // Read before the page, so that no entry is missed in between.
    const { items: [newest] } = await this.#store.history({ newest: true, limit: 1 });
    const { items } = await this.#store.history({ ...query, limit: 1 });
    if (items.length > 0 || this.#closed) return;
    this.#demandPlace(poll.endpoint);
    const end = new AbortController();
    const { signal } = end;
    this.#waiting.set(end, poll.endpoint);
    const timer = setTimeout(() => end.abort(), poll.wait);
    const looking = setInterval(() => poll.isGone() && end.abort(), LOOK_MS);
    try {
      for await (const it of this.#store.follow({ after: newest?.revision ?? null, signal })) {
        // Also the change that takes the caller's permission away.
        if (it.user === poll.endpoint) await poll.demand();
        if (!isWanted(it, query)) continue;
        await delay(GATHER_MS);
        break;
      }
    } finally {
      clearTimeout(timer);
      clearInterval(looking);
      end.abort();
      this.#waiting.delete(end);
    }
    // The server did not fail, and nobody reads the response.
    if (poll.isGone()) throw new Refusal("aborted", "The client disconnected", { status: 400 });
    await poll.demand();
  }

  #demandPlace(endpoint: string | null): void {
    const ofOne = [...this.#waiting.values()].filter((it) => it === endpoint).length;
    if (ofOne < MOST_OF_ONE && this.#waiting.size < MOST) return;
    const whose = ofOne >= MOST_OF_ONE ? "by this key" : "in total";
    throw new Refusal("rate_limited", `Too many requests wait for changes ${whose}`, {
      retryAfter: 5,
    });
  }

  /** Adds the names that users have now. */
  async #named({ items, next }: Awaited<ReturnType<Store["history"]>>): Promise<Changes> {
    const keys = [...new Set(items.flatMap(({ by, user }) => [by, user]))]
      .filter((it) => it !== null && hex64(it) !== null) as string[];
    const handles: Record<string, string> = {};
    for (let from = 0; from < keys.length; from += AT_ONCE) {
      const some = keys.slice(from, from + AT_ONCE);
      for (const it of await Promise.all(some.map((key) => userOf(this.#store, key)))) {
        if (it !== null) handles[it.signPub] = it.handle;
      }
    }
    return { items, next, handles };
  }
}
