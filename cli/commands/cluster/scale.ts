/**
 * `cluster scale`
 *
 * @module
 */

import { StoreError } from "../../../src/core/errors.ts";
import { counted } from "../../../src/core/text/counted.ts";
import { copiesOf, scaleStream } from "../../../src/jetstream/cluster/copies.ts";
import { findStream } from "../../../src/jetstream/log/wire.ts";
import { command, type CommandUnknownOpts, type Context, withProgress } from "../../command.ts";
import { UsageError } from "../../terminal/failure.ts";
import { seconds, wholeNumber } from "../../flags.ts";
import { print, printJson, say } from "../../terminal/output.ts";
import { Progress } from "../../terminal/progress.ts";
import { reach, type Reached, withCluster } from "./connect.ts";
import { askNodes } from "../../../src/jetstream/cluster/nodes.ts";
import { streamsOf } from "../../../src/jetstream/cluster/status.ts";

/** Creates the command. */
export function scaleCommand(context: Context): CommandUnknownOpts {
  return withCluster(withProgress(
    command(
      context,
      "scale",
      "Change the number of copies of the control plane and the blobs in a cluster, while it is in " +
        "use, and wait until all copies are current. If the command is interrupted, the cluster " +
        "continues",
      [
        "membershipd cluster scale --replicas 3 --nats-url nats://127.0.0.1:4250 --service-keys keys.json",
        "membershipd cluster scale --replicas 1 --keep n1 --nats-url nats://n1:4250 --service-keys keys.json",
      ],
    )
      .requiredOption("--replicas <n>", "number of copies, 1 to 5", wholeNumber(1, 5))
      .option("--keep <node>", "node that keeps its copy when the number decreases")
      .option("--wait <seconds>", "how long to wait until all copies are current", seconds, 600),
  )).action(async (flags) => {
    const { replicas, keep, json } = flags;
    const { signal } = context.io;
    await using it = await reach(context, flags);
    await check(it, replicas, keep);
    if (replicas % 2 === 0) {
      await say(
        context,
        `warning: ${replicas} copies tolerate no more failures than ${replicas - 1}, because a ` +
          "majority must be available; use an odd number",
      );
    }
    context.resume =
      "the cluster continues by itself; run membershipd cluster status to see its progress";
    const deadline = Date.now() + flags.wait * 1000;
    const changed: Changed[] = [];
    {
      using progress = new Progress(context.io, flags);
      // The bucket of the blobs may not exist yet.
      const found = (await Promise.all(
        streamsOf(it.bucket).map(async ({ bucket, stream }) => {
          const before = await findStream(it.service, stream, deadline, signal);
          return before === null ? [] : [{ bucket, stream, from: before.config.num_replicas }];
        }),
      )).flat();
      const total = replicas * found.length;
      const current = new Map<string, number>();
      // All at once, so that every change has been requested before the wait can be interrupted.
      changed.push(
        ...await Promise.all(found.map(async ({ bucket, stream, from }) => {
          const after = await scaleStream(it.service, stream, replicas, {
            deadline,
            signal,
            onProgress: (copies) => {
              current.set(stream, copies);
              const done = [...current.values()].reduce((sum, it) => sum + it, 0);
              progress.show({ phase: "scale", done, total, unit: "copies" });
            },
            ...keep === undefined ? {} : { keep },
          });
          const nodes = copiesOf(after).map(({ node }) => node).filter((it) => it !== "").sort();
          return { bucket, from, to: replicas, nodes };
        })),
      );
      progress.show({ phase: "done", done: total, total, unit: "copies" });
    }
    if (changed.length === 0) {
      throw new StoreError("not_found", `No bucket ${it.bucket} on this server`, {
        field: "bucket",
      });
    }
    if (json) return await printJson(context, { replicas, buckets: changed });
    await print(
      context,
      ...changed.map(({ bucket, from, to, nodes }) =>
        `${bucket}: ${from === to ? `${to}, unchanged` : `${from} -> ${to}`}, all current` +
        (nodes.length === 0 ? "" : `, on ${nodes.join(", ")}`)
      ),
    );
  });
}

interface Changed {
  bucket: string;
  from: number;
  to: number;
  nodes: string[];
}

/** Checks that the cluster can make the change, before anything is changed. */
async function check(
  { service, system }: Reached,
  replicas: number,
  keep: string | undefined,
): Promise<void> {
  const clustered = Boolean((service.info as { cluster?: string } | undefined)?.cluster);
  if (!clustered) {
    if (replicas === 1) return;
    throw new StoreError(
      "invalid",
      `--replicas ${replicas} requires a cluster of at least that many nodes, found a standalone server`,
      { field: "replicas" },
    );
  }
  if (system === null) return;
  const { nodes, size } = await askNodes(system);
  if (keep !== undefined && !nodes.some((it) => it.name === keep)) {
    throw new UsageError(`--keep ${keep}: the nodes are ${nodes.map((it) => it.name).join(", ")}`);
  }
  if (replicas > size) {
    throw new StoreError(
      "invalid",
      `--replicas ${replicas}: the cluster has ${counted(size, "node")}`,
      {
        field: "replicas",
      },
    );
  }
  const missing = nodes.filter((it) => !it.reachable).map((it) => it.name);
  if (nodes.length - missing.length < replicas) {
    throw new StoreError(
      "unavailable",
      `--replicas ${replicas}: ${
        missing.join(", ")
      } cannot be reached; start the missing nodes first`,
    );
  }
}
