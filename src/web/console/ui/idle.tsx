/**
 * Users of whom nothing was seen for some days, as far as the server knows.
 *
 * @module
 */

import type { JSX } from "preact";
import type { Page, User } from "../../../core/model.ts";
import type { ServerStatus } from "../../../core/operations.ts";
import type { Found } from "../../../core/store/search.ts";
import { counted } from "../../shared/format.ts";
import { useServerNow } from "../data/session.ts";
import { filled } from "./listing.tsx";
import { When } from "./pieces.tsx";

/** How long users were idle: for days, or as long as the server can tell; the empty text: any. */
export type Idle = "" | "1" | "7" | "30" | "start";

/** Most idle users that are shown. */
const MOST_IDLE = 5_000;
const DAY = 86_400_000;

/** The choices of a server that began to note who is active at a time; null: not known. */
export function idleChoices(
  startedAt: string | null,
  now: number,
): (readonly [Idle, string, boolean?])[] {
  const days = (["1", "7", "30"] as const).map((it) => {
    const text = counted(Number(it), "day");
    const isKnown = startedAt !== null && now - Date.parse(startedAt) >= Number(it) * DAY;
    return isKnown ? [it, text] as const : [it, `${text} (not yet)`, true] as const;
  });
  return [["", "Any"], ...days, ["start", "Since start"]];
}

/** The time since when users are idle, to the minute: the same question again within it. */
export function sinceOf(idle: Idle, now: number): string {
  const from = idle === "start" ? 0 : now - Number(idle) * DAY;
  return new Date(Math.floor(from / 60_000) * 60_000).toISOString();
}

/** Reads all that were not seen, and returns the page that begins at a number. */
export async function readIdle(
  read: (part: { limit: number; after: string | null; unseenSince: string }) => Promise<Page<User>>,
  after: string | null,
  { idle, now, size }: { idle: Idle; now: number; size: number },
): Promise<Found<User>> {
  const unseenSince = sinceOf(idle, now);
  const { items, next } = await filled((part) => read({ ...part, unseenSince }), MOST_IDLE, null);
  const from = Number(after ?? 0);
  return {
    items: items.slice(from, from + size),
    next: from + size < items.length ? String(from + size) : null,
    ...next === null && { total: items.length },
  };
}

/** Says what the server cannot tell of who was active. */
export function IdleNote(
  { idle, status }: { idle: Idle; status: ServerStatus },
): JSX.Element | null {
  const now = useServerNow(60_000);
  const isAlone = status.cluster === null || status.cluster.nodes.length === 1;
  if (idle !== "start" && isAlone) return null;
  return (
    <p class="notice warn">
      {idle === "start" && (
        <>
          This server knows who was active only since it started,{" "}
          <When time={status.startedAt} now={now} />.{" "}
        </>
      )}
      {!isAlone && "Requests to other nodes are not counted; bus connections to all nodes are."}
    </p>
  );
}
