/**
 * Searches in a file of many users: the first page, counts, how long other work waits, what the indexes
 * cost, and opening a file of before they were there.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { UserQuery } from "../../../src/core/store/search.ts";
import { MIGRATIONS } from "../../../migrations/mod.ts";
import type { Store } from "../../../src/core/store.ts";
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
  "two letters that nobody has": { search: "qq" },
  "a letter that nobody has": { search: "ж" },
  "the first digits of a key": { search: "abcdef" },
  "users by name": { sort: "handle" },
  "newest admins first": { role: "admin", sort: "created", order: "desc" },
  "one in 1,000, newest first": { search: "ada 99", sort: "created", order: "desc" },
};

const mega = (bytes: number) => `${whole(bytes / 1e6)} MB`;
const sizeOf = async (path: string) => (await stat(path)).size;

/** Takes the indexes of lists and names away, as in a file of before. */
function makeOld(path: string): void {
  const db = new DatabaseSync(path);
  const made = db.prepare(`SELECT type, name FROM sqlite_schema WHERE name NOT GLOB 'user_names_*'
    OR name IN ('user_names_state', 'user_names_changed', 'user_names_forget')`).all();
  const sql = MIGRATIONS.slice(6).map((it) => it.sql).join("");
  const isOf = (name: unknown) => new RegExp(`CREATE [A-Z ]+ ${name}\\b`).test(sql);
  const order = ["trigger", "index", "table"];
  made.filter(({ name }) => isOf(name))
    .sort((a, b) => order.indexOf(String(a.type)) - order.indexOf(String(b.type)))
    .forEach(({ type, name }) => db.exec(`DROP ${type} IF EXISTS ${name}`));
  db.exec("DELETE FROM schema_migrations WHERE version > 6; PRAGMA user_version = 6; VACUUM");
  db.close();
}

/** Waits until the index of names is filled; meanwhile users are added one by one. */
async function filling(store: Store, path: string, before: number): Promise<Row[]> {
  const db = new DatabaseSync(path, { readOnly: true });
  const state = db.prepare("SELECT upto FROM user_names_state");
  const adding = async () => {
    const signPub = randomBytes(32).toString("hex");
    return await timed(() => store.addUser({ signPub, kexPub: signPub, handle: "bench" }));
  };
  const times: number[] = [];
  const took = await timed(async () => {
    while (state.get()!.upto !== "g") {
      times.push(await adding());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  db.close();
  const after: number[] = [];
  for (let i = 0; i < 400; i++) after.push(await adding());
  for (const it of [times, after]) it.sort((a, b) => a - b);
  const [p50, most] = [median(times), times.at(-1)!];
  return [
    {
      what: "filling the index of names, beside searches and writes",
      found: `${whole(took)} ms, ${mega(await sizeOf(path) - before)} more`,
    },
    {
      what: "adding a user meanwhile",
      found: `p50 ${p50.toFixed(1)} ms, longest ${whole(most)} ms`,
      baseline: `afterwards p50 ${median(after).toFixed(1)} ms`,
    },
  ];
}

/** Measures in a file of as many users as there are records. */
export async function search({ records }: World): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), "unibus-search-"));
  try {
    writeDataset(`${dir}/a.db`, { rooms: 100, users: records, invites: 0 });
    const path = `${dir}/a.db`;
    const rows: Row[] = [];
    makeOld(path);
    const before = await sizeOf(path);
    const opening = await timed(() => openSqlite(path).close());
    const opened = await sizeOf(path);
    rows.push({
      what: `opening a file of schema version 6, ${whole(records)} users`,
      found: `${whole(opening)} ms, ${mega(opened - before)} more than ${mega(before)}`,
    });
    await using store = openSqlite(path);
    // Opens the file.
    await store.search!.users({ limit: 1 });
    rows.push({
      what: "first page of a name that nobody has, without the index of names",
      found: `${whole(await timed(() => store.search!.users({ search: "nobody" })))} ms`,
    });
    rows.push(...await filling(store, path, opened));
    const delays: number[] = [];
    let last = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      delays.push(now - last - 1);
      last = now;
    }, 1);
    for (const [what, query] of Object.entries(QUERIES)) {
      const times: number[] = [];
      for (let i = 0; i < ROUNDS; i++) {
        times.push(await timed(() => store.search!.users({ ...query, limit: 50 })));
      }
      const ms = median(times.sort((a, b) => a - b));
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
