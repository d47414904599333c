/**
 * The thread that works on a follower's file, so that nothing waits for the disk.
 *
 * @module
 */

import { KINDS } from "../../core/model.ts";
import { MARKER_KEY } from "../../jetstream/records/keys.ts";
import { answering, FileThread } from "../../sqlite/file/thread.ts";
import { TABLES } from "../../sqlite/rows.ts";
import { keeping } from "../history/table.ts";
import { loader } from "./loading.ts";
import type { Work, WorkOptions } from "./messages.ts";
import { reading } from "./reading.ts";
import { statements } from "./statements.ts";
import { work } from "./work.ts";

/** What the thread runs. */
const SOURCE = `import * as sqlite from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";
const parts = { answering: ${answering}, keeping: ${keeping}, loader: ${loader},
  reading: ${reading}, statements: ${statements} };
(${work})(parts, sqlite, parentPort, workerData);`;

/** A thread with one file open. */
export class Thread extends FileThread<Work> {
  /**
   * @param path The file; its schema must be there
   * @param lock The file whose lock says who applies
   */
  constructor(path: string, lock: string) {
    const tables = KINDS.map((kind): WorkOptions["tables"][number] => {
      const { columns, key } = TABLES[kind];
      return [kind, columns.split(", "), key.split(", ")];
    });
    super(
      SOURCE,
      { path, lock, marker: MARKER_KEY, tables } satisfies WorkOptions,
      `Following in ${path}`,
    );
  }
}
