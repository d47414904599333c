/**
 * The history of a follower's file while a move fills the archive of its bucket.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { SQLInputValue } from "node:sqlite";
import { openJetStream, openSqlite } from "../../../mod.ts";
import { did } from "../../../src/core/history/entry.ts";
import type { HistoryEntry } from "../../../src/core/history/entry.ts";
import type { Thread } from "../../../src/follower/file/thread.ts";
import type { MoreHistory, TailEntry } from "../../../src/follower/history/table.ts";
import { HistoryFiller } from "../../../src/follower/watch/history_filler.ts";
import { ArchiveWriter } from "../../../src/jetstream/history/writer.ts";
import { encodeEntry } from "../../../src/jetstream/records/entries.ts";
import { until } from "../../cli/serve/kit.ts";
import { testServer } from "../../helpers/nats.ts";
import { inDir, person } from "../../helpers/sqlite.ts";
import { rawBucket } from "../kit.ts";

/** The history of a file. */
async function historyOf(db: string): Promise<HistoryEntry[]> {
  await using store = openSqlite(db);
  for (let i = 0; i < 5; i++) await store.addUser(person(i));
  return (await store.history()).items;
}

Deno.test("what a move brings into the archive comes before the entries of its bucket, whenever it is read", () =>
  inDir(async (dir) => {
    await using server = await testServer();
    await (await openJetStream({ servers: server.url })).close();
    await using raw = await rawBucket(server.url);
    const { bucket } = raw;
    const entries = await historyOf(`${dir}/a.db`);
    const deadline = Date.now() + 60_000;
    const writer = await ArchiveWriter.begin(bucket, null, () => {});
    await writer.write(entries.slice(0, 1), deadline);
    const tail: TailEntry[] = [];
    const arrive = async () => {
      await writer.write(entries.slice(1), deadline);
      const author = { by: "server", at: new Date().toISOString(), wrote: () => {} };
      const entry = encodeEntry(did.moved("file", "bucket UNIBUS"), author, 1);
      const write = { key: "users.a", value: "1" };
      const number = await bucket.commit([write], deadline, { entry });
      tail.push({ number, value: new TextEncoder().encode(entry) });
    };
    // Between the look at the archive's end and what follows from it.
    let hasArrived = false;
    const { nc } = bucket;
    const held = new Proxy(nc, {
      get(target, name) {
        const found = Reflect.get(target, name);
        if (name !== "request") return typeof found === "function" ? found.bind(target) : found;
        return async (subject: string, ...rest: [string]) => {
          const answer = await target.request(subject, ...rest);
          if (!hasArrived && subject === "$JS.API.STREAM.MSG.GET.UNIBUS_HISTORY") {
            hasArrived = true;
            await arrive();
          }
          return answer;
        };
      },
    });
    Object.defineProperty(bucket, "nc", { get: () => rows.length > 0 ? held : nc });
    const rows: SQLInputValue[][] = [];
    const state = { revision: null, behind: 0, gap: null };
    const answers = {
      historyEnd: () => ({ cut: null, rows: rows.slice(-2).reverse() }),
      history: () => state,
      tail: (after: number) => tail.filter(({ number }) => number > after),
      addHistory: (more: MoreHistory) => {
        rows.push(...more.rows);
        return state;
      },
    };
    const ask = (what: keyof typeof answers, given: never) => Promise.resolve(answers[what](given));
    const filler = new HistoryFiller({
      bucket,
      thread: { ask } as unknown as Thread,
      accept: false,
    });
    try {
      await until(() => hasArrived && rows.at(-1)![0] === 1, "the entry of the move");
      const wanted = [...entries.map((it) => it.revision), `1.${tail[0]!.number}`];
      assert.deepEqual(rows.map(([generation, number]) => `${generation}.${number}`), wanted);
    } finally {
      filler.stop();
    }
  }));
