/**
 * A follower of a large bucket: loading, making it the primary, and what a node needs in memory.
 *
 * @module
 */

import { execFile } from "node:child_process";
import { rm, stat } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { followStore } from "../../../src/follower/mod.ts";
import { flip, openStill, requireComplete } from "../../../src/follower/flip.ts";
import { openSqlite } from "../../../src/sqlite/mod.ts";
import { timed } from "../measure.ts";
import { type Row, whole } from "../table.ts";

const CHILD = fileURLToPath(new URL("./follower_child.ts", import.meta.url));
const IDLE = fileURLToPath(new URL("./idle_child.ts", import.meta.url));

/** A bucket. */
export interface Place {
  servers: string;
  bucket: string;
}

const run = async (...args: string[]) =>
  (await promisify(execFile)(process.execPath, ["run", "-A", "--no-check", ...args])).stdout;
const mega = (bytes: number) => `${whole(bytes / 1e6)} MB`;

/** Notes how late a timer of a millisecond comes. */
export class Delays {
  readonly #all: number[] = [];
  readonly #timer: ReturnType<typeof setInterval>;

  constructor() {
    let last = performance.now();
    this.#timer = setInterval(() => {
      const now = performance.now();
      this.#all.push(Math.max(0, now - last - 1));
      last = now;
    }, 1);
  }

  /** Ends; returns p50, p99 and the longest. */
  end(): [number, number, number] {
    clearInterval(this.#timer);
    const all = this.#all.sort((a, b) => a - b);
    const at = (part: number) => all[Math.floor((all.length - 1) * part)]!;
    return [at(0.5), at(0.99), at(1)];
  }
}

/** Loads a bucket of so many records; another process measures how late an idle event loop is. */
export async function loading(nats: Place, db: string, records: number): Promise<Row[]> {
  const idle = run(IDLE, "10000");
  const delays = new Delays();
  await using it = await followStore({ nats, db });
  let entries = 0;
  const took = await timed(async () => entries = (await it.whenExact()).entries);
  const [p50, p99, longest] = delays.end();
  const [, other] = JSON.parse(await idle) as number[];
  const rate = (count: number) => whole(count / took * 1000);
  return [
    {
      what: `first load of ${whole(records)} records`,
      found: `${rate(records)} records/s, ${rate(entries)} messages/s`,
    },
    {
      what: "delay of the event loop meanwhile",
      found: `p50 ${whole(p50)} ms, p99 ${whole(p99)} ms, longest ${whole(longest)} ms`,
      baseline: `of an idle process p99 ${whole(other!)} ms`,
      ratio: p99,
      goal: { most: 10, unit: " ms" },
    },
  ];
}

/** Makes the file a primary; it is gone afterwards. */
export async function flipping(db: string): Promise<Row[]> {
  let check: number;
  let took: number;
  {
    using file = openStill(db);
    check = await timed(() => Promise.resolve(requireComplete(file)));
    took = await timed(() => Promise.resolve(flip(file, { generation: 1, by: "test" })));
  }
  const { size } = await stat(db);
  const opening = await timed(() => openSqlite(db).close());
  await rm(db);
  return [
    { what: "the follower's file", found: mega(size) },
    { what: "every value checked, before writers are stopped", found: `${whole(check)} ms` },
    {
      what: "flip: the file is a primary",
      found: `${whole(took)} ms, opened and closed in ${whole(opening)} ms`,
      ratio: took,
      goal: { most: 1000, unit: " ms" },
    },
  ];
}

/** The memory of a process with a warm store, and with a follower beside it that is exact. */
export async function resident(nats: Place, db: string): Promise<Row[]> {
  const alone = JSON.parse(await run(CHILD, JSON.stringify(nats)));
  const followed = JSON.parse(await run(CHILD, JSON.stringify({ ...nats, follower: db })));
  return [{
    what: "resident memory of a node, its cache warm",
    found: `with a follower ${mega(followed.rss)}`,
    baseline: `without ${mega(alone.rss)}, before it opened ${mega(alone.before)}`,
    ratio: followed.rss / alone.rss,
  }, {
    what: "opening a store until its cache is warm",
    found: `with a follower ${whole(followed.warm)} ms`,
    baseline: `without ${whole(alone.warm)} ms`,
  }];
}
