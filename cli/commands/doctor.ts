/**
 * `doctor`
 *
 * @module
 */

import { existsSync } from "node:fs";
import type { FindingOf } from "../../src/core/checks/findings.ts";
import { orAbort } from "../../src/core/async/wait.ts";
import { counted } from "../../src/core/text/counted.ts";
import { chosenStore, serverSettings } from "../store/chosen.ts";
import { followerPath } from "../settings/settings.ts";
import { historyFindings } from "./history/findings.ts";
import { followerFindings } from "./follower/inspect.ts";
import {
  command,
  type CommandUnknownOpts,
  type Context,
  FOLLOWER_HELP,
  type ServerFlags,
  type StoreFlags,
  withJson,
  withStore,
} from "../command.ts";
import { EXIT, UsageError } from "../terminal/failure.ts";
import { checkStoreFlags, natsTarget, openFile, openNats } from "../store/open.ts";
import { print, printable, printJson, say } from "../terminal/output.ts";

/** Creates the command. */
export function doctorCommand(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    command(
      context,
      "doctor",
      "Check a store for problems. For a bucket: version and disk sync of the server, replicas, " +
        "migration state, consistency of index and members, validity of every key and record. " +
        "For a follower of the bucket: alarm, quarantine, every key, lag of its history. For a file: schema, integrity, validity of every record. " +
        "For both: the chain of the newest 10,000 entries of the history. Exits with code 1 if there is a " +
        "problem",
      [
        "membershipd doctor --db ./local_files/unibus.db",
        "membershipd doctor --db ./local_files/unibus.db --repair",
        "membershipd doctor --nats-url nats://127.0.0.1:4222 --monitor-url http://127.0.0.1:8222",
        "membershipd doctor --nats-url nats://127.0.0.1:4222 --repair",
      ],
    )
      .option("--repair", "repair problems that can be repaired without losing a record")
      .option(
        "--store-dir <directory>",
        "blobs directory of a server with --store sqlite",
      )
      .option("--follower <path>", FOLLOWER_HELP)
      .option("--monitor-url <url>", "the server's monitoring URL, which reports whether it syncs"),
  )).action(async (given) => {
    const flags = await chosenStore(context, given);
    checkStoreFlags(flags);
    const { natsUrl, db = "", repair, monitorUrl, json } = flags;
    if (natsUrl === undefined && monitorUrl !== undefined) {
      throw new UsageError("--monitor-url requires --nats-url");
    }
    if (monitorUrl !== undefined && !/^https?:$/.test(URL.parse(monitorUrl)?.protocol ?? "")) {
      throw new UsageError("--monitor-url must be an http:// or https:// URL");
    }
    const { signal } = context.io;
    const findings: FindingOf[] = natsUrl === undefined
      ? await (await import("../../src/sqlite/repair/doctor.ts")).diagnoseFile(db, {
        signal,
        repair: repair === true,
      })
      : await orAbort(
        (await import("../../src/jetstream/repair/doctor.ts")).diagnose({
          ...await natsTarget(context, { ...flags, natsUrl }),
          repair: repair === true,
          ...(monitorUrl === undefined ? {} : { monitorUrl }),
        }),
        signal,
      );
    if (natsUrl !== undefined) {
      const { clusterFindings } = await import("./cluster/findings.ts");
      findings.push(...await clusterFindings(context, { ...flags, natsUrl }));
      findings.push(...await besideFindings(context, { ...flags, natsUrl }, given));
    }
    const openHere = natsUrl === undefined
      ? () => openFile(db, { readOnly: true, create: false })
      : () => openNats(context, { ...flags, natsUrl }, false);
    findings.push(...await historyFindings(context, given, openHere));
    const open = findings.filter((it) => it.level === "problem" && !it.repaired).length;
    if (open > 0) context.exitCode = EXIT.failed;
    if (json) return await printJson(context, { healthy: open === 0, findings });
    await print(context, ...findings.map(lineOf));
    if (open > 0) await say(context, `${counted(open, "problem")} found`);
  });
}

/** Checks the follower of this machine, if there is one. */
async function besideFindings(
  context: Context,
  flags: ServerFlags & { follower?: string },
  given: StoreFlags,
): Promise<FindingOf[]> {
  const { settings } = await serverSettings(context.io.env);
  const db = flags.follower ?? followerPath({ ...settings, store: "jetstream" });
  if (db === null || (flags.follower === undefined && !existsSync(db))) return [];
  // The default file may be that of another server.
  const isNamed = flags.follower !== undefined || given.natsUrl === undefined;
  const nats = await natsTarget(context, flags);
  return await followerFindings(db, nats, isNamed ? "problem" : "warning");
}

function lineOf({ check, level, message, repaired }: FindingOf): string {
  return `${(repaired ? "repaired" : level).padEnd(8)} ${check.padEnd(9)} ${printable(message)}`;
}
