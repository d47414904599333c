/**
 * A process that moves a file into a bucket, to be stopped or killed: `move_child.ts DB NATS_JSON
 * [OPTIONS_JSON]`. Prints each step of its progress and, at the end, `done` or the error's code and
 * message, a line each. `back` in the options moves the other way.
 */

import { migrateKvToSqlite, migrateSqliteToKv, StoreError } from "../../mod.ts";

const [db, nats, options = "{}"] = Deno.args;
const { back, ...given } = JSON.parse(options);
try {
  await (back ? migrateKvToSqlite : migrateSqliteToKv)({
    db: db!,
    nats: JSON.parse(nats!),
    backup: false,
    onProgress: ({ phase, done }) => console.log(phase, done),
    ...given,
  });
} catch (error) {
  console.log(error instanceof StoreError ? `failed ${error.code}: ${error.message}` : error);
  Deno.exit(1);
}
