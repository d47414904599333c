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
  withNats,
  withProgress,
} from "../../command.ts";
import { chosenFile } from "../../store/chosen.ts";
import { UsageError } from "../../terminal/failure.ts";
import { tellMove } from "../../store/move.ts";
import { makeFolder } from "../../store/folder.ts";
import { natsTarget } from "../../store/open.ts";

/** Creates the command. */
export function migrateToSqliteCommand(context: Context): CommandUnknownOpts {
  return withJson(withProgress(withNats(
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
      .option("--dry-run", "check everything and show the plan without writing anything")
      .option("--replace", "even if the file contains other or newer records"),
    { required: true },
  ))).action(async (flags) => {
    const { natsUrl, dryRun, replace } = flags;
    if (natsUrl === undefined) throw new UsageError("--nats-url is required");
    const db = await chosenFile(context, flags.db);
    const nats = await natsTarget(context, { ...flags, natsUrl });
    if (flags.db === undefined && !dryRun) await makeFolder(db);
    const { migrateKvToSqlite } = await import("../../../mod.ts");
    await tellMove(
      context,
      flags,
      (onProgress) =>
        migrateKvToSqlite({
          db,
          nats,
          onProgress,
          signal: context.io.signal,
          dryRun: dryRun === true,
          replace: replace === true,
        }),
      (report) =>
        report.backup === null
          ? `bucket ${report.bucket} is unchanged`
          : `bucket ${report.bucket} is unchanged; restore ${report.backup} if needed`,
    );
  });
}
