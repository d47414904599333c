/**
 * The role of a file, stored in the file itself: the primary of a control plane, a follower of a bucket,
 * or one whose control plane has moved.
 *
 * @module
 */

import { resolve } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../core/errors.ts";
import { readFrom, value } from "./connect.ts";
import { getMeta } from "./schema.ts";

/** The role of a file. */
export type Role = "primary" | "follower" | "moved";

/** The bucket to which a control plane has moved, or that a file follows. */
export interface Place {
  /** The bucket. */
  bucket: string;
  /** The servers, without user and password. */
  servers: string[];
  /** When the control plane went there or the file began to follow, ISO 8601. */
  at: string;
}

/** The role of a file and its details. */
export interface FileRole {
  /** The role. */
  role: Role;
  /** The bucket; `null` in a primary. */
  place: Place | null;
  /** Grows with each change of sides; a client refuses a lower one than it has seen. */
  generation: number;
  /** The live move the file takes part in, moved by, or left without telling its bucket, if any. */
  journey: string | null;
  /** Since when its writers are frozen, milliseconds since 1970; `null` if they are not. */
  frozenAt: number | null;
}

/** Where the note of a moved file stands before schema version 6. */
const OLD_KEY = "moved";

/** Parses a place. One that cannot be parsed still means that there is one. */
function parsePlace(text: string): Place {
  let place: Partial<Place> | null = null;
  try {
    place = JSON.parse(text);
  } catch {
    // Damaged, or written by a newer program.
  }
  const { bucket, servers, at } = place ?? {};
  return {
    bucket: typeof bucket === "string" ? bucket : "?",
    servers: Array.isArray(servers) ? servers.map(String) : [],
    at: typeof at === "string" ? at : "?",
  };
}

/** Returns the role of a database; one of a version without roles is a primary, or moved. */
export function readRole(db: DatabaseSync): FileRole {
  if (value(db, "SELECT 1 FROM sqlite_schema WHERE name = 'file_role'") === undefined) {
    const note = getMeta(db, OLD_KEY);
    const role = note === null ? "primary" : "moved";
    const place = note === null ? null : parsePlace(note);
    return { role, place, generation: 0, journey: null, frozenAt: null };
  }
  // Before schema version 9 nothing is frozen, and there is no such column.
  const row = db.prepare("SELECT * FROM file_role").get();
  if (row === undefined) {
    throw new StoreError("corrupt", "Reading the role of the file: the row is missing");
  }
  return {
    role: row.role as Role,
    place: row.place === null ? null : parsePlace(String(row.place)),
    generation: Number(row.generation),
    journey: row.journey === null ? null : String(row.journey),
    frozenAt: row.frozen_at === undefined || row.frozen_at === null ? null : Number(row.frozen_at),
  };
}

/** Sets the role of a database of the current schema version. Its generation and journey stay. */
export function setRole(db: DatabaseSync, role: Role, place: Place | null): void {
  const text = place && JSON.stringify({ version: 1, ...place });
  db.prepare("UPDATE file_role SET role = ?, place = ?").run(role, text);
}

/** Sets the generation of the control plane in a database; it takes part in no live move. */
export function setGeneration(db: DatabaseSync, generation: number): void {
  db.prepare("UPDATE file_role SET generation = ?, journey = NULL").run(generation);
}

/** Sets the live move by which the control plane came to a database, or that it left. */
export function setJourney(db: DatabaseSync, journey: string): void {
  db.prepare("UPDATE file_role SET journey = ?").run(journey);
}

/** Describes a bucket for people. */
function showPlace({ bucket, servers }: Place): string {
  return `bucket ${bucket}${servers.length === 0 ? "" : ` on ${servers.join(", ")}`}`;
}

/** A note for people, without an end. */
export function showMoved(it: Place): string {
  return `its control plane moved to ${showPlace(it)} at ${it.at}`;
}

/** Where the control plane of a database went; `null` where it is here. */
export function readMoved(db: DatabaseSync): Place | null {
  const { role, place } = readRole(db);
  return role === "moved" ? place : null;
}

/** Reads what a file is, without changing it. */
export function roleOf(path: string): FileRole {
  return readFrom(resolve(path), `Opening ${path}`, readRole);
}

/** Where the control plane of a file went, without changing it; `null` where it is here. */
export function movedOf(path: string): Place | null {
  const { role, place } = roleOf(path);
  return role === "moved" ? place : null;
}

/** How a file is to be used. */
export interface Use {
  /** As what it is opened. Default `primary`. */
  as?: "primary" | "follower";
  /** Whether it is only read. */
  readOnly?: boolean;
  /** Open a primary for writing although its control plane moved. */
  allowMoved?: boolean;
}

/**
 * Refuses a file that is something else than it is to be used as.
 *
 * @throws {StoreError} `refused`: it follows a bucket, its control plane moved, or it is a primary;
 * `in_progress`: it is frozen
 */
export function refuseOtherUse(db: DatabaseSync, path: string, use: Use): void {
  const { role, place, frozenAt } = readRole(db);
  if (use.as === "follower") {
    if (role === "follower") return;
    const found = role === "moved" ? showMoved(place!) : "it is the primary of a control plane";
    throw new StoreError("refused", `Opening ${path} as a follower: ${found}`, {
      field: "role",
      hint: "name another file for the follower; one that does not exist is created",
    });
  }
  if (role === "follower") {
    throw new StoreError("refused", `Opening ${path}: it is a follower of ${showPlace(place!)}`, {
      field: "role",
      hint: `open that bucket; if its cluster is lost, run membershipd promote ${path}`,
    });
  }
  if (use.readOnly) return;
  // Nobody would read what is written to it.
  if (role === "moved" && !use.allowMoved) throw movedError(`Opening ${path} for writing`, place!);
  if (role === "primary" && frozenAt !== null) {
    throw new StoreError(
      "in_progress",
      `Opening ${path} for writing: its control plane is being switched to a bucket since ` +
        new Date(frozenAt).toISOString(),
      { field: "journey", hint: "start membershipd: it settles the switch with the bucket" },
    );
  }
}

/** Creates the error for a file whose control plane has moved. */
export function movedError(attempt: string, place: Place): StoreError {
  return new StoreError("refused", `${attempt}: ${showMoved(place)}`, {
    field: "moved",
    hint: "open that bucket, or move it back with migrateKvToSqlite",
  });
}
