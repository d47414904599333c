/**
 * `migrate-to-sqlite`
 *
 * @module
 */

import {
  command,
  type CommandUnknownOpts,
  type Context,
  DB_HELP,
  withJson,
  withProgress,
  withServer,
} from "../../command.ts";
import { chosenFile } from "../../store/chosen.ts";
import { tellMove } from "../../store/move.ts";
import { makeFolder } from "../../store/folder.ts";
import { natsTarget } from "../../store/open.ts";

/** Creates the command. */
export function migrateToSqliteCommand(context: Context): CommandUnknownOpts {
  return withJson(withProgress(withServer(
    command(
      context,
      "migrate-to-sqlite",
      "Move a control plane from a NATS JetStream bucket back to a SQLite file. The bucket is not " +
        "changed. An existing file is renamed. Stop the servers first",
      [
        "membershipd migrate-to-sqlite --nats-url nats://127.0.0.1:4222 --db ./local_files/unibus.db",
        "membershipd migrate-to-sqlite --nats-url nats://127.0.0.1:4222 --db ./new.db --dry-run --json",
      ],
    )
      .option("--db <path>", DB_HELP)
      .option(
        "--follower <path>",
        "a follower of the bucket: it is brought up to date and becomes the file, whatever its size",
      )
      .option("--no-history", "leave the history behind")
      .option("--dry-run", "check everything and show the plan without writing anything")
      .option("--replace", "even if the file contains other or newer records"),
  ))).action(async (flags) => {
    const db = await chosenFile(context, flags.db);
    const nats = await natsTarget(context, flags);
    if (flags.db === undefined && !flags.dryRun) await makeFolder(db);
    const { migrateKvToSqlite } = await import("../../../mod.ts");
    await tellMove(
      context,
      flags,
      (options) => migrateKvToSqlite({ ...options, db, nats, follower: flags.follower }),
      (report) =>
        report.backup === null
          ? `bucket ${report.bucket} is unchanged`
          : `bucket ${report.bucket} is unchanged; restore ${report.backup} if needed`,
    );
  });
}
