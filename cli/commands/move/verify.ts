/**
 * `verify`
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
import { tellDifferences } from "../../store/compare.ts";
import { natsTarget, openFile, openNats } from "../../store/open.ts";
import { compareHistories } from "./histories.ts";
import { isFollower, verifyFollower } from "../follower/inspect.ts";

/** Creates the command. */
export function verifyCommand(context: Context): CommandUnknownOpts {
  return withJson(withProgress(withServer(
    command(
      context,
      "verify",
      "Compare a SQLite file with a NATS JetStream bucket, record by record, and list the differences " +
        "by key; and their histories. The file can be a follower in use: then keys are compared as of its position. " +
        "Writes nothing. Exits with code 3 if they differ",
      [
        "membershipd verify --db ./local_files/unibus.db --nats-url nats://127.0.0.1:4222",
        "membershipd verify --db ./local_files/follower.db --nats-url nats://127.0.0.1:4222",
        "membershipd verify --nats-url nats://127.0.0.1:4222 --json | jq .equal",
      ],
    ).option("--db <path>", DB_HELP),
  ))).action(async (flags) => {
    const db = await chosenFile(context, flags.db);
    if (await isFollower(db)) {
      return await verifyFollower(context, flags, db, await natsTarget(context, flags));
    }
    await using file = await openFile(db, { readOnly: true, create: false });
    await using bucket = await openNats(context, flags, false);
    const { signal } = context.io;
    await tellDifferences(context, flags, {
      name: db,
      word: "sqlite",
      records: file.records({ signal }),
    }, {
      name: `bucket ${flags.bucket ?? "UNIBUS"}`,
      word: "kv",
      records: bucket.records({ signal }),
    }, () => compareHistories(file, bucket, signal));
  });
}
