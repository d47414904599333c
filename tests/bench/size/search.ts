/**
 * Searches in a file of many users: the first page, the next, counts, and how long other work waits.
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { UserQuery } from "../../../src/core/store/search.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { writeDataset } from "../../tools/dataset.ts";
import { median, timed } from "../measure.ts";
import { type Row, whole } from "../table.ts";
import type { World } from "../world.ts";

const ROUNDS = 7;
/** The goal of the first page of a search, and of a delay of the event loop, milliseconds. */
const GOAL_MS = 50;
const DELAY_MS = 10;

/** The searches; counts of different roles, because one that was counted is kept. */
const QUERIES: Readonly<Record<string, UserQuery>> = {
  "a name that one in 100 has": { search: "ada 9" },
  "a name that one in 1,000 has": { search: "ada 99" },
  "a name that one in 100,000 has": { search: "ada 9999" },
  "a name that nobody has": { search: "nobody" },
  "users by name": { sort: "handle" },
  "newest admins first": { role: "admin", sort: "created", order: "desc" },
  "one in 1,000, newest first": { search: "ada 99", sort: "created", order: "desc" },
};

/** Measures in a file of as many users as there are records. */
export async function search({ records }: World): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), "unibus-search-"));
  try {
    writeDataset(`${dir}/a.db`, { rooms: 100, users: records, invites: 0 });
    await using store = openSqlite(`${dir}/a.db`, { readOnly: true });
    const rows: Row[] = [];
    const delays: number[] = [];
    let last = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      delays.push(now - last - 1);
      last = now;
    }, 1);
    // Opens the file.
    await store.search!.users({ limit: 1 });
    for (const [what, query] of Object.entries(QUERIES)) {
      const times: number[] = [];
      for (let i = 0; i < ROUNDS; i++) {
        times.push(await timed(() => store.search!.users({ ...query, limit: 50 })));
      }
      const ms = median(times);
      rows.push({
        what: `first page of ${what}, ${whole(records)} users`,
        found: `${whole(ms)} ms`,
        ratio: ms,
        goal: { most: GOAL_MS, unit: " ms" },
      });
    }
    for (const query of [{}, { search: "ada 9" }]) {
      const first = await timed(() => store.search!.users({ ...query, limit: 1, total: true }));
      const again = await timed(() => store.search!.users({ ...query, limit: 1, total: true }));
      rows.push({
        what: "search" in query ? "count of a search" : "count of all users",
        found: `${whole(first)} ms, while nothing changes ${whole(again)} ms`,
      });
    }
    clearInterval(timer);
    delays.sort((a, b) => a - b);
    const p99 = delays[Math.floor((delays.length - 1) * 0.99)]!;
    rows.push({
      what: "delay of the event loop meanwhile",
      found: `p99 ${whole(p99)} ms, longest ${whole(delays.at(-1)!)} ms`,
      ratio: p99,
      goal: { most: DELAY_MS, unit: " ms" },
    });
    return rows;
  } finally {
    await rm(dir, { recursive: true });
  }
}
