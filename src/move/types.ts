/**
 * Options and reports of migrations, in both directions.
 *
 * @module
 */

import type { JetStreamOptions } from "../jetstream/mod.ts";
import type { Counts, Kind } from "../core/model.ts";

/** The phase of a migration. The last progress report has `done`. */
export type MovePhase = "preflight" | "backup" | "copy" | "verify" | "history" | "done";

/** Progress of a migration. */
export interface MoveProgress {
  /** The current phase. */
  phase: MovePhase;
  /** Number of records done in this phase; of entries in `history`. */
  done: number;
  /** Number of records in this phase. */
  total: number;
}

/** Options of both directions. */
export interface MoveOptions {
  /** Path of the SQLite file. */
  db: string;
  /** The servers and the bucket, as for `openJetStream`. */
  nats: JetStreamOptions;
  /** Only checks what would be done, and writes nothing. */
  dryRun?: boolean;
  /** Replaces a target with other or newer records, after saving it to a file that the report names. */
  replace?: boolean;
  /** Moves the history too, and adds an entry that tells of the move. Default `true`. */
  history?: boolean;
  /** Who moves it, for the history. Default `library`. */
  by?: string;
  /** Called with the progress, the last time with the phase `done`. */
  onProgress?: (progress: MoveProgress) => void;
  /** Aborts the migration. Run it again to continue. */
  signal?: AbortSignal;
}

/** Options of {@link migrateSqliteToKv}. */
export interface SqliteToKvOptions extends MoveOptions {
  /** Number of copies of the stream, 1 to 5. Default: 1, or those of an existing bucket. */
  replicas?: number;
  /** Backs up the file first: beside it (default), to the given path, or not at all (`false`). */
  backup?: boolean | string;
}

/** Options of {@link migrateKvToSqlite}. */
export interface KvToSqliteOptions extends MoveOptions {
  /**
   * The file of a follower of the bucket: it is brought up to date and becomes the file at `db`, so that
   * nothing is copied. It must be on the same file system. Default: copy the bucket.
   */
  follower?: string;
}

/** The state in which the target was found. */
export type TargetState =
  | "absent"
  | "empty"
  /** An earlier run of this migration was interrupted. */
  | "resumed"
  /** This migration has completed before, and nothing was written since. */
  | "repeated"
  /** It has other records, which are saved to a file and replaced. */
  | "replaced";

/** What a migration did with the history. */
export interface MovedHistory {
  /** Number of entries written to the target. */
  written: number;
  /** The newest entry that the source has; `null` for none. */
  revision: string | null;
  /** The head of the chain there, hex: equal in source and target. */
  head: string;
}

/** Report of a migration. */
export interface MoveReport {
  /** Version of this report's format. */
  version: 1;
  /** The direction. */
  direction: "sqlite-to-kv" | "kv-to-sqlite";
  /** Whether nothing was written, and this is what would be done. */
  dryRun: boolean;
  /** Path of the SQLite file. */
  db: string;
  /** Name of the bucket. */
  bucket: string;
  /** Number of copies of the stream. */
  replicas: number;
  /** The state in which the target was found. */
  target: TargetState;
  /** Path of the backup of the file, or of the file that was replaced; `null` if there is none. */
  backup: string | null;
  /** Path of the snapshot of a replaced bucket; `null` if there is none. */
  saved: string | null;
  /** Number of records of each kind in the source, and after the migration in the target. */
  counts: Counts;
  /** SHA-256 of the records of each kind and of all, as in a snapshot; `null` for a dry run. */
  digests: Record<Kind | "all", string> | null;
  /** The history; `null` if it is not moved, or the source has none, and for a dry run. */
  history: MovedHistory | null;
  /** Number of entries written to the target; in a bucket, a member has two. */
  written: number;
  /** Number of entries removed from the target because the source does not have them. */
  removed: number;
  /** The stream's last sequence at the end. */
  sequence: number;
  /** Duration in seconds, in total and by phase. */
  seconds: Record<"preflight" | "backup" | "copy" | "verify" | "history" | "total", number>;
}
