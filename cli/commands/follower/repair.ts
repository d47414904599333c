/**
 * `repair`
 *
 * @module
 */

import { counted } from "../../../src/core/text/counted.ts";
import type { ChangeKind, Difference } from "../../../src/follower/repair/differences.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  FOLLOWER_HELP,
  type NatsFlags,
  withJson,
  withNats,
  withProgress,
} from "../../command.ts";
import { actor } from "../../store/actor.ts";
import { chosenFollower, chosenStore } from "../../store/chosen.ts";
import { natsTarget } from "../../store/open.ts";
import { UsageError } from "../../terminal/failure.ts";
import { JsonList, print, printable, printJson, say } from "../../terminal/output.ts";
import { Progress } from "../../terminal/progress.ts";

const WORDS: Record<ChangeKind, string> = {
  restore: "missing in the bucket",
  replace: "another value in the bucket",
  delete: "deleted, and back in the bucket",
};

const NEXT =
  "membershipd on this node admits clients again by itself; on other nodes with an alarm run the same command";

/** Creates the command. */
export function repairCommand(context: Context): CommandUnknownOpts {
  return withJson(withProgress(withNats(
    command(
      context,
      "repair",
      "Repair a bucket that lost or changed something that a follower holds, also of the history: write " +
        "it back from the follower, or take the bucket as it is. Records that were written after the follower's last " +
        "position are kept. A server with an alarm can keep running meanwhile; it admits clients again " +
        "when the bucket is what its follower holds",
      [
        "membershipd repair --from follower --dry-run",
        "membershipd repair --from follower --nats-url nats://127.0.0.1:4250 --service-keys keys.json",
        "membershipd repair --from /backup/copy.db --nats-url nats://127.0.0.1:4250 --service-keys keys.json",
        "membershipd repair --accept --follower ./local_files/follower.db",
      ],
    )
      .option(
        "--from <file>",
        "write back what the bucket lacks: follower for that of the server's settings, or a file",
      )
      .option("--accept", "rename the follower's file; a new one copies the bucket as it is")
      .option("--follower <path>", `with --accept: ${FOLLOWER_HELP}`)
      .option("--dry-run", "list what would be written without writing anything")
      .option("--force", "also if the follower is so old that deletions may be forgotten"),
  ))).action(async (flags) => {
    const { from, accept, follower } = flags;
    if ((from === undefined) === (accept === undefined)) {
      throw new UsageError("Use either --from follower or --accept");
    }
    if (from === undefined) return await acceptBucket(context, flags);
    if (follower !== undefined) {
      throw new UsageError("--follower requires --accept; use --from FILE");
    }
    await repairBucket(context, { ...flags, from });
  });
}

async function acceptBucket(
  context: Context,
  { follower, json, dryRun }: { follower?: string; json?: true; dryRun?: true },
): Promise<void> {
  if (dryRun) throw new UsageError("--dry-run requires --from");
  const db = await chosenFollower(context, follower);
  const { setAside } = await import("../../../src/follower/repair/accept.ts");
  const saved = setAside(db);
  if (json) return await printJson(context, { db, saved });
  await print(context, printable(`saved ${db} -> ${saved}`));
  await say(context, NEXT);
}

interface RepairFlags extends NatsFlags {
  from: string;
  json?: true;
  dryRun?: true;
  force?: true;
  progress: "auto" | "bar" | "plain" | "json" | "none";
}

async function repairBucket(context: Context, given: RepairFlags): Promise<void> {
  const { json, dryRun = false, force = false } = given;
  const { natsUrl, ...flags } = await chosenStore<RepairFlags>(context, given);
  if (natsUrl === undefined) throw new UsageError("--from requires --nats-url");
  const db = await chosenFollower(context, given.from === "follower" ? undefined : given.from);
  const nats = await natsTarget(context, { ...flags, natsUrl });
  const { repairStream } = await import("../../../src/follower/repair/repair.ts");
  const list = json ? new JsonList(context, "changes") : null;
  if (!dryRun) context.resume = "run the same command again to continue";
  const report = await (async () => {
    using progress = new Progress(context.io, given);
    return await repairStream({
      db,
      nats,
      dryRun,
      force,
      by: actor(),
      signal: context.io.signal,
      onChange: async (it) => {
        if (list === null) await print(context, lineOf(it));
        else await list.add({ key: it.key, change: it.change });
      },
      onProgress: (done, total) => progress.show({ phase: "repair", done, total, unit: "keys" }),
    });
  })();
  if (list !== null) {
    const { changes: counts, ...rest } = report;
    return await list.end({ counts, ...rest });
  }
  const { restored, problem } = report.history;
  const { restore, replace, delete: removed } = report.changes;
  const kept = report.kept === 0
    ? ""
    : `; ${counted(report.kept, "newer key stays", "newer keys stay")}`;
  await print(
    context,
    ...dryRun ? ["dry run: nothing was written"] : [],
    `${dryRun ? "would write" : "wrote"} ${counted(restore + replace, "key")}, ` +
      `${dryRun ? "would delete" : "deleted"} ${removed}${kept}`,
    ...restored === 0 ? [] : [
      `${dryRun ? "would write" : "wrote"} the archive again with ` +
      counted(restored, "entry", "entries"),
    ],
    ...problem === null ? [] : [printable(`the history was not repaired: ${problem}`)],
    printable(`from ${report.db}, position ${report.position}, ${report.updatedAt}`),
  );
  if (!dryRun) await say(context, NEXT);
}

function lineOf({ key, change }: Difference): string {
  return `${change.padEnd(7)}  ${printable(key)}  (${WORDS[change]})`;
}
