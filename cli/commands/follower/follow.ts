/**
 * `follow`
 *
 * @module
 */

import { setTimeout } from "node:timers/promises";
import type { Follower, FollowerState } from "../../../src/follower/types.ts";
import { orAbort } from "../../../src/core/async/wait.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  FOLLOWER_HELP,
  withJson,
  withProgress,
  withServer,
} from "../../command.ts";
import { describeFollower } from "../../store/follower.ts";
import { chosenFollower } from "../../store/chosen.ts";
import { makeFolder } from "../../store/folder.ts";
import { natsTarget } from "../../store/open.ts";
import { print, printable, printJson } from "../../terminal/output.ts";
import { Progress } from "../../terminal/progress.ts";

/** Interval in milliseconds at which the state is read. */
const LOOK_MS = 250;

/** Creates the command. */
export function followCommand(context: Context): CommandUnknownOpts {
  return withJson(withProgress(withServer(
    command(
      context,
      "follow",
      "Keep a second copy of a bucket in a SQLite file, such as on a backup host. Runs until Ctrl-C. " +
        "Prints a line when the copy is exact, and ends with code 1 if the bucket lost or changed " +
        "something that the file holds",
      [
        "membershipd follow --nats-url nats://127.0.0.1:4250 --service-keys keys.json --db ./copy.db",
        "membershipd follow --nats-url nats://127.0.0.1:4250 --service-keys keys.json --db ./copy.db --once",
      ],
    )
      .option("--db <path>", FOLLOWER_HELP)
      .option("--once", "end when the file is exact"),
  ))).action(async (flags) => {
    const { io } = context;
    const { once, json } = flags;
    const db = await chosenFollower(context, flags.db);
    const nats = await natsTarget(context, flags);
    if (flags.db === undefined) await makeFolder(db);
    const { followStore } = await import("../../../mod.ts");
    await using follower = await followStore({ nats, db, signal: io.signal });
    using progress = new Progress(io, flags);
    if (once) {
      const ends = new AbortController();
      const shown = showLoad(follower, progress, ends.signal);
      const exact = follower.whenExact(undefined, { signal: io.signal })
        .finally(() => ends.abort());
      const [state] = await Promise.all([exact, shown]);
      progress.show({ phase: "done", done: state.entries, total: state.entries, unit: "entries" });
      return json
        ? await printJson(context, documentOf(state))
        : await print(context, printable(describeFollower(state)));
    }
    let told = "";
    while (!io.signal.aborted) {
      const state = follower.state();
      const { exact, role, failure, alarm, degraded } = state;
      if (alarm !== null) throw alarm;
      // Following has ended.
      if (degraded?.field === "file") throw degraded;
      const news = JSON.stringify([exact, role, failure?.message, degraded?.message]);
      if (news !== told && (exact || failure !== null || json)) {
        told = news;
        await print(
          context,
          json ? JSON.stringify(documentOf(state)) : printable(
            failure === null
              ? `${describeFollower(state)}${role === "read" ? "; another process writes it" : ""}`
              : `stopped: ${failure.message}`,
          ),
        );
      }
      if (!exact) progress.show(stepOf(state));
      await setTimeout(LOOK_MS, null, { signal: io.signal }).catch(() => {});
    }
    // Ctrl-C is the normal end.
  });
}

/** Shows how far the load is until the signal. */
async function showLoad(follower: Follower, progress: Progress, signal: AbortSignal) {
  while (!signal.aborted) {
    progress.show(stepOf(follower.state()));
    await orAbort(setTimeout(LOOK_MS), signal).catch(() => {});
  }
}

function stepOf({ position, lag }: FollowerState) {
  const total = lag === null || position === 0 ? null : position + lag;
  return { phase: "follow", done: position, total, unit: "messages" };
}

function documentOf({ failure, degraded, alarm: _, ...state }: FollowerState) {
  return { ...state, degraded: degraded?.message ?? null, failure: failure?.message ?? null };
}
