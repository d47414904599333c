/**
 * The live move that a file takes part in, as the file itself has it.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../../core/errors.ts";
import { run } from "../connect.ts";
import { readRole } from "../role.ts";
import { createNotes, dropTriggers } from "./triggers.ts";

/** A live move. */
export interface Journey {
  /** Identifies it, 32 hex digits. */
  id: string;
  /** The bucket it goes to. */
  bucket: string;
  /** The servers, without user and password. */
  servers: string[];
  /** Counts its runs: only the latest may freeze, thaw or complete. */
  attempt: number;
  /** The generation of the control plane when the move is complete. */
  generation: number;
  /** When it began, ISO 8601. */
  startedAt: string;
}

/** Tells a file from a copy of it. Not by its device, which may have another number after a restart. */
const identityOf = (path: string): string => String(statSync(path).ino);

/** Returns the live move of a database, or `null`. It may be that of the file it is a copy of. */
export function readJourney(db: DatabaseSync): Journey & { file: string } | null {
  const row = db.prepare("SELECT * FROM journey").get();
  if (row === undefined) return null;
  return {
    id: String(row.id),
    bucket: String(row.bucket),
    servers: JSON.parse(String(row.servers)),
    attempt: Number(row.attempt),
    generation: Number(row.generation),
    startedAt: String(row.started_at),
    file: String(row.file),
  };
}

/** Where a live move goes. */
export type Destination = Pick<Journey, "bucket" | "servers">;

/**
 * Begins a live move, or continues the one of the file as its next run. In a transaction.
 *
 * @throws {StoreError} `refused`: the file has moved, is a copy, or its move goes to another bucket
 */
export function beginJourney(db: DatabaseSync, path: string, to: Destination): Journey {
  const { role, generation } = readRole(db);
  if (role !== "primary") {
    throw new StoreError("refused", `Moving ${path}: it is not the primary of a control plane`, {
      field: "role",
    });
  }
  const found = readJourney(db);
  if (found === null) {
    const id = randomBytes(16).toString("hex");
    const startedAt = new Date().toISOString();
    db.prepare("INSERT INTO journey VALUES (1, ?, ?, ?, 1, ?, ?, ?)")
      .run(id, to.bucket, JSON.stringify(to.servers), generation + 1, identityOf(path), startedAt);
    db.prepare("UPDATE file_role SET journey = ?").run(id);
    createNotes(db);
    return { ...to, id, attempt: 1, generation: generation + 1, startedAt };
  }
  requireOriginal(path, found);
  if (found.bucket !== to.bucket) {
    throw new StoreError(
      "refused",
      `Moving ${path} to bucket ${to.bucket}: a move to bucket ${found.bucket} began at ` +
        `${found.startedAt} and did not complete`,
      { field: "bucket", hint: "continue that one, or call it off" },
    );
  }
  return nextAttempt(db, found);
}

/** Refuses a file that is a copy of the one whose move it is. */
export function requireOriginal(path: string, journey: Journey & { file: string }): void {
  if (journey.file === identityOf(path)) return;
  throw new StoreError(
    "refused",
    `Moving ${path}: it is a copy of a file whose move to bucket ${journey.bucket} began at ` +
      `${journey.startedAt}`,
    { field: "journey", hint: "continue with that file, or call the move off for this one" },
  );
}

/** Makes the caller the run that owns the move. */
export function nextAttempt(db: DatabaseSync, journey: Journey): Journey {
  const attempt = journey.attempt + 1;
  own(db, journey, "UPDATE journey SET attempt = attempt + 1 WHERE attempt = ?");
  return { ...journey, attempt };
}

/**
 * Runs an update of the move's row that takes the attempt.
 *
 * @throws {StoreError} `conflict`: another run has taken over
 */
export function own(db: DatabaseSync, { attempt, bucket }: Journey, sql: string): void {
  if (Number(db.prepare(sql).run(attempt).changes) === 1) return;
  throw new StoreError("conflict", `Moving to bucket ${bucket}: another run has taken over`, {
    field: "journey",
  });
}

/** Removes all of a live move from a database that is not frozen. */
export function endJourney(db: DatabaseSync): void {
  forget(db);
  dropTriggers(db, "freeze");
  run(db, "UPDATE file_role SET journey = NULL, frozen_at = NULL");
}

/** Removes what a move needed while it ran. A file that has moved stays closed to writers. */
export function forget(db: DatabaseSync): void {
  dropTriggers(db, "note");
  run(db, "DELETE FROM journey");
  run(db, "DELETE FROM journey_changes");
}
