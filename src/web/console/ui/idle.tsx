/**
 * Users of whom nothing was seen for some days, as far as the server knows.
 *
 * @module
 */

import type { JSX } from "preact";
import type { Page, User } from "../../../core/model.ts";
import type { Found } from "../../../core/store/search.ts";
import { useServerNow, useSession } from "../data/session.ts";
import { useLoad } from "../hooks.ts";
import { filled } from "./listing.tsx";
import { When } from "./pieces.tsx";

/** The choices of how long users were idle. */
export const IDLE = [["", "Any"], ["1", "Idle 1 day"], ["7", "Idle 7 days"], [
  "30",
  "Idle 30 days",
]] as const;
/** Most idle users that are shown. */
const MOST_IDLE = 5_000;
const DAY = 86_400_000;

/** The beginning of the last days, to the minute: the same question again within it. */
export function sinceOf(days: number, now: number): string {
  return new Date(Math.floor((now - days * DAY) / 60_000) * 60_000).toISOString();
}

/** Reads all that were not seen, and returns the page that begins at a number. */
export async function readIdle(
  read: (part: { limit: number; after: string | null; unseenSince: string }) => Promise<Page<User>>,
  after: string | null,
  { days, now, size }: { days: number; now: number; size: number },
): Promise<Found<User>> {
  const unseenSince = sinceOf(days, now);
  const { items, next } = await filled((part) => read({ ...part, unseenSince }), MOST_IDLE, null);
  const from = Number(after ?? 0);
  return {
    items: items.slice(from, from + size),
    next: from + size < items.length ? String(from + size) : null,
    ...next === null && { total: items.length },
  };
}

/** Since when the server can tell who was active. */
export function IdleNote({ days }: { days: number }): JSX.Element | null {
  const { api } = useSession();
  const now = useServerNow(60_000);
  const { data } = useLoad((signal) => api.with(signal).status(), "status");
  if (data === null) return null;
  const isLong = now - Date.parse(data.startedAt) >= days * DAY;
  const elsewhere = data.cluster !== null && data.cluster.nodes.length > 1
    ? " Requests to other nodes are not counted; bus connections to all nodes are."
    : "";
  return isLong && elsewhere === "" ? null : (
    <p class="notice warn">
      {!isLong && (
        <>
          This server knows who was active only since it started,{" "}
          <When time={data.startedAt} now={now} />: those shown were idle since then.
        </>
      )}
      {elsewhere}
    </p>
  );
}
