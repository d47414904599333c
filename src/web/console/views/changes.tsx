/**
 * Changes of the control plane, in words.
 *
 * @module
 */

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import type { HistoryAction, HistoryEntry } from "../../../core/history/entry.ts";
import type { HistoryQuery } from "../../../core/history/methods.ts";
import { useServerNow, useSession } from "../data/session.ts";
import { clock, date, moment, shortKey, since, visible } from "../../shared/format.ts";
import { useLive } from "../hooks.ts";
import { hrefOf } from "../route.ts";
import { Name } from "../../shared/ui/key.tsx";
import { Listing, START, type Trail, usePage } from "../ui/listing.tsx";
import { Author, Who } from "../ui/pieces.tsx";
import type { Column } from "../ui/table.tsx";

/** Every action in words; what a choice of actions leaves out stands behind the bar. */
export const SAID: Readonly<Record<HistoryAction, string>> = {
  "user.added": "added {user}| as {role}",
  "user.revoked": "revoked {user}",
  "user.restored": "restored {user}",
  "user.role_changed": "changed the role of {user}| to {role}",
  "user.deleted": "deleted {user}",
  "invite.created": "created {invite}| for role {role}",
  "invite.claimed": "joined| with {invite} as {user}",
  "invite.spent": "used {invite}| of {user}, already a user",
  "invite.canceled": "canceled {invite}",
  "invites.pruned": "removed old invites|: {count}",
  "room.created": "created {room}",
  "room.deleted": "deleted {room}",
  "room.owner_changed": "changed the owner of {room}| to {user}",
  "room.rekeyed": "changed the key of {room}| (epoch {epoch})",
  "member.added": "added {user} to {room}",
  "member.joined": "joined {room}",
  "member.removed": "removed {user} from {room}",
  "key.stored": "gave {user} the key of {room}| (epoch {epoch})",
  "keys.pruned": "removed old keys of {room}|: {count}",
  "store.restored": "restored a backup|: {records} records",
  "store.moved": "moved the control plane| to {store}",
  "history.pruned": "removed old log entries|: {count}",
  "history.restored": "restored lost log entries|: {count}",
};

/** What {@link Changes} takes. */
interface ChangesProps {
  /** Which are shown, the newest first. Another query needs another key. */
  query: HistoryQuery;
  /** Changes on a page. */
  size?: number;
  /** Whether new ones are not shown. */
  paused?: boolean;
}

/** A list of changes. */
export function Changes({ query, size = 10, paused = false }: ChangesProps): JSX.Element {
  const { api, live, names } = useSession();
  const { log } = useLive(live);
  const now = useServerNow(10_000);
  const trail = useState<Trail>(START);
  // Older pages stay as they are.
  const shown = useRef(log);
  if (!paused && trail[0].length < 2) shown.current = log;
  const page = usePage(
    async (signal, before) => {
      const found = await api.with(signal).changes({
        ...query,
        newest: true,
        limit: size,
        before,
      });
      names.note(found);
      return found;
    },
    query,
    shown.current,
    trail,
  );
  const columns: Column<HistoryEntry>[] = [
    {
      head: "Time",
      cell: ({ at }) => (
        <time dateTime={at} title={moment(at)}>
          {now - Date.parse(at) > 86_400_000 ? date(at) : since(at, now)} {clock(at)}
        </time>
      ),
    },
    { head: "By", cell: ({ by }) => <Author by={by} /> },
    { head: "Change", cell: (it) => <Sentence it={it} /> },
  ];
  return (
    <Listing noun="change" of={page} columns={columns} id={(it) => it.revision} size={size}>
      No changes match.
    </Listing>
  );
}

/** The changes of one thing, below what is said about it. */
export function History(
  { of, id }: { of: "user" | "room" | "invite"; id: string },
): JSX.Element {
  return (
    <section class="section" aria-labelledby="history">
      <div class="section-head">
        <h2 id="history">History</h2>
        <a href={hrefOf("log", `${of}=${id}`)}>Filter</a>
        {of === "user" && <a href={hrefOf("log", `by=${id}`)}>Made by this user</a>}
      </div>
      <Changes query={{ [of]: id }} />
    </section>
  );
}

function Sentence({ it }: { it: HistoryEntry }): JSX.Element {
  // A server that is newer than this page may name another action.
  const said = SAID[it.action] ?? it.action;
  const isOwn = it.action === "member.removed" && it.user === it.by;
  const parts = (isOwn ? "left {room}" : said).replace("|", "").split(/\{(\w+)\}/);
  return <span>{parts.map((part, i) => i % 2 === 0 ? part : slot(part, it))}</span>;
}

function slot(name: string, { user, room, invite, before, after }: HistoryEntry): unknown {
  if (name === "user") {
    return user && <Who signPub={user} was={(after ?? before)?.handle as string | undefined} />;
  }
  if (name === "room" || name === "invite") {
    const id = (name === "room" ? room : invite) ?? "";
    return (
      <>
        {name}{" "}
        <a href={hrefOf(`${name}s`, id)}>{name === "room" ? <Name>{id}</Name> : shortKey(id)}</a>
      </>
    );
  }
  return visible(String(after?.[name] ?? before?.[name] ?? "?"));
}
