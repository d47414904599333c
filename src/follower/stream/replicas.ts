/**
 * Audits of single replicas: each server of a cluster keeps its own copy of the stream on its own disk,
 * and one that is damaged says nothing of it.
 *
 * @module
 */

import type { StoreError } from "../../core/errors.ts";
import { within } from "../../core/async/wait.ts";
import { takesWrites } from "../../jetstream/cluster/replica.ts";
import type { Bucket } from "../../jetstream/log/bucket.ts";
import { streamInfo } from "../../jetstream/log/stream.ts";
import { alarm } from "./alarms.ts";
import { type AuditOptions, auditStream } from "./audit.ts";

/** How long asking about replicas may take, milliseconds. */
const PATIENCE = 5000;
/** How long finding the damaged replica may take, milliseconds. */
const LOCATE = 30_000;

/**
 * Compares the replica of the connection's server with the file; any replica, where that server has
 * none or is still catching up.
 *
 * @returns The alarm, `null` when nothing was found
 */
export async function auditOwn(options: AuditOptions): Promise<StoreError | null> {
  const { bucket } = options;
  const own = bucket.nc.info?.server_name ?? "";
  const isThere = (await replicasOf(bucket)).includes(own) && await takesWrites(bucket, own);
  const found = await auditStream({ ...options, server: isThere ? own : undefined });
  return found === null ? null : await locate(found, { ...options, pace: 1 });
}

/**
 * Finds out whether a finding is one of single replicas, by auditing each of them.
 *
 * @returns An alarm that names their servers if most replicas are as the follower is, `null` if none is
 * damaged: the one that was read was behind. What was found where that cannot be told
 */
export async function locate(
  found: StoreError,
  options: AuditOptions,
): Promise<StoreError | null> {
  return await within(LOCATE, judge(found, options).catch(() => found), () => found);
}

async function judge(found: StoreError, options: AuditOptions): Promise<StoreError | null> {
  const { bucket } = options;
  const servers = await replicasOf(bucket);
  const damaged: string[] = [];
  let good = 0;
  for (const server of servers) {
    try {
      if (!await takesWrites(bucket, server)) continue;
      if (await auditStream({ ...options, server }) === null) good++;
      else damaged.push(server);
    } catch {
      // Of one that cannot be read nothing is known.
    }
  }
  if (2 * good <= servers.length) return found;
  if (damaged.length === 0) return null;
  const what = found.message.slice(found.message.indexOf(": ") + 2);
  const text = `the replica of server ${damaged.join(", ")} is damaged: ${what}`;
  return alarm("replica", bucket.name, text);
}

/** The names of the servers that hold the stream of a cluster; none for a lone server. */
async function replicasOf(bucket: Bucket): Promise<string[]> {
  const { leader, replicas = [] } = (await streamInfo(bucket, Date.now() + PATIENCE))?.cluster ??
    {};
  const others = replicas.map(({ name }) => name);
  return leader === undefined || others.length === 0 ? [] : [leader, ...others];
}
