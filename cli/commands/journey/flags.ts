/**
 * Flags of `grow` and `shrink`.
 *
 * @module
 */

import { adding, type JsonFlag, type ProgressFlag, withJson, withProgress } from "../../command.ts";

/** Flags that both commands have. */
export type JourneyFlags = JsonFlag & ProgressFlag & {
  dryRun?: true;
  hold?: true;
  release?: true;
  callOff?: true;
  status?: true;
  config?: string;
};

/** Adds them. */
export const withJourney = adding<JourneyFlags>((parent) =>
  withJson(withProgress(
    parent
      .option("--dry-run", "only check whether it is possible; nothing is changed")
      .option("--hold", "stop before the switch, and wait for --release")
      .option("--release", "let a move that was begun with --hold make the switch")
      .option("--call-off", "end a move before its switch; the store stays where it is")
      .option("--status", "show how far it is, without beginning anything")
      .option("--config <file>", "the server's settings (default: UNIBUS_CONFIG)"),
  ))
);
