/**
 * A file whose control plane moved on: where to, noted in the file itself.
 *
 * @module
 */

import { resolve } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../core/errors.ts";
import { connect } from "./connect.ts";
import { toStoreError } from "./errors.ts";
import { getMeta } from "./schema.ts";

/** Key in the `meta` table. */
export const MOVED_KEY = "moved";

/** Where a control plane went. */
export interface Moved {
  /** The bucket. */
  bucket: string;
  /** The servers, without user and password. */
  servers: string[];
  /** When, ISO 8601. */
  at: string;
}

/** The note as text. */
export function formatMoved({ bucket, servers, at }: Moved): string {
  return JSON.stringify({ version: 1, bucket, servers, at });
}

/** Reads a note; one that cannot be read still says that it moved. */
function parseMoved(text: string): Moved {
  let it: Partial<Moved> | null = null;
  try {
    it = JSON.parse(text);
  } catch {
    // Damaged, or of a newer program.
  }
  const { bucket, servers, at } = it ?? {};
  return {
    bucket: typeof bucket === "string" ? bucket : "?",
    servers: Array.isArray(servers) ? servers.map(String) : [],
    at: typeof at === "string" ? at : "?",
  };
}

/** A note for people, without an end. */
export function showMoved({ bucket, servers, at }: Moved): string {
  const where = servers.length === 0 ? "" : ` on ${servers.join(", ")}`;
  return `its control plane moved to bucket ${bucket}${where} at ${at}`;
}

/** Where the control plane of a database went; `null` where it is here. */
export function readMoved(db: DatabaseSync): Moved | null {
  const text = getMeta(db, MOVED_KEY);
  return text === null ? null : parseMoved(text);
}

/** The same of a file, which is only read. */
export function movedOf(path: string): Moved | null {
  const db = connect(resolve(path), { busyTimeout: 5000, readOnly: true });
  try {
    return readMoved(db);
  } catch (error) {
    throw toStoreError(error, `Opening ${path}`);
  } finally {
    db.close();
  }
}

/** `refused` for a file that moved: nobody would read what is written to it. */
export function refuseMoved(db: DatabaseSync, path: string): void {
  const moved = readMoved(db);
  if (moved === null) return;
  throw new StoreError("refused", `Opening ${path} for writing: ${showMoved(moved)}`, {
    field: "moved",
    hint: "open that bucket, or move it back with migrateKvToSqlite",
  });
}
