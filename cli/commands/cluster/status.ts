/**
 * `cluster status`
 *
 * @module
 */

import { setTimeout } from "node:timers/promises";
import { command, type CommandUnknownOpts, type Context } from "../../command.ts";
import { EXIT } from "../../terminal/failure.ts";
import { print, printJson } from "../../terminal/output.ts";
import { reach } from "./connect.ts";
import { withCluster } from "./flags.ts";
import { render } from "../../cluster/render.ts";
import { fullStatus } from "../../cluster/status.ts";

/** Between two looks of `--watch`. */
const INTERVAL_MS = 2000;

/** Creates the command. */
export function statusCommand(context: Context): CommandUnknownOpts {
  return withCluster(
    command(
      context,
      "status",
      "Show the status of a cluster: nodes with version and fsync, quorum, and the copies of the " +
        "control plane and the blobs with leader and lag. Exits with code 1 if there is a problem",
      [
        "membershipd cluster status",
        "membershipd cluster status --nats-url nats://127.0.0.1:4250 --service-keys keys.json",
        "membershipd cluster status --nats-url tls://n1:4250,tls://n2:4250 --service-keys keys.json --watch",
        "membershipd cluster status --nats-url nats://n1:4250 --service-keys keys.json --json | jq .problems",
      ],
    )
      .option("--watch", "refresh until Ctrl-C; with --json print one line each time"),
  ).action(async (flags) => {
    const { io } = context;
    const { json, watch } = flags;
    await using it = await reach(context, flags);
    const look = () => fullStatus(it.service, it.system, it.bucket, io.signal);
    if (!watch) {
      const status = await look();
      if (!status.healthy) context.exitCode = EXIT.failed;
      return json ? await printJson(context, status) : await print(context, ...render(status));
    }
    while (!io.signal.aborted) {
      const status = await look().catch((error) => {
        if (io.signal.aborted) return null;
        throw error;
      });
      if (status === null) break;
      const at = new Date().toISOString();
      if (json) await print(context, JSON.stringify({ at, ...status }));
      else {
        // On a terminal, replace the previous state; elsewhere, append.
        if (io.stdout.isTTY) await io.stdout.write("\x1b[H\x1b[2J");
        await print(context, at, ...render(status), ...io.stdout.isTTY ? [] : [""]);
      }
      await setTimeout(INTERVAL_MS, null, { signal: io.signal }).catch(() => {});
    }
    // Ctrl-C is the normal end.
  });
}
