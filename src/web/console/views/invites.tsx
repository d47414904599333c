/**
 * Invites: create one, see who used which, cancel.
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
import { useKept, useServerNow, useSession } from "../data/session.ts";
import { Confirm } from "../ui/confirm.tsx";
import { BulkBar, BulkDialog, usePicked } from "../ui/bulk.tsx";
import { DownloadCsv } from "../ui/csv.tsx";
import { Name } from "../../shared/ui/key.tsx";
import { filled, Listing, START, type Trail } from "../ui/listing.tsx";
import { Author, Badge, Choice, type Look, ViewHead, When, Who } from "../ui/pieces.tsx";
import type { Column } from "../ui/table.tsx";
import { History } from "./changes.tsx";
import { NewInvite } from "./new_invite.tsx";
import { RoleBadge } from "./users.tsx";

const SIZE = 50;
/** The server lists them by id, which is a hash: to show the newest first all must be there. */
const MOST = 5_000;

const SORTS = {
  newest: "Newest first",
  oldest: "Oldest first",
  ending: "Expiring first",
} as const;
type Sort = keyof typeof SORTS;
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
const nameOf = (it: Invite): string => visible(it.note) || shortKey(it.id);

function sorted(items: readonly Invite[], sort: Sort): Invite[] {
  const by = sort === "ending" ? "expiresAt" : "createdAt";
  const way = sort === "newest" ? -1 : 1;
  return items.toSorted((a, b) => way * a[by].localeCompare(b[by]));
}

/** The view of all or of `one`; `making` opens the dialog for a new one. */
export function Invites(
  { one, making }: { one: string | null; making: boolean },
): JSX.Element {
  const { api, live } = useSession();
  const { invites: revision } = useLive(live);
  const now = useServerNow(5_000);
  const [state, setState] = useKept<InviteState | "">("invites.state", "open");
  const [trail, go] = useState<Trail>(START);
  const [sort, setSort] = useKept<Sort>("invites.sort", "newest");
  const [canceling, cancel] = useState<Invite | null>(null);
  const [isBulk, askBulk] = useState(false);
  const picked = usePicked<Invite>((it) => it.id, nameOf);
  const all = useLoad(
    async (signal) => {
      if (one !== null) return { items: [await api.with(signal).getInvite(one)], next: null };
      const filter = state === "" ? {} : { state };
      return await filled(
        (part) => api.with(signal).listInvites({ ...filter, ...part }),
        MOST,
        null,
      );
    },
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
    items: sorted(all.data.items, sort).slice(from, from + SIZE),
    next: from + SIZE < all.data.items.length ? String(from + SIZE) : null,
  };
  return (
    <>
      <ViewHead
        title={one === null ? "Invites" : "Invite"}
        {...one !== null && { back: { href: hrefOf("invites"), text: "Invites" } }}
      >
        {one === null && (
          <>
            <DownloadCsv<Invite>
              name="invites.csv"
              columns={COLUMNS}
              read={(after) => api.listInvites({ ...state && { state }, limit: 1000, after })}
            />
            <a class="button primary" href={hrefOf("invites", "new")}>New invite</a>
          </>
        )}
      </ViewHead>
      {one === null && (
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
            onChange={(it) => {
              setState(it);
              go(START);
              picked.clear();
            }}
          />
          <Choice
            label="Order"
            value={sort}
            options={Object.entries(SORTS) as [Sort, string][]}
            onChange={(it) => {
              setSort(it);
              go(START);
            }}
          />
        </div>
      )}
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
        {...one === null && { picked }}
        of={{ ...all, data: page, trail, go, stale: all.of !== state }}
        columns={columns}
        id={(it) => it.id}
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
      {one !== null && <History of="invite" id={one} />}
      {making && <NewInvite onClose={() => leaveFor("invites")} />}
      {isBulk && (
        <BulkDialog
          action="Cancel"
          done="canceled"
          stay="Keep them"
          noun="invite"
          rows={[...picked.rows.values()].filter((it) => inviteState(it, now) === "open")}
          name={nameOf}
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

function CancelInvite({ invite, onClose }: { invite: Invite; onClose: () => void }): JSX.Element {
  const { api, live, say } = useSession();
  return (
    <Confirm
      title="Cancel this invite?"
      action="Cancel the invite"
      stay="Keep it"
      danger
      onClose={onClose}
      work={async () => {
        await api.cancelInvite(invite.id);
        say("The invite was canceled");
        live.touch("invites");
      }}
    >
      {invite.note !== "" && (
        <p>
          <bdi class="note">{visible(invite.note)}</bdi>
        </p>
      )}
      <p>
        Its link stops working immediately.{" "}
        <strong>This cannot be undone</strong>, but you can create another invite.
      </p>
    </Confirm>
  );
}

const LOOKS: Readonly<Record<InviteState, Look>> = {
  open: "accent",
  used: "good",
  expired: "plain",
  canceled: "plain",
};

function StateBadge({ state }: { state: InviteState }): JSX.Element {
  return <Badge look={LOOKS[state]}>{state}</Badge>;
}

function Outcome({ it, now }: { it: Invite; now: number }): JSX.Element {
  const state = inviteState(it, now);
  const time = state === "used" ? it.usedAt! : state === "canceled" ? it.canceledAt! : it.expiresAt;
  return (
    <>
      {state === "open" ? "expires" : state} <When time={time} now={now} ahead={state === "open"} />
      {state === "used" && (
        <>
          {" "}
          by {it.usedBy === null ? "an unknown user" : <Who signPub={it.usedBy} />}
        </>
      )}
    </>
  );
}
