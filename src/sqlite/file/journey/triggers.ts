/**
 * The triggers of a live move: they note the keys of changed records, and stop writers while the control
 * plane is switched. They run in the transactions of all writers, of whatever process.
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { type Kind, KINDS } from "../../../core/model.ts";
import { run } from "../connect.ts";
import { FROZEN } from "../errors.ts";

const EVENTS = ["INSERT", "UPDATE", "DELETE"] as const;

/** The parts of a record's key in its table, as `recordKey` has them. */
const KEYS: Record<Kind, [text: string, epoch: string | null, rest: string | null]> = {
  rooms: ["id", null, null],
  members: ["room_id", null, "endpoint"],
  room_keys: ["room_id", "epoch", "endpoint"],
  users: ["sign_pub", null, null],
  invites: ["id", null, null],
};

/**
 * Creates the triggers that note changes. A key is removed and added again, so that a note that has been
 * read is never the note of a later change; without a conflict clause, which the writer's would override.
 */
export function createNotes(db: DatabaseSync): void {
  for (const kind of KINDS) {
    const keyOf = (row: "NEW" | "OLD") => {
      const [text, epoch, rest] = KEYS[kind];
      return [text, epoch, rest].map((it, i) =>
        it === null ? ["''", "0", "''"][i] : `${row}.${it}`
      );
    };
    const note = (row: "NEW" | "OLD") => {
      const [text, epoch, rest] = keyOf(row);
      return `
  DELETE FROM journey_changes
    WHERE kind = '${kind}' AND text = ${text} AND epoch = ${epoch} AND rest = ${rest};
  INSERT INTO journey_changes (kind, text, epoch, rest)
    VALUES ('${kind}', ${text}, ${epoch}, ${rest});`;
    };
    const rows = { INSERT: ["NEW"], UPDATE: ["OLD", "NEW"], DELETE: ["OLD"] } as const;
    for (const event of EVENTS) {
      run(
        db,
        `CREATE TRIGGER journey_note_${kind}_${event.toLowerCase()} AFTER ${event} ON ${kind}
BEGIN${rows[event].map(note).join("")}
END`,
      );
    }
  }
}

/** Creates the triggers that abort every write of a record. */
export function createFreeze(db: DatabaseSync, bucket: string): void {
  for (const kind of KINDS) {
    for (const event of EVENTS) {
      run(
        db,
        `CREATE TRIGGER IF NOT EXISTS journey_freeze_${kind}_${event.toLowerCase()} BEFORE ${event} ON ${kind}
BEGIN SELECT RAISE(ABORT, '${FROZEN}${bucket}'); END`,
      );
    }
  }
}

/** Drops the triggers of one kind. */
export function dropTriggers(db: DatabaseSync, which: "note" | "freeze"): void {
  const triggers = db.prepare(
    "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name GLOB ?",
  ).all(`journey_${which}_*`);
  for (const { name } of triggers) run(db, `DROP TRIGGER ${name}`);
}
