/**
 * How much there is, as figures.
 *
 * @module
 */

import type { ComponentChildren, JSX } from "preact";
import type { HistoryAction } from "../../../core/history/entry.ts";
import type { PlaneCounts, Usage } from "../../../core/operations.ts";
import { bytes, counted, number, since } from "../../shared/format.ts";
import type { Loaded } from "../hooks.ts";
import { hrefOf } from "../route.ts";

/** The actions that are counted by name, with their words. */
const NAMED: readonly (readonly [HistoryAction, string])[] = [
  ["invite.claimed", "joined"],
  ["user.revoked", "revoked"],
  ["invite.created", "invited"],
  ["room.rekeyed", "rekeyed"],
];

/** The figures. */
export function Figures(
  { counts: { data, failure }, usage, now }: {
    counts: Loaded<PlaneCounts>;
    usage: Loaded<Usage>;
    now: number;
  },
): JSX.Element {
  const blobs = usage.data?.blobs;
  /** A value that is not there yet, or cannot be counted. */
  const or = (value: string | undefined, isRead = data !== null, failed = failure !== null) =>
    value ?? (isRead || failed ? "unknown" : "…");
  const { users = null, rooms = null, invites = null, connections = null, day = null } = data ?? {};
  return (
    <dl class="figures">
      <Figure
        name="Users"
        href={hrefOf("users")}
        value={or(users ? number(users.total) : undefined)}
      >
        {users &&
          `${counted(users.admins, "admin")}${
            users.revoked > 0 ? `, ${number(users.revoked)} revoked` : ""
          }`}
      </Figure>
      <Figure
        name="Rooms"
        href={hrefOf("rooms")}
        value={or(rooms === null ? undefined : number(rooms))}
      />
      <Figure
        name="Open invites"
        href={hrefOf("invites")}
        value={or(invites ? number(invites.open) + (invites.more ? " or more" : "") : undefined)}
      />
      <Figure
        name="Connections"
        value={or(connections ? number(connections.open) : undefined)}
      >
        {connections ? `of ${counted(connections.users, "user")}` : data && "not available here"}
      </Figure>
      <Figure
        name="Changes in 24 h"
        href={hrefOf("log")}
        value={or(day ? number(day.changes) + (day.more ? " or more" : "") : undefined)}
      >
        {day && NAMED.flatMap(([action, word]) => {
          const times = day.actions[action] ?? 0;
          return times === 0 ? [] : [`${number(times)} ${word}`];
        }).join(", ")}
      </Figure>
      <Figure
        name="Blobs"
        value={blobs === null
          ? "off"
          : or(blobs && bytes(blobs.bytes), usage.data !== null, usage.failure !== null)}
      >
        {blobs === null
          ? "not stored by this server"
          : blobs && `${counted(blobs.count, "blob")}, counted ${since(blobs.at, now)}`}
      </Figure>
    </dl>
  );
}

function Figure(
  { name, value, href, children }: {
    name: string;
    value: string;
    href?: string;
    children?: ComponentChildren;
  },
): JSX.Element {
  return (
    <div class="figure">
      <dt>{href === undefined ? name : <a href={href}>{name}</a>}</dt>
      <dd>
        <span class={/\d/.test(value) ? "figure-value" : "figure-value muted"}>{value}</span>
        {children && <span class="muted small figure-note">{children}</span>}
      </dd>
    </div>
  );
}
