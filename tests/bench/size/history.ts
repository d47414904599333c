/**
 * The history: what an entry adds to a change, and reading a long one.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { openJetStream, openSqlite, type Store } from "../../../mod.ts";
import { testCluster, testServer } from "../../helpers/nats.ts";
import { alternate, median, timed } from "../measure.ts";
import type { Row } from "../table.ts";
import type { World } from "../world.ts";

const ROUNDS = 400;
/** Entries in the file that is read. */
const ENTRIES = 1_000_000;
/** Each user has so many of them. */
const OF_ONE = 200;

const key = () => randomBytes(32).toString("hex");

/** Adds a user, and makes a room of ten, with and without a history, turn by turn. */
async function changes(
  where: string,
  open: (history: boolean) => Promise<Store>,
  goals: { put?: number; room?: number },
): Promise<Row[]> {
  await using kept = await open(true);
  await using none = await open(false);
  const add = (store: Store) => store.addUser({ signPub: key(), kexPub: key(), handle: "someone" });
  const room = (store: Store) => {
    const people = Array.from({ length: 10 }, () => ({ endpoint: key(), kexPub: key() }));
    const id = key();
    return store.createRoom({
      ...{ id, subject: id, owner: people[0]!, members: people.slice(1) },
      sealedKeys: people.map(({ endpoint }) => ({ endpoint, sealedKey: randomBytes(80) })),
    });
  };
  const rows: Row[] = [];
  const both = [["addUser", add, goals.put], ["createRoom", room, goals.room]] as const;
  for (const [name, call, most] of both) {
    const [found, baseline] = (await alternate(ROUNDS, [() => call(kept), () => call(none)]))
      .map(median) as [number, number];
    rows.push({
      what: `${name} with a history, ${where}`,
      found: `${found.toFixed(3)} ms`,
      baseline: `without one ${baseline.toFixed(3)} ms`,
      ratio: found / baseline,
      ...most !== undefined && { goal: { most } },
    });
  }
  return rows;
}

/** Fills a history; its chain is not one that verifies. */
function fill(path: string, entries: number): void {
  const db = new DatabaseSync(path);
  db.exec(`PRAGMA cache_size = -524288; PRAGMA synchronous = OFF; BEGIN;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${entries})
    INSERT INTO history SELECT 0, i, '2026-01-02T03:04:05.006Z',
      printf('%064x', 1000000 + i % 7), iif(i % 2, 'user.revoked', 'user.restored'),
      printf('%064x', i % ${Math.max(1, entries / OF_ONE)}), NULL, NULL, NULL, NULL, zeroblob(32)
      FROM n;
    COMMIT`);
  db.close();
}

/** Reads pages of a long history, and follows it from its beginning. */
async function reading(dir: string, entries: number): Promise<Row[]> {
  const path = join(dir, "long.db");
  await openSqlite(path).close();
  fill(path, entries);
  await using store = openSqlite(path);
  const user = () => {
    const number = Math.floor(Math.random() * (entries / OF_ONE));
    return number.toString(16).padStart(64, "0");
  };
  const [pages] = await alternate(100, [
    () => store.history({ user: user(), newest: true, limit: 100 }),
  ]);
  const last = Math.min(entries, 200_000);
  const following = await timed(async () => {
    for await (const { revision } of store.follow({ after: null })) {
      if (revision === `0.${last}`) return;
    }
  });
  const rate = last / (following / 1000);
  const many = entries.toLocaleString("en-US");
  return [
    {
      what: `a page of one user's history, ${many} entries`,
      found: `${median(pages!).toFixed(2)} ms, slowest ${pages!.at(-1)!.toFixed(2)} ms`,
      ratio: median(pages!),
      goal: { most: 20, unit: " ms" },
    },
    {
      what: `following a history of ${many} entries`,
      found: `${Math.round(rate).toLocaleString("en-US")} entries/s`,
      ratio: rate,
      goal: { least: 20_000, unit: "/s" },
    },
  ];
}

/** Runs all. */
export async function history({ asked }: World): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), "unibus-bench-history-"));
  try {
    const inFile = (history: boolean) =>
      Promise.resolve(openSqlite(join(dir, `${history}.db`), { history }));
    const rows = await changes("SQLite", inFile, { put: 1.2, room: 1.1 });
    {
      await using cluster = await testCluster(3, { jetstream: { syncAlways: true } });
      const inCluster = (history: boolean) =>
        openJetStream({ servers: cluster.urls, bucket: `h-${history}`, replicas: 3, history });
      rows.push(...await changes("three nodes", inCluster, { put: 1.4, room: 1.1 }));
    }
    {
      await using server = await testServer({ jetstream: { syncAlways: true } });
      const inServer = (history: boolean) =>
        openJetStream({ servers: server.url, bucket: `h-${history}`, history });
      rows.push(...await changes("one server", inServer, {}));
    }
    return [...rows, ...await reading(dir, asked ?? ENTRIES)];
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
