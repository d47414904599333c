/**
 * Health checks of the store, for readiness probes.
 *
 * @module
 */

import type { StreamInfo } from "@nats-io/jetstream";
import type { HealthCheck } from "../core/model.ts";
import { within } from "../core/async/wait.ts";
import { counted } from "../core/text/counted.ts";
import type { Bucket } from "./log/bucket.ts";
import type { Cache, CacheOptions } from "./cache/cache.ts";
import { isCurrentReplica, lossOf, quorumAge, streamInfo } from "./log/stream.ts";

/** Time limit of a check in milliseconds: probes do not wait long. */
const LOOK = 2000;

/**
 * Checks the connection, the stream, its replicas and the cache. Starts loading the cache, so that
 * repeated checks succeed eventually.
 */
export async function checkHealth(
  bucket: Bucket,
  cache: Cache,
  { opTimeout, maxStaleness }: CacheOptions,
): Promise<HealthCheck[]> {
  cache.warm();
  const limit = Math.min(opTimeout, LOOK);
  const deadline = Date.now() + limit;
  const [connection, found] = await Promise.all([
    checkConnection(bucket, limit),
    streamInfo(bucket, deadline).catch((error: unknown) => error as Error),
  ]);
  const checks = [connection];
  if (found === null || found instanceof Error || lossOf(bucket, found) !== null) {
    const detail = found instanceof Error ? found.message : lossOf(bucket, found)!;
    checks.push(check("stream", false, detail));
    checks.push(check("replicas", false, "Unknown without the stream"));
  } else {
    checks.push(checkStream(bucket, found, maxStaleness), checkReplicas(found));
  }
  return [...checks, checkCache(cache, maxStaleness)];
}

function check(name: string, ok: boolean, detail: string): HealthCheck {
  return { name, ok, detail };
}

async function checkConnection({ nc }: Bucket, limit: number): Promise<HealthCheck> {
  if (nc.isClosed()) return check("connection", false, "The connection is closed");
  try {
    const trip = await within(limit, nc.rtt(), () => null);
    return trip === null
      ? check("connection", false, `No answer from ${nc.getServer()} within ${limit} ms`)
      : check("connection", true, `${nc.getServer()} answers in ${trip} ms`);
  } catch (error) {
    return check("connection", false, `Not connected: ${(error as Error).message}`);
  }
}

function checkStream(bucket: Bucket, info: StreamInfo, maxStaleness: number): HealthCheck {
  const age = quorumAge(info);
  const { leader } = info.cluster ?? {};
  const who = `Bucket ${bucket.name}` + (leader === undefined ? "" : `, leader ${leader}`);
  if (age <= maxStaleness) {
    const heard = leader === undefined ? "" : `, quorum confirmed ${Math.round(age)} ms ago`;
    return check("stream", true, `${who}, at sequence ${info.state.last_seq}${heard}`);
  }
  const found = age === Infinity ? "never confirmed" : `last confirmed ${Math.round(age)} ms ago`;
  return check("stream", false, `${who}, quorum ${found}`);
}

/** Checks the replicas: a majority is enough; the detail names missing ones. */
function checkReplicas(info: StreamInfo): HealthCheck {
  const wanted = info.config.num_replicas;
  const others = info.cluster?.replicas ?? [];
  const behind = others.filter((it) => !isCurrentReplica(it)).map((it) => it.name);
  // The leader is the one that answered.
  const current = 1 + others.length - behind.length;
  const missing = behind.length === 0 ? "" : `; not current: ${behind.join(", ")}`;
  return check(
    "replicas",
    current > wanted / 2,
    `${current} of ${wanted} current${missing}`,
  );
}

function checkCache(cache: Cache, maxStaleness: number): HealthCheck {
  const { fresh, warm, upTo, ageMs, users, members } = cache.status();
  if (!warm) return check("cache", false, `Loading, ${counted(users, "user")} so far`);
  const held = `${counted(users, "user")} and ${
    members === null ? "too many memberships" : counted(members, "membership")
  }`;
  return check(
    "cache",
    fresh,
    `${held} as of sequence ${upTo}, ${Math.round(ageMs)} ms old` +
      (fresh ? "" : `, limit ${maxStaleness} ms`),
  );
}
