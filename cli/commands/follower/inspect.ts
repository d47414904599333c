/**
 * `verify` and `doctor` with the file of a follower.
 *
 * @module
 */

import type { FindingOf } from "../../../src/core/checks/findings.ts";
import { isStoreError } from "../../../src/core/errors.ts";
import { counted } from "../../../src/core/text/counted.ts";
import type { ChangeKind } from "../../../src/follower/repair/differences.ts";
import type { JetStreamOptions } from "../../../src/jetstream/mod.ts";
import type { Context, JsonFlag } from "../../command.ts";
import { EXIT } from "../../terminal/failure.ts";
import { JsonList, print, printable } from "../../terminal/output.ts";

/** Loads the comparison only when there is a follower. */
const inspection = () => import("../../../src/follower/repair/inspect.ts");

/** Whether a file is a follower's. */
export async function isFollower(db: string): Promise<boolean> {
  return (await inspection()).isFollower(db);
}

/** Compares a bucket with a follower's file and prints the differences by key. */
export async function verifyFollower(
  context: Context,
  { json }: JsonFlag,
  db: string,
  nats: JetStreamOptions,
): Promise<void> {
  const { inspectFollower } = await inspection();
  const { held, differences, newer, lag } = await inspectFollower(db, nats);
  const { bucket, position, entries } = held;
  const words: Record<ChangeKind, [word: string, text: string]> = {
    restore: ["only-follower", `only in ${db}`],
    replace: ["different", "different"],
    delete: ["only-kv", `only in bucket ${bucket}`],
  };
  const list = json ? new JsonList(context, "differences") : null;
  for (const { key, change } of differences) {
    const [word, text] = words[change];
    if (list === null) await print(context, printable(`${text}: ${key}`));
    else await list.add({ key, change: word });
  }
  const equal = differences.length === 0;
  if (!equal) context.exitCode = EXIT.different;
  if (list !== null) return await list.end({ equal, position, lag, entries, newer });
  const since = newer === 0 ? "" : `; ${counted(newer, "key")} newer`;
  await print(
    context,
    equal
      ? `equal: ${counted(entries, "key")} at position ${position}${since}`
      : `different: ${differences.length} of ${
        counted(entries, "key")
      } at position ${position}${since}`,
  );
}

/** For how long the history may lack an entry that the file has taken, milliseconds. */
const HISTORY_LAG = 10 * 60_000;

/**
 * Checks a follower: its alarm, its quarantine, every key against the bucket, and how far its history is.
 *
 * @param worst The level of a problem: the default file may belong to another server
 */
export async function followerFindings(
  db: string,
  nats: JetStreamOptions,
  worst: "warning" | "problem",
): Promise<FindingOf<"follower">[]> {
  const { inspectFollower } = await inspection();
  const of = (level: FindingOf["level"], message: string) =>
    ({ check: "follower", level, message }) as const;
  try {
    const { held, lag, alarm, quarantine, differences, history, lacksSince } =
      await inspectFollower(db, nats);
    const isBehind = lacksSince !== null && Date.now() - Date.parse(lacksSince) > HISTORY_LAG;
    const found = [
      ...alarm === null ? [] : [of(worst, `${alarm.message}; ${alarm.hint}`)],
      ...quarantine.map(({ key, problem }) => of(worst, `${key} is not valid: ${problem}`)),
      ...differences.length === 0 ? [] : [
        of(
          worst,
          `${counted(differences.length, "key differs", "keys differ")} from ${db}; list with ` +
            `membershipd verify --db ${db}`,
        ),
      ],
      ...history.gap === null ? [] : [of("warning", `The history in ${db}: ${history.gap}`)],
      ...!isBehind ? [] : [
        of(
          worst,
          `The history in ${db} lacks ${
            counted(history.behind, "entry", "entries")
          } since ${lacksSince}; the server's ` +
            "status names the reason",
        ),
      ],
    ];
    if (found.length > 0) return found;
    return [
      of(
        "ok",
        `${db} holds what the bucket held at position ${held.position}, ${
          counted(lag, "message")
        } behind`,
      ),
    ];
  } catch (error) {
    if (!isStoreError(error) || error.code === "aborted") throw error;
    return [of(error.code === "refused" ? "warning" : worst, error.message)];
  }
}
