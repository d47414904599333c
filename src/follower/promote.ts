/**
 * Makes a follower the control plane, when its cluster is lost.
 *
 * @module
 */

import { isStoreError, StoreError } from "../core/errors.ts";
import type { Counts } from "../core/model.ts";
import { type JetStreamOptions, openBucket } from "../jetstream/mod.ts";
import { retry } from "../jetstream/log/wire.ts";
import { FENCE_KEY } from "../jetstream/records/keys.ts";
import { connectNats } from "../nats/connection/connect.ts";
import { serverUrls } from "../nats/connection/servers.ts";
import { countRecords } from "../sqlite/rows.ts";
import { keptGeneration } from "./kept.ts";
import { flip, openStill, requireComplete, type StillFile } from "./flip.ts";
import { fenceValue } from "./stream/digests.ts";

/** Options of {@link promoteFollower}. */
export interface PromoteOptions {
  /** The follower's file. */
  db: string;
  /** The servers to ask whether the bucket still takes writes. Default: those the file followed. */
  nats?: Partial<JetStreamOptions>;
  /** Promote a file whose bucket was found damaged, or whose servers could not be asked. Default `false`. */
  force?: boolean;
  /** Only check and report. Default `false`. */
  dryRun?: boolean;
  /** Who does it, for the history. Default `library`. */
  by?: string;
}

/** What {@link promoteFollower} did. */
export interface PromoteReport {
  /** Version of this report's shape. */
  version: 1;
  /** Nothing was written: this is what would be done. */
  dryRun: boolean;
  /** The file. */
  db: string;
  /** The bucket it followed. */
  bucket: string;
  /** Sequence of the stream that the file ends at; later writes are lost. */
  position: number;
  /** When the file was last written, ISO 8601. */
  updatedAt: string;
  /** The generation of the control plane from now on. */
  generation: number;
  /** Records of each kind. */
  counts: Counts;
  /** Rooms with a large change that was not complete; it was undone. */
  undone: string[];
}

/** How long a server may take to answer before it counts as lost, milliseconds. */
const PATIENCE = 5000;
/** How long one that answers may take to write: it may be about to elect a leader without a lost node. */
const ELECTION = 15_000;

/**
 * Makes the file of a follower the primary of the control plane, in one transaction whatever its size.
 * For when the cluster is lost: every write after the position of the file is lost with it. The
 * generation of the control plane grows, so that clients refuse nodes of the old one that come back.
 *
 * @param options The file, and how to ask its servers
 * @returns What was done: the position and the time that the file ends at
 * @throws {StoreError} `refused`: the bucket still takes writes, its servers refuse these credentials, the
 * file is not exact, another process follows with it, or it is no follower; `corrupt`: it is damaged;
 * `not_found`
 *
 * @example
 * ```ts ignore
 * import { openSqlite, promoteFollower } from "@unibus/membership";
 *
 * const { position, updatedAt } = await promoteFollower({ db: "./local_files/follower.db" });
 * console.log(position, updatedAt);
 * await using store = openSqlite("./local_files/follower.db");
 * ```
 */
export async function promoteFollower(options: PromoteOptions): Promise<PromoteReport> {
  const { db, force = false, dryRun = false, by = "library" } = options;
  using file = openStill(db);
  requireComplete(file, force);
  await requireLost(file, options);
  const { path, held } = file;
  const report: PromoteReport = {
    version: 1,
    dryRun,
    db: path,
    bucket: held.bucket,
    position: held.position,
    updatedAt: new Date(held.updatedAt).toISOString(),
    generation: keptGeneration(file.db) + 1,
    counts: countRecords(file.db),
    undone: [],
  };
  if (dryRun) return report;
  report.undone = flip(file, { generation: report.generation, by });
  report.counts = countRecords(file.db);
  return report;
}

/** Refuses while a server takes writes to the bucket, or while that cannot be known. */
async function requireLost(
  { path, role: { place }, held }: StillFile,
  { nats = {}, force = false }: PromoteOptions,
): Promise<void> {
  const servers = [...new Set(serverUrls([nats.servers ?? [], place?.servers ?? []].flat()))];
  const attempt = `Promoting ${path}`;
  await Promise.all(servers.map(async (server) => {
    const found = await isServing({ ...nats, bucket: held.bucket, servers: server });
    if (found === "serving") {
      throw new StoreError(
        "refused",
        `${attempt}: bucket ${held.bucket} on ${server} still takes writes`,
        { field: "nats", hint: "move it back with membershipd migrate-to-sqlite" },
      );
    }
    if (found === "unknown" && !force) {
      throw new StoreError(
        "refused",
        `${attempt}: ${server} answers, but does not accept these credentials, so it may still serve`,
        { field: "nats", hint: "give the credentials of the control plane, or stop that server" },
      );
    }
  }));
}

/** Whether a server takes writes to a bucket: whether a majority of its copies does. */
async function isServing(options: JetStreamOptions): Promise<"serving" | "lost" | "unknown"> {
  const servers = options.servers!;
  const until = (ms: number) => ({ bootstrapTimeout: ms, signal: AbortSignal.timeout(ms) });
  try {
    const connection = await connectNats({ ...options, servers, ...until(PATIENCE) });
    try {
      const deadline = Date.now() + ELECTION;
      const more = { create: false, resize: false, ...until(ELECTION) };
      const { bucket } = await openBucket({ ...options, connection, ...more });
      await retry("Write a fence", deadline, () => {
        return bucket.put(FENCE_KEY, fenceValue(null), deadline);
      });
      return "serving";
    } finally {
      await connection.close();
    }
  } catch (error) {
    if (!isStoreError(error)) throw error;
    // It answered, and did not let us in.
    return /^(credentials|tls)/.test(error.field ?? "") ? "unknown" : "lost";
  }
}
