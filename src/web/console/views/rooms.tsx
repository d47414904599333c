/**
 * Rooms, and whether all members have the current key.
 *
 * @module
 */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Button } from "../../shared/ui/page.tsx";
import type { Room } from "../../../core/model.ts";
import type { RoomRoster } from "../../../core/operations.ts";
import type { RoomQuery } from "../../../core/store/search.ts";
import type { Api } from "../data/api.ts";
import { counted, number } from "../../shared/format.ts";
import { useLive, useSettled, useThrottled } from "../hooks.ts";
import { hrefOf } from "../route.ts";
import { useSearch } from "../data/search.ts";
import { useSession } from "../data/session.ts";
import { DownloadCsv } from "../ui/csv.tsx";
import { type Order, ORDERS, sortOf, useFilter } from "../ui/filters.tsx";
import { Name } from "../../shared/ui/key.tsx";
import { Listing, usePage } from "../ui/listing.tsx";
import { Badge, Choice, Day, Search, ViewHead, Who } from "../ui/pieces.tsx";
import type { Column } from "../ui/table.tsx";

const SIZE = 25;

interface Filter {
  search: string;
  keys: "" | "lacking";
  order: Order;
}

const ALL: Filter = { search: "", keys: "", order: "name" };
const COLUMNS = [
  "id",
  "subject",
  "encrypted",
  "owner",
  "epoch",
  "createdAt",
] as const satisfies readonly (keyof Room)[];

/** The list. */
export function Rooms(): JSX.Element {
  const { api, live } = useSession();
  const { rooms: revision } = useLive(live);
  const { filter, trail, isFiltered, change } = useFilter("rooms", ALL);
  const search = useSettled(filter.search.trim(), 180);
  const query: RoomQuery = {
    ...search && { search },
    ...filter.keys && { lacking: true },
    ...sortOf(filter.order, "id"),
  };
  const { can, total, read } = useSearch(
    (query: RoomQuery, signal) => api.with(signal).listRooms({ ...query, all: true }),
    query,
    {},
    revision,
  );
  const listed = usePage(
    (signal, after) => read({ limit: SIZE, after }, signal),
    query,
    revision,
    trail,
  );
  // A request a room: not at each of many changes.
  const rosters = useRosters(api, listed.data?.items ?? [], useThrottled(revision, 3_000));

  const columns: Column<Room>[] = [
    {
      head: "Room",
      cell: (it) => (
        <a href={hrefOf("rooms", it.id)}>
          <Name>{it.id}</Name>
        </a>
      ),
    },
    { head: "Owner", cell: (it) => <Who signPub={it.owner} /> },
    {
      head: "Members",
      number: true,
      cell: (it) => {
        const roster = rosters.get(it.id);
        return roster ? number(roster.members) : "…";
      },
    },
    { head: "Epoch", number: true, cell: (it) => number(it.epoch) },
    {
      head: "Current key",
      cell: (it) =>
        it.encrypted ? <Coverage roster={rosters.get(it.id)} /> : <Badge>cleartext</Badge>,
    },
    {
      head: "Created",
      cell: (it) => <Day time={it.createdAt} />,
    },
  ];
  return (
    <>
      <ViewHead title="Rooms">
        <DownloadCsv<Room>
          name="rooms.csv"
          columns={COLUMNS}
          read={(after) => read({ limit: 1000, after })}
        />
      </ViewHead>
      {can && (
        <search class="filters">
          <Search
            value={filter.search}
            maxLength={256}
            placeholder="Part of the id"
            onInput={(search) => change({ search })}
          />
          <Choice
            label="Current key"
            value={filter.keys}
            options={[["", "Any"], ["lacking", "Members without"]]}
            onChange={(keys) => change({ keys })}
          />
          <Choice
            label="Order"
            value={filter.order}
            options={ORDERS}
            onChange={(order) => change({ order })}
          />
        </search>
      )}
      <Listing
        noun="room"
        of={listed}
        total={total}
        columns={columns}
        id={(it) => it.id}
        size={SIZE}
      >
        <p role="status">{isFiltered ? "No rooms match." : "There are no rooms yet."}</p>
        {isFiltered
          ? <Button onClick={() => change(ALL)}>Clear filters</Button>
          : <p class="muted">Users create rooms with their clients; this console shows them.</p>}
      </Listing>
    </>
  );
}

type Summary = Pick<RoomRoster, "members" | "lacking">;

/** Counts members and those without the key, a few rooms at a time; null: unknown. */
function useRosters(
  api: Api,
  rooms: readonly Room[],
  revision: number,
): ReadonlyMap<string, Summary | null> {
  const [found, set] = useState<ReadonlyMap<string, Summary | null>>(new Map());
  useEffect(() => {
    const stop = new AbortController();
    const queue = [...rooms];
    const work = async (): Promise<void> => {
      for (let room = queue.shift(); room && !stop.signal.aborted; room = queue.shift()) {
        const { id } = room;
        const summary = await api.with(stop.signal).roomRoster(id, { limit: 1 }).catch(() => null);
        if (!stop.signal.aborted) set((old) => new Map(old).set(id, summary));
      }
    };
    for (let i = 0; i < 4; i++) void work();
    return () => stop.abort();
  }, [rooms.map((it) => it.id).join("\n"), revision]);
  return found;
}

/** Whether all members have the current key. */
export function Coverage({ roster }: { roster: Summary | null | undefined }): JSX.Element {
  if (roster === undefined) return <span class="muted">…</span>;
  if (roster === null) return <span class="muted">unknown</span>;
  return roster.lacking === 0
    ? <Badge look="good">up to date</Badge>
    : <Badge look="warn">{counted(roster.lacking, "member")} without</Badge>;
}
