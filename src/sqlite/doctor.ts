/**
 * Looks a SQLite file over, without writing to it.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { isStoreError } from "../errors.ts";
import { checkedRecords } from "../integrity.ts";
import type { StoreRecord } from "../model.ts";
import { connect, value } from "./connect.ts";
import { toStoreError } from "./errors.ts";
import { checkHealth } from "./health.ts";
import { openSqlite } from "./mod.ts";
import { readMoved, showMoved } from "./moved.ts";
import { SCHEMA_VERSION, schemaVersion } from "./schema.ts";

/** One thing that was looked at. */
export interface FileFinding {
  /** What was looked at. */
  check: "schema" | "moved" | "integrity" | "records" | "keys" | "admin";
  /** `problem` wants mending. */
  level: "ok" | "warning" | "problem";
  /** What was found, and what to do. */
  message: string;
}

const LACKING = `
SELECT count(DISTINCT m.room_id) FROM members m
JOIN rooms r ON r.id = m.room_id AND r.encrypted = 1
LEFT JOIN room_keys k ON k.room_id = m.room_id AND k.epoch = r.epoch AND k.endpoint = m.endpoint
WHERE k.room_id IS NULL`;

const ADMINS = "SELECT count(*) FROM users WHERE role = 'admin' AND status = 'active'";

/**
 * Looks a file over: schema version, every page and reference, that the records are within their
 * limits and fit together, members without their room's current key, and that there is an admin.
 * Rejects as `openSqlite` does for what is no control plane.
 */
export async function diagnoseFile(path: string, signal: AbortSignal): Promise<FileFinding[]> {
  await using store = openSqlite(path, { readOnly: true, create: false });
  const db = connect(path, { busyTimeout: 5000, readOnly: true });
  try {
    const version = schemaVersion(db, path);
    return [
      { check: "schema", level: "ok", message: `Schema version ${version} of ${SCHEMA_VERSION}` },
      ...moved(db),
      await found("integrity", () => {
        checkHealth(db, path);
        return "Every page, index and reference is sound";
      }),
      await found("records", async () => {
        const count = await countFitting(store.records({ signal }));
        return `${count} records are within their limits and fit together`;
      }),
      await found("keys", () => keys(db)),
      await found("admin", () => admin(db)),
    ];
  } finally {
    db.close();
  }
}

/** Damage is a finding; that the file cannot be read now is not. */
async function found(
  check: FileFinding["check"],
  look: () => string | FileFinding | Promise<string>,
): Promise<FileFinding> {
  try {
    const it = await look();
    return typeof it === "string" ? { check, level: "ok", message: it } : it;
  } catch (error) {
    const it = toStoreError(error, `Looking at the ${check}`);
    if (!isStoreError(it, "corrupt") && !isStoreError(it, "invalid")) throw it;
    return { check, level: "problem", message: it.message };
  }
}

async function countFitting(records: AsyncIterable<StoreRecord>): Promise<number> {
  let count = 0;
  for await (const _ of checkedRecords(records)) count++;
  return count;
}

function moved(db: DatabaseSync): FileFinding[] {
  const it = readMoved(db);
  if (it === null) return [];
  return [{ check: "moved", level: "warning", message: `The file is stale: ${showMoved(it)}` }];
}

function keys(db: DatabaseSync): FileFinding {
  const rooms = Number(value(db, LACKING));
  return rooms === 0
    ? { check: "keys", level: "ok", message: "Every member has the current key of its room" }
    : {
      check: "keys",
      level: "warning",
      message: `In ${rooms} rooms somebody lacks the current key; room show says who`,
    };
}

function admin(db: DatabaseSync): FileFinding {
  const admins = Number(value(db, ADMINS));
  return admins > 0
    ? {
      check: "admin",
      level: "ok",
      message: `${admins} active ${admins === 1 ? "admin" : "admins"}`,
    }
    : {
      check: "admin",
      level: "warning",
      message: "There is no active admin; invite create --role admin makes the way for one",
    };
}
