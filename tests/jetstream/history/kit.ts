/**
 * What the tests of a bucket's history share.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { HistoryEntry } from "../../../src/core/history/entry.ts";
import { compareRevisionTexts } from "../../../src/core/history/revision.ts";
import type { Store } from "../../../src/core/store.ts";

/** How long something may take on a busy machine, milliseconds. */
export const PATIENCE = 120_000;

/** Waits until something is so. */
export async function until(
  isTrue: () => boolean | Promise<boolean>,
  what: string,
): Promise<void> {
  for (const end = Date.now() + PATIENCE; !await isTrue();) {
    assert.ok(Date.now() < end, `Not so: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Every entry, the oldest first. */
export async function allEntries(store: Store): Promise<HistoryEntry[]> {
  const found: HistoryEntry[] = [];
  for (let after: string | null = null;;) {
    const { items, next } = await store.history({ after, limit: 1000 });
    found.push(...items);
    if (next === null) return found;
    after = next;
  }
}

/** Follows a store in the background. */
export class Following implements AsyncDisposable {
  readonly entries: HistoryEntry[] = [];
  readonly #end = new AbortController();
  readonly #done: Promise<void>;
  error: unknown = null;

  constructor(store: Store, after: string | null = null) {
    this.#done = this.#run(store, after).catch((error) => void (this.error = error));
  }

  async #run(store: Store, after: string | null): Promise<void> {
    for await (const entry of store.follow({ after, signal: this.#end.signal })) {
      this.entries.push(entry);
    }
  }

  /** Waits until it has an entry of each user, and nothing has failed. */
  async has(users: readonly string[]): Promise<void> {
    await until(() => {
      assert.equal(this.error, null);
      const seen = new Set(this.entries.map(({ user }) => user));
      return users.every((it) => seen.has(it));
    }, `${users.length} users were followed, ${this.entries.length} entries were`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#done;
  }
}

/** Checks that entries are in order, each there once. */
export function requireOrder(entries: readonly HistoryEntry[]): void {
  for (let i = 1; i < entries.length; i++) {
    const [before, now] = [entries[i - 1]!.revision, entries[i]!.revision];
    assert.ok(compareRevisionTexts(before, now) < 0, `${before} stands before ${now}`);
  }
}

/** Checks that users and the entries that added them are the same, each once. */
export async function requireSameUsers(store: Store, entries: readonly HistoryEntry[]) {
  const added = entries.filter(({ action }) => action === "user.added").map(({ user }) => user!);
  const stored: string[] = [];
  for await (const { signPub } of store.users()) stored.push(signPub);
  assert.deepEqual(added.toSorted(), stored.toSorted());
}
