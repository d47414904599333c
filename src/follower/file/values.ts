/**
 * The values of a bucket, made again from the tables of its follower.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../core/errors.ts";
import { type Kind, KINDS, type StoreRecord } from "../../core/model.ts";
import { isIndex, parseKey } from "../../jetstream/records/keys.ts";
import { encodeIndex, type Pending } from "../../jetstream/records/values.ts";
import { asArrays, type Row, TABLES } from "../../sqlite/rows.ts";
import { canonicalOf, hashOf, idOf } from "./changes.ts";

/** What a follower holds of a live key. */
export interface HeldValue {
  /** The sequence of the message. */
  revision: number;
  /** The hash of the message. */
  hash: Uint8Array;
  /** Makes the value; throws `corrupt` where it is not what the bucket held. */
  read(): string;
  /** Whether the file has the value itself, because the tables do not say all of it. */
  isKept: boolean;
  /** The value as the tables say it, which another program may have written otherwise; `null` where they have no record. */
  record(): string | null;
}

/** Makes a function that looks up a key in a follower's file; `null` where it is not live. */
export function valuesOf(path: string, db: DatabaseSync): (key: string) => HeldValue | null {
  const entry = db.prepare("SELECT revision, hash, value FROM follower_entries WHERE key = ?");
  const bad = db.prepare("SELECT value FROM follower_quarantine WHERE key = ?");
  const hasBad = db.prepare("SELECT 1 FROM follower_quarantine LIMIT 1").get() !== undefined;
  const pending = db.prepare("SELECT op FROM follower_pending WHERE room_id = ?");
  const rows = KINDS.map((kind) => {
    const { columns, key } = TABLES[kind];
    const where = key.split(", ").map((it) => `${it} = ?`).join(" AND ");
    return asArrays(db.prepare(`SELECT ${columns} FROM ${kind} WHERE ${where}`));
  });

  const recordOf = (key: string): string | null => {
    const parsed = parseKey(key);
    const table = KINDS.indexOf(parsed?.space as Kind);
    if (parsed === null || table < 0) return null;
    const row = rows[table]!.get(...idOf(parsed)) as unknown as Row | undefined;
    if (row === undefined) return null;
    const op = parsed.space === "rooms" ? pending.get(parsed.id)?.op : undefined;
    return valueOfRow(KINDS[table]!, row, op);
  };

  return (key) => {
    const row = entry.get(key);
    if (row === undefined) return null;
    const quarantined = row.value === null && hasBad ? bad.get(key)?.value : null;
    return heldValue(path, key, {
      revision: Number(row.revision),
      hash: row.hash as Uint8Array,
      kept: (row.value ?? quarantined ?? null) as Uint8Array | null,
      record: () => recordOf(key),
    });
  };
}

/** What the tables of a file have of a live key. */
interface Parts extends Pick<HeldValue, "revision" | "hash" | "record"> {
  /** The value, where the file has that itself. */
  kept: Uint8Array | null;
}

/** Makes what a follower holds of a live key from what its tables have. */
export function heldValue(path: string, key: string, parts: Parts): HeldValue {
  const { revision, hash, kept } = parts;
  const record = () => isIndex(key) ? null : parts.record();
  const canonical = () => isIndex(key) ? encodeIndex({ accepted: true }) : record();
  return {
    revision,
    hash,
    isKept: kept !== null,
    record,
    read() {
      const text = kept === null ? canonical() : Buffer.from(kept).toString("utf8");
      if (text !== null) {
        const found = hashOf({ key, revision, data: new TextEncoder().encode(text) });
        if (found.every((byte, i) => byte === hash[i])) return text;
      }
      throw new StoreError("corrupt", `Reading ${path}: ${key} is not what the bucket held`, {
        hint: "use the follower of another node",
      });
    },
  };
}

/** The value of a record as this program writes it, from its row; `op` is a room's change under way. */
export function valueOfRow(kind: Kind, row: Row, op: unknown): string {
  const it = { kind, record: TABLES[kind].fromRow(row) } as StoreRecord;
  return canonicalOf(it, op as Pending["op"] | undefined);
}
