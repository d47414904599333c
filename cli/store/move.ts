/**
 * Runs a move in either direction and prints its report.
 *
 * @module
 */

import { counted } from "../../src/core/text/counted.ts";
import type { MoveOptions, MoveProgress, MoveReport } from "../../mod.ts";
import { actor } from "./actor.ts";
import { type Context, type JsonFlag, type ProgressFlag } from "../command.ts";
import { countsText, digestLines, print, printJson, totalOf } from "../terminal/output.ts";
import { Progress } from "../terminal/progress.ts";

/** Flags of both directions. */
type MoveFlags = ProgressFlag & { history: boolean; dryRun?: true; replace?: true };

/** Runs a move, with the options of both directions. */
type Move = (options: Omit<MoveOptions, "db" | "nats">) => Promise<MoveReport>;

/** Runs a move and prints its report. */
export async function tellMove(
  context: Context,
  flags: JsonFlag & MoveFlags,
  move: Move,
  rollback: (report: MoveReport) => string,
): Promise<void> {
  if (!flags.dryRun) context.resume = "run the same command again to continue";
  const report = await moved(context, flags, move);
  const records = totalOf(report.counts);
  const recordsPerSecond = Math.round(records / Math.max(0.001, report.seconds.total));
  if (flags.json) {
    const rate = report.dryRun ? {} : { recordsPerSecond };
    return await printJson(context, { ...report, ...rate });
  }
  await print(
    context,
    ...report.dryRun
      ? planned(report)
      : [...done(report, recordsPerSecond), `rollback: ${rollback(report)}`],
  );
}

async function moved(
  { io }: Context,
  flags: MoveFlags,
  move: Move,
): Promise<MoveReport> {
  const { history, dryRun = false, replace = false } = flags;
  using progress = new Progress(io, flags);
  const onProgress = (step: MoveProgress) =>
    progress.show(step.phase === "history" ? { ...step, unit: "entries" } : step);
  return await move({ history, dryRun, replace, by: actor(), signal: io.signal, onProgress });
}

function planned(report: MoveReport): string[] {
  return [
    "dry run: nothing was written",
    `would be ${headline(report)}`,
    `target: ${TARGETS[report.target]}`,
  ];
}

function done(report: MoveReport, rate: number): string[] {
  const { backup, saved, db, written, removed, seconds } = report;
  const toKv = report.direction === "sqlite-to-kv";
  const lines: string[] = [];
  if (backup !== null) lines.push(`backed up ${db} -> ${backup}`);
  if (saved !== null) lines.push(`saved previous contents -> ${saved}`);
  const isComplete = report.target === "repeated" && written + removed === 0 &&
    (report.history?.written ?? 0) === 0;
  if (isComplete) lines.push("nothing to do: this move is complete, and both sides are equal");
  lines.push(headline(report), ...digestLines(report.digests ?? {}));
  const changed = written + removed === 0
    ? "nothing to change"
    : `${counted(written, "entry", "entries")} written, ${removed} removed`;
  const { preflight, backup: backing, copy, verify, history, total } = seconds;
  lines.push(
    `target: ${TARGETS[report.target]}; ${changed}`,
    `took ${total.toFixed(2)} s, ${rate} records/s (preflight ${preflight.toFixed(2)} s, ` +
      `${toKv ? `backup ${backing.toFixed(2)} s, ` : ""}copy ${copy.toFixed(2)} s, ` +
      `verify ${verify.toFixed(2)} s${toKv ? `, history ${history.toFixed(2)} s` : ""})`,
  );
  return lines;
}

function headline({ direction, replicas, counts }: MoveReport): string {
  const where = direction === "sqlite-to-kv" ? `KV (replicas=${replicas})` : "SQLite";
  return `migrated to ${where}: ${countsText(counts)}`;
}

const TARGETS: Record<MoveReport["target"], string> = {
  absent: "did not exist",
  empty: "was empty",
  resumed: "contained an interrupted run of this move, which was resumed",
  repeated: "contained the result of an earlier run of this move",
  replaced: "contained something else, which was replaced",
};
