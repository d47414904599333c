/**
 * `backup`
 *
 * @module
 */

import { existsSync } from "node:fs";
import type { BlobStore } from "../../../src/blobs/types.ts";
import { counted } from "../../../src/core/text/counted.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  FOLLOWER_HELP,
  withJson,
} from "../../command.ts";
import { chosenFollower, serverSettings } from "../../store/chosen.ts";
import { countsText, print, printable, printJson, say } from "../../terminal/output.ts";
import { writeWhole } from "../../terminal/files.ts";
import { placed, type PlaceFlags, withBlobs } from "../blobs/place.ts";

/** Creates the command. */
export function backupCommand(context: Context): CommandUnknownOpts {
  return withJson(placed(
    command(
      context,
      "backup",
      "Copy an exact follower to a new file, without load for the NATS server and while the server " +
        "runs. Lists the blobs of --nats-url or of the blobs directory in FILE.blobs, if there are any",
      [
        "membershipd backup --to /backup/monday.db",
        "membershipd backup --db ./local_files/follower.db --to /backup/monday.db --json",
      ],
    )
      .option("--db <path>", FOLLOWER_HELP)
      .requiredOption("--to <file>", "the copy"),
  )).action(async (flags) => {
    const db = await chosenFollower(context, flags.db);
    const { backupFollower } = await import("../../../src/follower/backup.ts");
    const report = await backupFollower(db, flags.to);
    const blobs = await listBlobs(context, flags, `${report.to}.blobs`);
    if (flags.json) return await printJson(context, { ...report, blobs });
    await print(
      context,
      printable(`copied ${report.db} -> ${report.to}`),
      `position ${report.position}, ${report.updatedAt}: ${countsText(report.counts)}`,
      ...blobs === null
        ? []
        : [printable(`listed ${counted(blobs.count, "blob")} -> ${blobs.list}`)],
    );
    await say(context, printable(`restore it with membershipd promote ${report.to}`));
  });
}

/** Writes a line for each blob; returns null if there is no place of blobs. */
async function listBlobs(
  context: Context,
  flags: PlaceFlags,
  list: string,
): Promise<{ list: string; count: number } | null> {
  const { io } = context;
  const storeDir = flags.storeDir ?? (await serverSettings(io.env)).settings.storeDir;
  const isNamed = flags.storeDir !== undefined || flags.natsUrl !== undefined;
  if (!isNamed && !existsSync(storeDir)) return null;
  let count = 0;
  async function* lines(blobs: BlobStore) {
    for await (const { id, size } of blobs.list()) {
      count++;
      yield new TextEncoder().encode(`${JSON.stringify({ id, size })}\n`);
    }
  }
  await withBlobs(
    context,
    { ...flags, storeDir },
    (blobs) => writeWhole(list, lines(blobs), { force: false, signal: io.signal }),
  );
  return { list, count };
}
