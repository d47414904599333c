import type { Migration } from "./mod.ts";

const DIGITS = "[0-9a-f]".repeat(64);
// GLOB stops at a NUL, so the length is that of all bytes.
const bytes = (it: string) => `length(CAST(${it} AS BLOB))`;
/** 64 lower-case hex digits. */
const hex = (it: string) => `${bytes(it)} = 64 AND ${it} GLOB '${DIGITS}'`;
/** A time as `Date.prototype.toISOString()` writes it. */
const time = (it: string) =>
  `${bytes(it)} = 24 AND ${it} GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T` +
  `[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9]Z'`;
const orNull = (it: string, check: string) => `(${it} IS NULL OR (${check}))`;
/** So many characters, none of them NUL. */
const text = (it: string, min: number, max: number) =>
  `length(${it}) BETWEEN ${min} AND ${max} AND instr(${it}, char(0)) = 0`;
/** What a bucket's key or a NATS subject can hold. */
const name = (it: string) =>
  `${bytes(it)} BETWEEN 1 AND 256 AND instr(${it}, char(0)) = 0 AND ${it} NOT GLOB '*[ *>]*' ` +
  `AND ${it} NOT GLOB '.*' AND ${it} NOT GLOB '*.' AND instr(${it}, '..') = 0`;
const epoch = (it: string) => `${it} <= 2147483647`;

const TABLES: Record<string, Record<string, (it: string) => string>> = {
  rooms: { id: name, subject: name, owner: hex, epoch, created_at: time },
  members: { endpoint: hex, kex_pub: hex, joined_at: time },
  room_keys: { epoch, endpoint: hex, created_at: time },
  users: {
    sign_pub: hex,
    kex_pub: hex,
    handle: (it) => text(it, 1, 64),
    created_at: time,
    revoked_at: (it) => orNull(it, time(it)),
  },
  invites: {
    id: hex,
    created_by: (it) => text(it, 1, 128),
    note: (it) => text(it, 0, 500),
    created_at: time,
    expires_at: (it) => text(it, 0, 64),
    used_at: (it) => orNull(it, time(it)),
    used_by: (it) => orNull(it, hex(it)),
    canceled_at: (it) => orNull(it, time(it)),
  },
};

function triggersOf(table: string): string {
  const checks = Object.entries(TABLES[table]!).map(([column, check]) => ({
    message: `${table}.${column} is not valid`,
    valid: `(${check(`NEW.${column}`)})`,
    // Only what changes is judged: a record that was bad before must stay open to other changes.
    same: `NEW.${column} IS OLD.${column}`,
  }));
  if (table === "room_keys") {
    checks.push({
      message: "room_keys.epoch is ahead of the room",
      valid: "(NEW.epoch <= coalesce((SELECT epoch FROM rooms WHERE id = NEW.room_id), NEW.epoch))",
      same: "NEW.epoch IS OLD.epoch",
    });
  }
  const trigger = (event: string, isValid: (it: typeof checks[number]) => string) => `
CREATE TRIGGER ${table}_valid_${event} BEFORE ${event} ON ${table}
WHEN NOT (${checks.map(isValid).join("\n  AND ")})
BEGIN
${checks.map((it) => `  SELECT RAISE(ABORT, '${it.message}') WHERE NOT ${isValid(it)};`).join("\n")}
END;
`;
  return trigger("insert", ({ valid }) => valid) +
    trigger("update", ({ valid, same }) => `(${same} OR ${valid})`);
}

/**
 * The limits of records in the file itself, for what other programs write. Triggers and not
 * constraints, because a file that holds invalid records must still open; `doctor` names those. The
 * whole of the limits is in `src/core/validate.ts`: SQL can say only a part of them.
 */
export const migration: Migration = {
  version: 5,
  name: "record_checks",
  sql: Object.keys(TABLES).map(triggersOf).join(""),
};
