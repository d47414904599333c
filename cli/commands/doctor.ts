/**
 * `doctor`
 *
 * @module
 */

import type { Finding } from "../../src/jetstream/repair/doctor.ts";
import { orAbort } from "../../src/core/async/wait.ts";
import { chosenStore } from "../store/chosen.ts";
import { command, type CommandUnknownOpts, type Context, withJson, withStore } from "../command.ts";
import type { ClusterFinding } from "../cluster/status/findings.ts";
import type { FileFinding } from "../../src/sqlite/repair/doctor.ts";
import { EXIT, UsageError } from "../terminal/failure.ts";
import { checkStoreFlags, natsTarget } from "../store/open.ts";
import { print, printable, printJson, say } from "../terminal/output.ts";

/** Makes the command. */
export function doctorCommand(context: Context): CommandUnknownOpts {
  return withJson(withStore(
    command(
      context,
      "doctor",
      "Check a store for problems. A bucket: the server's version and whether it syncs to disk, " +
        "replicas, the mark of a move, whether index and members agree, whether every key and " +
        "record is valid. A file: schema, integrity, whether every record is valid. Exit code 1 " +
        "when there is a problem",
      [
        "membershipd doctor --db ./local_files/unibus.db",
        "membershipd doctor --db ./local_files/unibus.db --repair",
        "membershipd doctor --nats-url nats://127.0.0.1:4222 --monitor-url http://127.0.0.1:8222",
        "membershipd doctor --nats-url nats://127.0.0.1:4222 --repair",
      ],
    )
      .option("--repair", "correct what can be corrected without losing a record")
      .option(
        "--store-dir <directory>",
        "where a server with a file as its store had its blobs",
      )
      .option("--monitor-url <url>", "the server's monitoring port, which tells whether it syncs"),
  )).action(async (given) => {
    const flags = await chosenStore(context, given);
    checkStoreFlags(flags);
    const { natsUrl, db = "", repair, monitorUrl, json } = flags;
    if (natsUrl === undefined && monitorUrl !== undefined) {
      throw new UsageError("--monitor-url needs --nats-url");
    }
    if (monitorUrl !== undefined && !/^https?:$/.test(URL.parse(monitorUrl)?.protocol ?? "")) {
      throw new UsageError("--monitor-url must be an http:// or https:// URL");
    }
    const { signal } = context.io;
    const findings: (Finding | FileFinding | ClusterFinding)[] = natsUrl === undefined
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
      const { clusterFindings } = await import("../cluster/status/findings.ts");
      findings.push(...await clusterFindings(context, { ...flags, natsUrl }));
    }
    const open = findings.filter((it) => it.level === "problem" && !isRepaired(it)).length;
    if (open > 0) context.exitCode = EXIT.failed;
    if (json) return await printJson(context, { healthy: open === 0, findings });
    await print(context, ...findings.map(lineOf));
    if (open > 0) await say(context, `${open} ${open === 1 ? "problem" : "problems"} found`);
  });
}

function isRepaired(it: Finding | FileFinding | ClusterFinding): boolean {
  return "repaired" in it && it.repaired === true;
}

function lineOf(it: Finding | FileFinding | ClusterFinding): string {
  const level = isRepaired(it) ? "repaired" : it.level;
  return `${level.padEnd(8)} ${it.check.padEnd(9)} ${printable(it.message)}`;
}
