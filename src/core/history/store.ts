/**
 * The history of a store: who did what.
 *
 * @module
 */

import type { Backend } from "../backend.ts";
import * as check from "../validate.ts";
import { ACTIONS, type Author } from "./entry.ts";
import type { HistoryMethods, HistoryPruning, HistoryQuery } from "./methods.ts";
import { parseRevision, type Revision } from "./revision.ts";
import { type HistorySource, sourceOf } from "./source.ts";

/** What the methods need of a store. */
interface Use {
  /** Returns the backend; throws `closed` if the store is closed. */
  open(): Pick<Backend, "name" | "history" | "reach">;
  /** Returns the author of a change that is made now. */
  author(): Author;
}

/** Returns the methods for the history. */
export function historyMethods({ open, author }: Use) {
  return {
    async history(query) {
      const given = check.options("query", query, [
        ...[
          "after",
          "before",
          "newest",
          "user",
          "room",
          "invite",
          "by",
          "action",
          "since",
          "limit",
        ],
      ]) as HistoryQuery;
      const newest = check.boolean("newest", given.newest ?? false);
      const limit = check.integer("limit", given.limit ?? 100, 1, 1000);
      const items = await sourceOf(open()).page({
        after: revisionOf("after", given.after),
        before: revisionOf("before", given.before),
        newest,
        user: optional(given.user, (it) => check.signPub("user", it)),
        room: optional(given.room, (it) => check.roomId("room", it)),
        invite: optional(given.invite, (it) => check.hashId("invite", it)),
        by: optional(given.by, (it) => check.createdBy("by", it)),
        action: optional(given.action, (it) => check.oneOf("action", it, ACTIONS)),
        since: optional(given.since, (it) => check.time("since", it)),
        limit: limit + 1,
      });
      if (items.length <= limit) return { items, next: null };
      const shown = items.slice(0, limit);
      return { items: shown, next: shown.at(-1)!.revision };
    },
    async *follow(options) {
      const given = check.options("options", options, ["after", "signal"]);
      const signal = given.signal as AbortSignal | undefined ?? new AbortController().signal;
      const source = sourceOf(open());
      const after = given.after === undefined ? await newestOf(source) : given.after;
      for await (const entries of source.follow(revisionOf("after", after), signal)) {
        yield* entries;
      }
    },
    async reach(revision, options) {
      const { signal } = check.options("options", options, ["signal"]);
      const to = parseRevision("revision", revision);
      await open().reach?.(to, signal as AbortSignal | undefined);
    },
    async pruneHistory(which) {
      const given = check.options("which", which, ["before", "keep", "all"]) as HistoryPruning;
      const before = optional(given.before, (it) => check.time("before", it));
      const keep = optional(given.keep, (it) => check.integer("keep", it, 1, 2 ** 40));
      const all = check.boolean("all", given.all ?? false);
      if (all === (before !== null || keep !== null)) {
        throw check.invalid("before", "Either all, or one or both of before and keep are needed");
      }
      return await sourceOf(open()).prune({ before, keep, all }, author());
    },
  } satisfies HistoryMethods;
}

function revisionOf(field: string, value: unknown): Revision | null {
  return value === undefined || value === null ? null : parseRevision(field, value);
}

/** Returns the revision of the newest entry. The head of the chain can cost a read of all of them. */
async function newestOf(source: HistorySource): Promise<string | null> {
  const any = { user: null, room: null, invite: null, by: null, action: null, since: null };
  const range = { ...any, after: null, before: null, newest: true, limit: 1 };
  const [newest] = await source.page(range);
  return newest?.revision ?? (await source.start()).revision;
}

function optional<T, R>(value: T | undefined, read: (value: T) => R): R | null {
  return value === undefined ? null : read(value);
}
