/**
 * What a move takes and what it reports, in both directions.
 *
 * @module
 */

import type { JetStreamOptions } from "../jetstream/mod.ts";
import type { Counts, Kind } from "../core/model.ts";

/** What a move is doing. The last call says `done`. */
export type MovePhase = "preflight" | "backup" | "copy" | "verify" | "done";

/** How far a move is. */
export interface MoveProgress {
  /** What it is doing. */
  phase: MovePhase;
  /** Records done in this phase. */
  done: number;
  /** Records there are in this phase. */
  total: number;
}

/** What both directions take. */
export interface MoveOptions {
  /** Path of the SQLite file. */
  db: string;
  /** The servers and the bucket, as for `openJetStream`. */
  nats: JetStreamOptions;
  /** Check everything and say what would be done; write nothing. */
  dryRun?: boolean;
  /**
   * Continue although the target holds something else or newer: it is saved before it is overwritten,
   * to a file that the report names.
   */
  replace?: boolean;
  /** Called as the move goes on; the last time with `done`. */
  onProgress?: (progress: MoveProgress) => void;
  /** Ends the move. What it has begun is continued by running it again. */
  signal?: AbortSignal;
}

/** What {@link migrateSqliteToKv} takes. */
export interface SqliteToKvOptions extends MoveOptions {
  /** Copies of the stream, 1 to 5. Default: 1, or as the bucket has it. */
  replicas?: number;
  /** Back the file up first: beside it (default), to the path given, or not at all (`false`). */
  backup?: boolean | string;
}

/** What the target was found to be. */
export type TargetState =
  | "absent"
  | "empty"
  /** An earlier run of this move was ended half-way. */
  | "resumed"
  /** This move has completed before, and nobody has written since. */
  | "repeated"
  /** Something else; saved to a file and replaced. */
  | "replaced";

/** What a move did. */
export interface MoveReport {
  /** Version of this report's shape. */
  version: 1;
  /** From where to where. */
  direction: "sqlite-to-kv" | "kv-to-sqlite";
  /** Nothing was written: this is what would be done. */
  dryRun: boolean;
  /** Path of the SQLite file. */
  db: string;
  /** Name of the bucket. */
  bucket: string;
  /** Copies of the stream. */
  replicas: number;
  /** What the target was found to be. */
  target: TargetState;
  /** Where the file (or the file that was in the way) was saved; `null` for nowhere. */
  backup: string | null;
  /** Where the replaced target was saved; `null` when none was. */
  saved: string | null;
  /** Records of each kind in the source, and after the move in the target. */
  counts: Counts;
  /** SHA-256 of the records of each kind and of all, as in a snapshot; `null` for a dry run. */
  digests: Record<Kind | "all", string> | null;
  /** Entries written to the target; a member takes two in the bucket. */
  written: number;
  /** Entries removed from the target, which the source does not have. */
  removed: number;
  /** The stream's sequence at the end. */
  sequence: number;
  /** Seconds taken, in all and by phase. */
  seconds: Record<"preflight" | "backup" | "copy" | "verify" | "total", number>;
}
