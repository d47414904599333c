/**
 * How many users, rooms, invites, connections and changes there are. The work of one count is bounded,
 * and requests within a short time share it.
 *
 * @module
 */

import { kept } from "../../core/async/kept.ts";
import { isStoreError } from "../../core/errors.ts";
import type { HistoryAction, HistoryEntry } from "../../core/history/entry.ts";
import type { PlaneCounts } from "../../core/operations.ts";
import { inviteState } from "../../core/rules.ts";
import type { Store } from "../../core/store.ts";
import type { Search } from "../../core/store/search.ts";
import { LIMITS } from "../../core/validate.ts";
import type { ControlPlaneOptions } from "../options.ts";

/** How long a count is kept, milliseconds. */
const GOOD_FOR_MS = 2_000;
/** Most invites that are looked at: no store lists them by their state. */
const MOST_INVITES = 20_000;
/** Most changes of the last day that are counted. */
const MOST_CHANGES = 20_000;
/** Changes that are read at once. */
const CHANGES_PAGE = 1_000;
const DAY_MS = 86_400_000;

/** What is counted. */
export interface CountsOptions extends Pick<ControlPlaneOptions, "connections"> {
  store: Pick<Store, "invites" | "history">;
  /** Finds users and rooms. */
  search: () => Search | null;
  now: () => Date;
}

/** Makes the count. */
export function countsOf({ store, search, connections, now }: CountsOptions) {
  const day = dayOf(store, MOST_CHANGES);
  return kept(GOOD_FOR_MS, async (): Promise<PlaneCounts> => {
    const found = search();
    const at = now();
    const [users, rooms, invites, changes] = await Promise.all([
      found && orNull(usersIn(found)),
      found && orNull(totalOf(found.rooms({ limit: 1, total: true }))),
      orNull(invitesIn(store, at.getTime())),
      orNull(day(at.getTime())),
    ]);
    return {
      users,
      rooms,
      invites,
      connections: connections?.() ?? null,
      day: changes,
      at: at.toISOString(),
    };
  });
}

/** A part that cannot be counted does not keep the others away. */
function orNull<T>(work: Promise<T>): Promise<T | null> {
  return work.catch((error) => {
    if (isStoreError(error)) return null;
    throw error;
  });
}

async function totalOf(found: Promise<{ total?: number }>): Promise<number> {
  return (await found).total ?? 0;
}

async function usersIn(search: Search): Promise<NonNullable<PlaneCounts["users"]>> {
  const count = (query: Parameters<Search["users"]>[0]) =>
    totalOf(search.users({ ...query, limit: 1, total: true }));
  const [total, revoked, admins] = await Promise.all([
    count({}),
    count({ status: "revoked" }),
    count({ status: "active", role: "admin" }),
  ]);
  return { total, revoked, admins };
}

async function invitesIn(
  store: Pick<Store, "invites">,
  now: number,
): Promise<NonNullable<PlaneCounts["invites"]>> {
  let open = 0;
  let looked = 0;
  for await (const invite of store.invites({ limit: LIMITS.pageMax })) {
    if (looked++ === MOST_INVITES) return { open, more: true };
    if (inviteState(invite, now) === "open") open++;
  }
  return { open, more: false };
}

/**
 * Makes the count of the changes of the last day. Each is read once.
 *
 * @param most Most changes that are counted: the newest
 */
export function dayOf(store: Pick<Store, "history">, most: number) {
  /** Those that were counted, the newest first. */
  let seen: Pick<HistoryEntry, "at" | "action">[] = [];
  /** The newest revision that was read. */
  let last: string | null = null;
  /** The time up to which changes are not counted, because there are too many. */
  let uncounted = "";

  return async (now: number): Promise<NonNullable<PlaneCounts["day"]>> => {
    const since = new Date(now - DAY_MS).toISOString();
    const found: HistoryEntry[] = [];
    let before: string | null = null;
    do {
      const query = { since, newest: true, after: last, before, limit: CHANGES_PAGE };
      const page = await store.history(query);
      found.push(...page.items);
      before = page.next;
    } while (before !== null && found.length < most);
    last = found[0]?.revision ?? last;
    const all = found.map(({ at, action }) => ({ at, action }));
    // What is left between those found and those seen before is not counted, nor what is before it.
    if (before === null) all.push(...seen.filter((it) => it.at >= since));
    seen = all.slice(0, most);
    if (before !== null || all.length > most) uncounted = seen.at(-1)!.at;
    const actions: Partial<Record<HistoryAction, number>> = {};
    for (const { action } of seen) actions[action] = (actions[action] ?? 0) + 1;
    return { changes: seen.length, more: uncounted >= since, actions };
  };
}
