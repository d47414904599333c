/**
 * What would be lost if a follower were made the control plane while its cluster has no majority.
 *
 * @module
 */

import { StoreError } from "../../../core/errors.ts";
import type { Counts } from "../../../core/model.ts";
import { reading } from "../../../follower/file/reading.ts";
import { readFrom } from "../../../sqlite/file/connect.ts";
import { requireFile } from "../../../sqlite/file/file.ts";
import { readRole } from "../../../sqlite/file/role.ts";
import { countRecords } from "../../../sqlite/rows.ts";

/** Options of {@link lossOf}. */
export interface LossOptions {
  /** The follower's file; nothing is written to it, and it may be in use. */
  db: string;
  /** URLs of the monitoring ports of servers that still run, such as `http://127.0.0.1:8222`. */
  monitors?: string[];
}

/** How far a server of the cluster had come. */
export interface ServerEnd {
  /** The URL of its monitoring port. */
  monitor: string;
  /** The last sequence of its replica of the bucket; `null` if it has none, or did not answer. */
  last: number | null;
  /** Why it is not known; `null` if it is. */
  error: string | null;
}

/** What {@link lossOf} found. */
export interface LossReport {
  /** Version of this report's shape. */
  version: 1;
  /** The file. */
  db: string;
  /** The bucket it follows. */
  bucket: string;
  /** Sequence of the stream that the file ends at: later writes would be lost. */
  position: number;
  /** When that was, ISO 8601. */
  updatedAt: string;
  /** Whether nothing is missing before the position. */
  exact: boolean;
  /** The generation that the control plane would have. */
  generation: number;
  /** Records of each kind that would be kept. */
  counts: Counts;
  /** Rooms with a large change that is not complete: it would be undone. */
  undone: string[];
  /**
   * How far the servers had come. What lies between the position and that would be lost, mostly marks
   * of reads, of which each node writes one a second.
   */
  servers: ServerEnd[];
}

/** How long a server may take to answer, milliseconds. */
const PATIENCE = 3000;

/**
 * Finds out what would be lost if a follower's file were promoted: the position and the time it ends at,
 * the changes that would be undone, and how far the servers had come that still run. They do not answer
 * reads without a majority. Nothing is written.
 *
 * @throws {StoreError} `not_found`: no such file; `refused`: it is not a follower, or was never loaded
 *
 * @example
 * ```ts ignore
 * import { lossOf, promoteFollower } from "@unibus/membership";
 *
 * const { position, updatedAt, servers } = await lossOf({
 *   db: "./local_files/follower.db",
 *   monitors: ["http://127.0.0.1:8222"],
 * });
 * console.log(position, updatedAt, servers.map(({ last }) => last));
 * await promoteFollower({ db: "./local_files/follower.db", force: true });
 * ```
 */
export async function lossOf({ db, monitors = [] }: LossOptions): Promise<LossReport> {
  const path = requireFile(db);
  const report = read(path);
  const servers = await Promise.all(monitors.map((it) => endOf(it, `KV_${report.bucket}`)));
  return { version: 1, db: path, ...report, servers };
}

function read(path: string): Omit<LossReport, "version" | "db" | "servers"> {
  return readFrom(path, `Opening ${path}`, (file) => {
    const { role, generation } = readRole(file);
    const held = role === "follower" ? reading(file).held() : null;
    if (held === null) {
      throw new StoreError("refused", `Opening ${path}: it is not a follower that was loaded`, {
        field: "role",
      });
    }
    const { bucket, position, exact, updatedAt } = held;
    return {
      bucket,
      position,
      exact,
      updatedAt: new Date(updatedAt).toISOString(),
      generation: generation + 1,
      counts: countRecords(file),
      undone: file.prepare("SELECT room_id FROM follower_pending").all()
        .map(({ room_id }) => String(room_id)),
    };
  });
}

/** What a monitoring port tells of the streams of its server. */
interface Streams {
  account_details?: { stream_detail?: { name: string; state: { last_seq: number } }[] }[];
}

/** How far one server had come. */
async function endOf(monitor: string, stream: string): Promise<ServerEnd> {
  try {
    const url = new URL("/jsz?accounts=true&streams=true", monitor);
    const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE) });
    const { account_details = [] }: Streams = await response.json();
    const found = account_details.flatMap(({ stream_detail = [] }) => stream_detail)
      .find(({ name }) => name === stream);
    return found === undefined
      ? { monitor, last: null, error: `it has no stream ${stream}` }
      : { monitor, last: found.state.last_seq, error: null };
  } catch (error) {
    return { monitor, last: null, error: error instanceof Error ? error.message : String(error) };
  }
}
