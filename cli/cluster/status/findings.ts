/**
 * What `doctor` finds around a bucket: copies that a lost node takes along, blobs that were forgotten.
 *
 * @module
 */

import { findStream } from "../../../src/jetstream/cluster/copies.ts";
import { serverSettings } from "../../store/chosen.ts";
import type { Context } from "../../command.ts";
import { forgottenBlobs } from "../../serve/checks/beside.ts";
import { type ClusterFlags, reach } from "../reach/connect.ts";
import { askNodes } from "../../../src/jetstream/cluster/nodes.ts";
import { fewCopies } from "../../../src/jetstream/cluster/problems.ts";
import { streamsOf } from "../../../src/jetstream/cluster/status.ts";

/** One thing that was looked at. */
export interface ClusterFinding {
  /** What was looked at. */
  check: "copies" | "blobs";
  /** `problem` wants mending. */
  level: "ok" | "warning" | "problem";
  /** What was found, and what to do. */
  message: string;
}

/** How long one question may take, milliseconds. */
const PATIENCE_MS = 5_000;

/** Looks at the copies of our streams, and for blobs in a directory that NATS has not. */
export async function clusterFindings(
  context: Context,
  flags: ClusterFlags & { storeDir?: string },
): Promise<ClusterFinding[]> {
  const { signal, env } = context.io;
  const storeDir = flags.storeDir ?? (await serverSettings(env)).settings.storeDir;
  await using it = await reach(context, flags);
  const nodes = it.system === null ? null : await askNodes(it.system);
  const few = (await Promise.all(
    streamsOf(it.bucket).map(async ({ bucket, stream }) => {
      const info = await findStream(it.service, stream, Date.now() + PATIENCE_MS, signal);
      return info === null ? [] : fewCopies(bucket, info, nodes);
    }),
  )).flat();
  const command = await forgottenBlobs(
    { store: "jetstream", bucket: it.bucket, storeDir },
    it.service,
    signal,
  );
  return [
    ...few.length === 0
      ? [{ check: "copies", level: "ok", message: "As many copies as there can be, or 3" } as const]
      : few.map((message) => ({ check: "copies", level: "problem", message }) as const),
    command === null
      ? { check: "blobs", level: "ok", message: `No blobs were left in ${storeDir}` }
      : {
        check: "blobs",
        // Blobs of another server may lie at the default place.
        level: flags.storeDir === undefined ? "warning" : "problem",
        message: `Blobs in ${storeDir} were not moved with the store: ${command}, with the ` +
          "flags that reach the NATS server",
      },
  ];
}
