/**
 * `log prune`
 *
 * @module
 */

import { counted } from "../../../src/core/text/counted.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  withJson,
  withStore,
} from "../../command.ts";
import { wholeNumber } from "../../flags.ts";
import { withOpenStore } from "../../store/open.ts";
import { pruneSteps } from "../../serve/history/prune.ts";
import { UsageError } from "../../terminal/failure.ts";
import { print, printJson } from "../../terminal/output.ts";

const DAY_MS = 24 * 3600 * 1000;

/** Creates the command. */
export function pruneCommand(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    command(
      context,
      "prune",
      "Remove the oldest entries of the history. The server does it once a day. An entry says what was " +
        "removed, so that log verify still works",
      [
        "membershipd log prune --keep-days 400",
        "membershipd log prune --keep-rows 1000000",
      ],
    )
      .option("--keep-days <days>", "keep the entries of so many days", wholeNumber(1, 36_500))
      .option("--keep-rows <n>", "keep at most so many entries", wholeNumber(1))
      .option("--all", "remove all, also what is damaged or missing, and begin a new history"),
  )).action(async (flags) => {
    const { keepDays, keepRows: keep, all, json } = flags;
    if ((keepDays === undefined && keep === undefined) === (all === undefined)) {
      throw new UsageError("Say what to keep with --keep-days or --keep-rows, or use --all");
    }
    await withOpenStore(context, flags, {}, async (store) => {
      const removed = all ? await store.pruneHistory({ all }) : await pruneSteps(store, {
        ...keepDays === undefined
          ? {}
          : { before: new Date(Date.now() - keepDays * DAY_MS).toISOString() },
        ...keep === undefined ? {} : { keep },
      });
      if (json) return await printJson(context, { removed });
      await print(context, `removed ${counted(removed, "entry", "entries")}`);
    });
  }) as CommandUnknownOpts;
}
