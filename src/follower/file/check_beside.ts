/**
 * Checks the file of a follower while it is applied to, without keeping the process from other work.
 *
 * @module
 */

import { pause } from "../../core/async/wait.ts";
import { StoreError } from "../../core/errors.ts";
import { connect, run } from "../../sqlite/file/connect.ts";
import { toStoreError } from "../../sqlite/file/errors.ts";
import { answering, FileThread } from "../../sqlite/file/thread.ts";
import { damageOf } from "../../sqlite/health.ts";
import { checkingValues } from "./check.ts";
import { reading } from "./reading.ts";

type Work = { damage: [undefined, string | null]; close: [undefined, void] };

/** Milliseconds of checking, and those that others have then: they may need more than half of the time. */
const TURN = { own: 5, others: 15 };

/** What the thread runs: SQLite checks all pages in one go. */
const SOURCE = `import { DatabaseSync } from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";
const db = new DatabaseSync(workerData.path, { readOnly: true });
db.exec("PRAGMA busy_timeout = 5000");
const damage = () => (${damageOf})(db);
(${answering})(parentPort, { damage, close: () => db.close() });`;

/**
 * Checks a file as before a promotion. What is applied meanwhile is not checked.
 *
 * @throws {StoreError} `corrupt`: it is damaged, or not what its bucket held; `refused`: it is not exact;
 * `aborted`
 */
export async function checkBeside(path: string, signal?: AbortSignal): Promise<void> {
  const attempt = `Checking ${path}`;
  const thread = new FileThread<Work>(SOURCE, { path }, attempt);
  try {
    const found = await thread.ask("damage", undefined);
    if (found !== null) throw new StoreError("corrupt", `${attempt}: ${found}`);
  } finally {
    await thread.close();
  }
  const db = connect(path, { busyTimeout: 5000, readOnly: true });
  try {
    // All of it is read as of the first read.
    run(db, "BEGIN");
    const held = reading(db).held();
    if (held === null || !held.exact) {
      throw new StoreError("refused", `${attempt}: it is not exact`, { field: "position" });
    }
    let begun = performance.now();
    for (const _ of checkingValues(db, path, held)) {
      if (performance.now() - begun < TURN.own) continue;
      if (signal?.aborted) throw new StoreError("aborted", attempt, { cause: signal.reason });
      await pause(TURN.others);
      begun = performance.now();
    }
  } catch (error) {
    throw toStoreError(error, attempt);
  } finally {
    db.close();
  }
}
