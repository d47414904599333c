/**
 * Invites: create one, see who used which, cancel several.
 *
 * @module
 */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Invite, InviteState } from "../../../core/model.ts";
import { inviteState } from "../../../core/rules.ts";
import { Button } from "../../shared/ui/page.tsx";
import { shortKey, visible } from "../../shared/format.ts";
import { useLive, useLoad } from "../hooks.ts";
import { hrefOf, leaveFor } from "../route.ts";
import { useServerNow, useSession } from "../data/session.ts";
import { BulkBar, BulkDialog, usePicked } from "../ui/bulk.tsx";
import { DownloadCsv } from "../ui/csv.tsx";
import { Name } from "../../shared/ui/key.tsx";
import { useFilter } from "../ui/filters.tsx";
import { filled, Listing } from "../ui/listing.tsx";
import { Author, Choice, ViewHead, When } from "../ui/pieces.tsx";
import type { Column } from "../ui/table.tsx";
import { CancelInvite, nameOf, Outcome, StateBadge } from "./invite.tsx";
import { NewInvite } from "./new_invite.tsx";
import { RoleBadge } from "./users.tsx";

const SIZE = 50;
/** The server lists them by id, which is a hash: to show the newest first all must be there. */
const MOST = 5_000;

const ORDERS = [
  ["newest", "Newest first"],
  ["oldest", "Oldest first"],
  ["ending", "Expiring first"],
] as const;

interface Filter {
  state: InviteState | "";
  order: typeof ORDERS[number][0];
}

const OPEN: Filter = { state: "open", order: "newest" };
const COLUMNS = [
  "id",
  "note",
  "role",
  "room",
  "createdBy",
  "createdAt",
  "expiresAt",
  "usedAt",
  "usedBy",
  "canceledAt",
] as const satisfies readonly (keyof Invite)[];
const idOf = (it: Invite): string => it.id;

function sorted(items: readonly Invite[], order: Filter["order"]): Invite[] {
  const by = order === "ending" ? "expiresAt" : "createdAt";
  const way = order === "newest" ? -1 : 1;
  return items.toSorted((a, b) => way * a[by].localeCompare(b[by]));
}

/** The list; `making` opens the dialog for a new one. */
export function Invites({ making }: { making: boolean }): JSX.Element {
  const { api, live } = useSession();
  const { invites: revision } = useLive(live);
  const now = useServerNow(5_000);
  const [canceling, cancel] = useState<Invite | null>(null);
  const [isBulk, askBulk] = useState(false);
  const picked = usePicked(idOf, nameOf);
  const { filter: { state, order }, trail: [trail, go], change } = useFilter(
    "invites",
    OPEN,
    picked.clear,
  );
  const asked = state === "" ? {} : { state };
  const all = useLoad(
    (signal) => filled((part) => api.with(signal).listInvites({ ...asked, ...part }), MOST, null),
    state,
    revision,
  );

  const columns: Column<Invite>[] = [
    {
      head: "Invite",
      cell: (it) => (
        <span class="invite-name">
          {it.note === ""
            ? <span class="muted">no note</span>
            : <bdi class="note" title={visible(it.note)}>{visible(it.note)}</bdi>}
          <a href={hrefOf("invites", it.id)}>
            <code class="who-key" title={it.id}>{shortKey(it.id)}</code>
          </a>
          {it.room !== undefined && (
            <span class="small">
              to room{" "}
              <a href={hrefOf("rooms", it.room)}>
                <Name>{it.room}</Name>
              </a>
            </span>
          )}
        </span>
      ),
    },
    { head: "Role", cell: (it) => <RoleBadge role={it.role} /> },
    { head: "State", cell: (it) => <StateBadge state={inviteState(it, now)} /> },
    {
      head: "Created",
      cell: (it) => (
        <>
          <When time={it.createdAt} now={now} /> by <Author by={it.createdBy} />
        </>
      ),
    },
    { head: "Outcome", cell: (it) => <Outcome it={it} now={now} /> },
    {
      head: "Actions",
      actions: true,
      cell: (it) =>
        inviteState(it, now) === "open" && (
          <Button
            label={`Cancel the invite ${nameOf(it)}`}
            onClick={() => cancel(it)}
          >
            Cancel
          </Button>
        ),
    },
  ];
  const from = (trail.length - 1) * SIZE;
  const page = all.data && {
    items: sorted(all.data.items, order).slice(from, from + SIZE),
    next: from + SIZE < all.data.items.length ? String(from + SIZE) : null,
  };
  return (
    <>
      <ViewHead title="Invites">
        <DownloadCsv<Invite>
          name="invites.csv"
          columns={COLUMNS}
          read={(after) => api.listInvites({ ...asked, limit: 1000, after })}
        />
        <a class="button primary" href={hrefOf("invites", "new")}>New invite</a>
      </ViewHead>
      <div class="filters">
        <Choice
          label="State"
          value={state}
          options={[
            ["open", "Open"],
            ["used", "Used"],
            ["expired", "Expired"],
            ["canceled", "Canceled"],
            ["", "All"],
          ]}
          onChange={(state) => change({ state })}
        />
        <Choice
          label="Order"
          value={order}
          options={ORDERS}
          onChange={(order) => change({ order })}
        />
      </div>
      {all.data?.next && (
        <p class="notice warn">
          There are more than {MOST} matching invites; those shown may not be the newest.
        </p>
      )}
      <BulkBar count={picked.rows.size} noun="invite" onClear={picked.clear}>
        <Button look="danger" onClick={() => askBulk(true)}>Cancel invites</Button>
      </BulkBar>
      <Listing
        noun="invite"
        total={all.data?.next === null ? all.data.items.length : null}
        picked={picked}
        of={{ ...all, data: page, trail, go, stale: all.of !== state }}
        columns={columns}
        id={idOf}
        size={SIZE}
      >
        <p role="status">
          {state === "open"
            ? "There are no open invites."
            : state === ""
            ? "There are no invites yet."
            : `There are no ${state} invites.`}
        </p>
        <p class="muted">
          An invite is a link for one person. It registers the keys that their browser or program
          creates; no one else sees those.
        </p>
      </Listing>
      {making && <NewInvite onClose={() => leaveFor("invites")} />}
      {isBulk && (
        <BulkDialog
          action="Cancel"
          done="canceled"
          stay="Keep them"
          noun="invite"
          rows={[...picked.rows.values()].filter((it) => inviteState(it, now) === "open")}
          id={idOf}
          show={(it) => <Name>{nameOf(it)}</Name>}
          work={(it) => api.cancelInvite(it.id)}
          onDone={(done) => {
            picked.set(done, false);
            live.touch("invites");
          }}
          onClose={() => askBulk(false)}
        >
          Their links stop working immediately. <strong>This cannot be undone.</strong>
        </BulkDialog>
      )}
      {canceling && <CancelInvite invite={canceling} onClose={() => cancel(null)} />}
    </>
  );
}
