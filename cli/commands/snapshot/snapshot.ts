/**
 * `snapshot export|import|verify|diff`
 *
 * @module
 */

import { command, type CommandUnknownOpts, type Context } from "../../command.ts";
import { diffCommand } from "./diff.ts";
import { exportCommand } from "./export.ts";
import { importCommand } from "./import.ts";
import { verifySnapshotCommand } from "./verify.ts";

/** Creates the command. */
export function snapshotCommand(context: Context): CommandUnknownOpts {
  return command(
    context,
    "snapshot",
    "Export and import the whole control plane as one file, for any store. Equal states give equal files",
    [
      "membershipd snapshot export backup.ndjson",
      "membershipd snapshot verify backup.ndjson",
      "membershipd snapshot import backup.ndjson --db ./restored.db",
    ],
  )
    .addCommand(exportCommand(context))
    .addCommand(importCommand(context))
    .addCommand(verifySnapshotCommand(context))
    .addCommand(diffCommand(context));
}
