/**
 * How many users, rooms, invites, connections and changes there are. The work of one count is bounded,
 * and requests within a short time share it.
 *
 * @module
 */

import { kept } from "../../core/async/kept.ts";
import { isStoreError } from "../../core/errors.ts";
import type { HistoryAction } from "../../core/history/entry.ts";
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
const MOST_CHANGES = 1_000;
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
  return kept(GOOD_FOR_MS, async (): Promise<PlaneCounts> => {
    const found = search();
    const at = now();
    const [users, rooms, invites, day] = await Promise.all([
      found && orNull(usersIn(found)),
      found && orNull(totalOf(found.rooms({ limit: 1, total: true }))),
      orNull(invitesIn(store, at.getTime())),
      orNull(dayOf(store, at.getTime())),
    ]);
    return {
      users,
      rooms,
      invites,
      connections: connections?.() ?? null,
      day,
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

async function dayOf(
  store: Pick<Store, "history">,
  now: number,
): Promise<NonNullable<PlaneCounts["day"]>> {
  const since = new Date(now - DAY_MS).toISOString();
  const { items, next } = await store.history({ since, newest: true, limit: MOST_CHANGES });
  const actions: Partial<Record<HistoryAction, number>> = {};
  for (const { action } of items) actions[action] = (actions[action] ?? 0) + 1;
  return { changes: items.length, more: next !== null, actions };
}
