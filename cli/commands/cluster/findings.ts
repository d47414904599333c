/**
 * Checks of `doctor` around a bucket: too few copies, and blobs that were not moved.
 *
 * @module
 */

import { findStream } from "../../../src/jetstream/log/wire.ts";
import type { FindingOf } from "../../../src/core/checks/findings.ts";
import { serverSettings } from "../../store/chosen.ts";
import type { Context } from "../../command.ts";
import { forgottenBlobs } from "../../serve/checks/beside.ts";
import { type ClusterFlags, reach } from "./connect.ts";
import { askNodes } from "../../../src/jetstream/cluster/nodes.ts";
import { fewCopies } from "../../../src/jetstream/cluster/problems.ts";
import { streamsOf } from "../../../src/jetstream/cluster/status.ts";

/** Timeout of a request in milliseconds. */
const PATIENCE_MS = 5_000;

/** Checks the number of copies, and looks for blobs in a directory that are missing in NATS. */
export async function clusterFindings(
  context: Context,
  flags: ClusterFlags & { storeDir?: string },
): Promise<FindingOf<"copies" | "blobs">[]> {
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
      ? [{ check: "copies", level: "ok", message: "3 copies, or one on each node" } as const]
      : few.map((message) => ({ check: "copies", level: "problem", message }) as const),
    command === null ? { check: "blobs", level: "ok", message: `No blobs left in ${storeDir}` } : {
      check: "blobs",
      // The default directory may contain the blobs of another server.
      level: flags.storeDir === undefined ? "warning" : "problem",
      message: `Blobs in ${storeDir} were not moved with the store: run ${command}, with the ` +
        "flags for the NATS server",
    },
  ];
}
