/**
 * `migrate-to-kv`
 *
 * @module
 */

import { Option } from "@commander-js/extra-typings";
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
import { wholeNumber } from "../../flags.ts";
import { tellMove } from "../../store/move.ts";
import { natsTarget } from "../../store/open.ts";

/** Creates the command. */
export function migrateToKvCommand(context: Context): CommandUnknownOpts {
  return withJson(withProgress(withServer(
    command(
      context,
      "migrate-to-kv",
      "Move a control plane from a SQLite file to a NATS JetStream bucket: checks the file, backs it " +
        "up, copies it and verifies every record. Stop the server first. Run it again to resume an " +
        "interrupted move; a completed move is compared again and not changed",
      [
        "membershipd migrate-to-kv --db ./local_files/unibus.db --nats-url nats://127.0.0.1:4222 --dry-run",
        "membershipd migrate-to-kv --db ./local_files/unibus.db --nats-url nats://127.0.0.1:4222",
        "membershipd migrate-to-kv --nats-url tls://n1:4222,tls://n2:4222,tls://n3:4222 --replicas 3 --ca ca.pem",
      ],
    )
      .option("--db <path>", DB_HELP)
      .option(
        "--replicas <n>",
        "copies of the stream, 1 to 5 (default: unchanged, 1 if it is new)",
        wholeNumber(1, 5),
      )
      .option("--backup <path>", "path of the backup (default: next to the file)")
      .addOption(new Option("--no-backup", "do not create a backup"))
      .option("--no-history", "leave the history behind")
      .option("--dry-run", "check everything and show the plan without writing anything")
      .option("--replace", "replace the bucket's contents, after saving them to a file"),
  ))).action(async (flags) => {
    const { replicas, backup } = flags;
    const db = await chosenFile(context, flags.db);
    const nats = await natsTarget(context, flags);
    const { migrateSqliteToKv } = await import("../../../mod.ts");
    const { refuseClientsAccount } = await import("../../store/account.ts");
    await tellMove(
      context,
      flags,
      async (options) => {
        await refuseClientsAccount(nats, context.io.signal);
        return await migrateSqliteToKv({ ...options, db, nats, replicas, backup });
      },
      (report) =>
        report.backup === null
          ? `run migrate-to-sqlite to move it back to ${report.db}; no backup was created`
          : `restore ${report.backup} if needed`,
    );
  });
}
