/**
 * `snapshot verify`
 *
 * @module
 */

import { isStoreError, StoreError } from "../../../src/core/errors.ts";
import { TAKE_ANOTHER } from "../../../src/snapshot/lines.ts";
import { type SnapshotSummary, verifySnapshot } from "../../../src/snapshot/mod.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  type ProgressFlag,
  withJson,
  withProgress,
} from "../../command.ts";
import { bytesOf, sizeOf } from "../../terminal/files.ts";
import {
  countsText,
  digestLines,
  historyText,
  print,
  printJson,
  totalOf,
} from "../../terminal/output.ts";
import { Progress } from "../../terminal/progress.ts";

/** Creates the command. */
export function verifySnapshotCommand(context: Context): CommandUnknownOpts {
  return withJson(withProgress(
    command(context, "verify", "Check that a snapshot is complete, undamaged and consistent", [
      "membershipd snapshot verify backup.ndjson",
      "gunzip <backup.ndjson.gz | membershipd snapshot verify -",
    ]).argument("<file>", "the snapshot; - is stdin"),
  )).action(async (file, flags) => {
    const { version, counts, digests, digest, history } = await check(context, flags, file);
    const all = { ...digests, all: digest, ...history && { history: history.digest } };
    const entries = history?.count ?? null;
    if (flags.json) {
      return await printJson(context, { file, version, counts, history: entries, digests: all });
    }
    const summary = `valid: ${countsText(counts)}${historyText(entries)}`;
    await print(context, summary, ...digestLines(all));
  });
}

async function check(
  context: Context,
  flags: ProgressFlag,
  file: string,
): Promise<SnapshotSummary> {
  using progress = new Progress(context.io, flags);
  const summary = await checkSnapshot(context, progress, file);
  const done = totalOf(summary.counts);
  progress.show({ phase: "done", done, total: done });
  return summary;
}

/**
 * Verifies a snapshot and returns a summary.
 *
 * @throws {StoreError} corrupt: the snapshot is incomplete, damaged or inconsistent
 */
export async function checkSnapshot(
  { io }: Context,
  progress: Progress,
  file: string,
): Promise<SnapshotSummary> {
  const total = await sizeOf(file);
  const show = (done: number) => progress.show({ phase: "check", done, total, unit: "bytes" });
  try {
    return await verifySnapshot(bytesOf(io, file, show));
  } catch (error) {
    // The file's contents are inconsistent; the command line is correct.
    if (!isStoreError(error, "invalid")) throw error;
    throw new StoreError("corrupt", `The snapshot is inconsistent: ${error.message}`, {
      cause: error,
      field: error.field,
      hint: TAKE_ANOTHER,
    });
  }
}
