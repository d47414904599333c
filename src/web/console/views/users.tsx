/**
 * Users: find some, take or give access.
 *
 * @module
 */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Button } from "../../shared/ui/page.tsx";
import type { User, UserRole, UserStatus } from "../../../core/model.ts";
import type { Found, UserQuery } from "../../../core/store/search.ts";
import { visible } from "../../shared/format.ts";
import { useLive, useLoad, useSettled } from "../hooks.ts";
import { hrefOf } from "../route.ts";
import { useSearch } from "../data/search.ts";
import { useSession } from "../data/session.ts";
import { type Order, ORDERS, sortOf, useFilter } from "../ui/filters.tsx";
import { type Idle, idleChoices, IdleNote, readIdle, sinceOf } from "../ui/idle.tsx";
import { BulkBar, BulkDialog, usePicked } from "../ui/bulk.tsx";
import { DownloadCsv } from "../ui/csv.tsx";
import { Key, Name } from "../../shared/ui/key.tsx";
import { Listing, usePage } from "../ui/listing.tsx";
import { Badge, Choice, Day, Search, ViewHead, Who } from "../ui/pieces.tsx";
import type { Column } from "../ui/table.tsx";
import { type UserAction, UserDialog } from "./user_actions.tsx";

const SIZE = 50;

interface Filter {
  search: string;
  status: UserStatus | "";
  role: UserRole | "";
  keys: "" | "lacking";
  idle: Idle;
  order: Order;
}

const ALL: Filter = { search: "", status: "", role: "", keys: "", idle: "", order: "name" };
const COLUMNS = [
  "handle",
  "signPub",
  "kexPub",
  "role",
  "status",
  "createdAt",
  "revokedAt",
] as const satisfies readonly (keyof User)[];
const idOf = (it: User): string => it.signPub;
const nameOf = (it: User): string => visible(it.handle);

/** The list. */
export function Users(): JSX.Element {
  const { api, live, me, names } = useSession();
  const { users: revision } = useLive(live);
  const [asked, ask] = useState<{ user: User; action: UserAction } | null>(null);
  const [bulk, askBulk] = useState<"revoke" | "restore" | null>(null);
  const picked = usePicked(idOf, nameOf);
  const { filter, trail, isFiltered, change } = useFilter("users", ALL, picked.clear);
  const search = useSettled(filter.search.trim(), 180);
  const { status, role, keys, idle } = filter;
  const query: UserQuery = {
    ...search && { search },
    ...status && { status },
    ...role && { role },
    ...keys && { lacking: true },
    ...sortOf(filter.order, "handle"),
  };
  const { can, total, read } = useSearch(
    (it: UserQuery, signal) => api.with(signal).listUsers(it),
    query,
    {},
    revision,
  );
  const found = usePage(
    async (signal, after): Promise<Found<User>> => {
      const page = idle === ""
        ? await read({ limit: SIZE, after }, signal)
        : await readIdle((part) => api.with(signal).listUsers({ ...query, ...part }), after, {
          size: SIZE,
          idle,
          now: Date.now() + api.clockOffset(),
        });
      names.learn(page.items);
      return page;
    },
    { ...query, idle },
    revision,
    trail,
  );
  const { data: server } = useLoad((signal) => api.with(signal).status(), "status");
  const chosen = [...picked.rows.values()];
  const isSelf = (it: User): boolean => it.signPub === me.signPub;

  const columns: Column<User>[] = [
    {
      head: "Name",
      cell: (it) => (
        <>
          <a href={hrefOf("users", it.signPub)}>
            <Name>{it.handle}</Name>
          </a>
          {isSelf(it) && <Badge look="accent">you</Badge>}
        </>
      ),
    },
    {
      head: "Key",
      cell: (it) => <Key value={it.signPub} what={`the key of ${visible(it.handle)}`} />,
    },
    { head: "Role", cell: (it) => <RoleBadge role={it.role} /> },
    { head: "Status", cell: (it) => <StatusBadge status={it.status} /> },
    {
      head: "Added",
      cell: (it) => <Day time={it.createdAt} />,
    },
    {
      head: "Actions",
      actions: true,
      cell: (it) => {
        const action = it.status === "active" ? "revoke" : "restore";
        const text = it.status === "active" ? "Revoke" : "Restore";
        return (
          <Button
            label={`${text} ${visible(it.handle)}`}
            onClick={() => ask({ user: it, action })}
          >
            {text}
          </Button>
        );
      },
    },
  ];

  return (
    <>
      <ViewHead title="Users">
        <DownloadCsv<User>
          name="users.csv"
          columns={COLUMNS}
          read={(after) =>
            idle === "" ? read({ limit: 1000, after }) : api.listUsers({
              ...query,
              unseenSince: sinceOf(idle, Date.now() + api.clockOffset()),
              limit: 1000,
              after,
            })}
        />
        <a class="button primary" href={hrefOf("invites", "new")}>Invite someone</a>
      </ViewHead>
      {can && (
        <search class="filters">
          <Search
            value={filter.search}
            maxLength={64}
            placeholder="Name or start of key"
            onInput={(search) => change({ search })}
          />
          <Choice
            label="Status"
            value={status}
            options={[["", "Any"], ["active", "Active"], ["revoked", "Revoked"]]}
            onChange={(status) => change({ status })}
          />
          <Choice
            label="Role"
            value={role}
            options={[["", "Any"], ["admin", "Admin"], ["user", "User"]]}
            onChange={(role) => change({ role })}
          />
          <Choice
            label="Room keys"
            value={keys}
            options={[["", "Any"], ["lacking", "Lacks a key"]]}
            onChange={(keys) => change({ keys })}
          />
          <Choice
            label="Idle"
            value={idle}
            options={idleChoices(server?.startedAt ?? null, Date.now() + api.clockOffset())}
            onChange={(idle) => change({ idle })}
          />
          <Choice
            label="Order"
            value={filter.order}
            options={ORDERS}
            onChange={(order) => change({ order })}
          />
        </search>
      )}
      {idle !== "" && server && <IdleNote idle={idle} status={server} />}
      <BulkBar count={chosen.length} noun="user" onClear={picked.clear}>
        <Button onClick={() => askBulk("restore")}>Restore access</Button>
        <Button look="danger" onClick={() => askBulk("revoke")}>Revoke access</Button>
      </BulkBar>
      <Listing
        noun="user"
        of={found}
        picked={picked}
        total={idle === "" ? total : found.data?.total ?? null}
        columns={columns}
        id={idOf}
        size={SIZE}
      >
        <p role="status">{isFiltered ? "No users match." : "There are no users yet."}</p>
        {isFiltered && <Button onClick={() => change(ALL)}>Clear filters</Button>}
      </Listing>
      {bulk && (
        <BulkDialog
          {...BULK[bulk]}
          noun="user"
          rows={chosen.filter((it) => it.status === BULK[bulk].from)
            // With oneself all ends.
            .sort((a, b) => Number(isSelf(a)) - Number(isSelf(b)))}
          id={idOf}
          show={(it) => <Who signPub={it.signPub} was={it.handle} link={false} />}
          work={(it) => api[BULK[bulk].call](it.signPub)}
          onDone={(done) => {
            picked.set(done, false);
            live.touch("users", "rooms");
          }}
          onClose={() => askBulk(null)}
        >
          {bulk === "revoke" && chosen.some(isSelf) && (
            <>
              <strong>You are one of them and will be signed out.</strong>
              {" "}
            </>
          )}
          {BULK[bulk].consequence}
        </BulkDialog>
      )}
      {asked && (
        <UserDialog
          action={asked.action}
          user={asked.user}
          onClose={() => ask(null)}
          onDone={() => {}}
        />
      )}
    </>
  );
}

const BULK = {
  revoke: {
    action: "Revoke",
    done: "revoked",
    from: "active",
    call: "revokeUser",
    consequence:
      "Requests are refused from the next one on, and open bus connections are closed. You can undo " +
      "this with Restore access.",
  },
  restore: {
    action: "Restore",
    done: "restored",
    from: "revoked",
    call: "restoreUser",
    consequence: "The same keys can connect again, to the same rooms as before.",
  },
} as const;

/** Admin or user. */
export function RoleBadge({ role }: { role: UserRole }): JSX.Element {
  return role === "admin" ? <Badge look="accent">admin</Badge> : <Badge>user</Badge>;
}

/** Active or revoked. */
export function StatusBadge({ status }: { status: UserStatus }): JSX.Element {
  return status === "active"
    ? <Badge look="good">active</Badge>
    : <Badge look="bad">revoked</Badge>;
}
