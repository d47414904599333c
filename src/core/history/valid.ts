/**
 * Validates entries of the history that come from outside, such as a snapshot.
 *
 * @module
 */

import { counted } from "../text/counted.ts";
import * as check from "../validate.ts";
import type { HistoryAction, HistoryEntry, SmallValues } from "./entry.ts";
import { formatRevision, parseRevision } from "./revision.ts";

/** Most values before or after a change. */
const MOST = 20;
/** Longest text among them, characters. */
const LONGEST = 1000;

/**
 * Validates an entry. An action that this version does not know is accepted: a newer one may have
 * written it.
 *
 * @throws {StoreError} `invalid`; `field` names the field
 */
export function historyEntry(value: unknown): HistoryEntry {
  const given = check.object("entry", value);
  const nullable = <T>(field: string, read: (field: string, value: unknown) => T): T | null =>
    given[field] === null ? null : read(field, given[field]);
  return {
    revision: formatRevision(parseRevision("revision", given.revision)),
    at: check.time("at", given.at),
    by: check.createdBy("by", given.by),
    action: action(given.action),
    user: nullable("user", check.hashId),
    room: nullable("room", check.roomId),
    invite: nullable("invite", check.hashId),
    before: nullable("before", small),
    after: nullable("after", small),
  };
}

function action(value: unknown): HistoryAction {
  if (typeof value === "string" && /^[a-z_]{1,30}\.[a-z_]{1,30}$/.test(value)) {
    return value as HistoryAction;
  }
  throw check.invalid(
    "action",
    `action must be one such as user.added, found ${check.show(value)}`,
  );
}

function small(field: string, value: unknown): SmallValues {
  const values = Object.entries(check.object(field, value));
  const isSmall = ([name, it]: [string, unknown]) =>
    name.length <= 30 && (it === null || typeof it === "boolean" || Number.isFinite(it) ||
      typeof it === "string" && it.length <= LONGEST);
  const wrong = values.find((it) => !isSmall(it));
  if (values.length <= MOST && wrong === undefined) {
    return Object.fromEntries(values) as SmallValues;
  }
  const found = wrong === undefined ? counted(values.length, "value") : check.show(wrong[1]);
  throw check.invalid(field, `${field} must have few small values, found ${found}`);
}
