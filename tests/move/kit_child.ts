/**
 * A process that moves a file into a bucket, to be stopped or killed: `move_child.ts DB NATS_JSON
 * [OPTIONS_JSON]`. Prints each step of its progress and, at the end, `done` or the error's code and
 * message, a line each. `back` in the options moves the other way, `stops` stops the process in the middle
 * of its copy.
 */

import process from "node:process";
import { migrateKvToSqlite, migrateSqliteToKv, StoreError } from "../../mod.ts";

const [db, nats, options = "{}"] = Deno.args;
const { back, stops, ...given } = JSON.parse(options);
let isStopped = false;
try {
  await (back ? migrateKvToSqlite : migrateSqliteToKv)({
    db: db!,
    nats: JSON.parse(nats!),
    backup: false,
    onProgress: ({ phase, done }) => {
      console.log(phase, done);
      if (!stops || isStopped || phase !== "copy" || done === 0) return;
      isStopped = true;
      process.kill(process.pid, "SIGSTOP");
    },
    ...given,
  });
} catch (error) {
  console.log(error instanceof StoreError ? `failed ${error.code}: ${error.message}` : error);
  Deno.exit(1);
}
