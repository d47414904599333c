/**
 * The follower's file and the file that it becomes: whether one can become the other, and making it so.
 *
 * @module
 */

import { existsSync, renameSync, statfsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { StoreError } from "../../../core/errors.ts";
import { lockOf } from "../../../follower/file/prepare.ts";
import { JOURNEY } from "../../../follower/kept.ts";
import { flip, openStill, requireWhole, type StillFile } from "../../../follower/flip.ts";
import { toStoreError } from "../../../files/errors.ts";
import type { Moved } from "../../../jetstream/log/marked.ts";
import { readFrom } from "../../../sqlite/file/connect.ts";
import { exists } from "../../../sqlite/file/file.ts";
import { readRole } from "../../../sqlite/file/role.ts";
import { getMeta, schemaVersion } from "../../../sqlite/file/schema.ts";
import { openSource, storeIdOf } from "../../../sqlite/file/source.ts";
import { clearLeftovers, partialOf, putInPlace, removeFile } from "../../place.ts";

/** Free bytes that making a file the primary needs, whatever its size. */
const ROOM = 32 * 1024 * 1024;

/** What a file says about itself. */
export interface Known {
  /** What it is. */
  role: ReturnType<typeof readRole>;
  /** Identity of the control plane. */
  storeId: string;
  /** The live move that makes it the control plane, if it is a follower. */
  prepared: string | null;
}

/** Reads what a file is, while others use it; `null` if there is none. */
export function knownOf(path: string): Known | null {
  if (!existsSync(path)) return null;
  return readFrom(path, `Opening ${path}`, (db) => {
    schemaVersion(db, path);
    return { role: readRole(db), storeId: storeIdOf(db, path), prepared: getMeta(db, JOURNEY) };
  });
}

/**
 * Checks that the follower's file can take the place of what is at `db`.
 *
 * @param source Identity of the control plane in the bucket; `null` if it did not come from a file
 * @returns The identity of the control plane from now on
 * @throws {StoreError} `refused`: another file is there, it is in use, the disk is full, or they are on
 * different file systems; `not_found`: no such directory
 */
export function requirePlace(db: string, follower: string, source: string | null): string {
  const refuse = (found: string, hint: string): never => {
    throw new StoreError("refused", `Moving to ${db}: ${found}`, { field: "db", hint });
  };
  const directory = dirname(db);
  if (!existsSync(directory)) refuse("its directory does not exist", "create it");
  if (statSync(directory).dev !== statSync(follower).dev) {
    refuse(
      `it is on another file system than the follower ${follower}`,
      "put the follower's file next to it",
    );
  }
  const { bavail, bsize } = statfsSync(directory);
  if (bavail * bsize < ROOM) refuse(`its disk has ${bavail * bsize} bytes left`, "make room");
  if (!exists(db)) return source ?? knownOf(follower)!.storeId;
  const { role: { role }, storeId } = knownOf(db)!;
  if (role !== "moved") {
    refuse(`there is a file that is a ${role}`, "name another file, or move that one away");
  }
  if (source !== null && source !== storeId) {
    refuse("there is a file of another control plane", "name another file, or move that one away");
  }
  // Nobody may use it, and its log moves into it now.
  openSource(db, { check: false }).close();
  return storeId;
}

/** What the follower's file becomes. */
export interface Becomes {
  /** Where the control plane went, as the mark says. */
  moved: Moved;
  /** The move. */
  journey: string;
  /** The generation from now on. */
  generation: number;
  /** Identity of the control plane. */
  storeId: string;
}

/** What became of it. */
export interface Taken {
  /** Path of the file that was there before. */
  backup: string | null;
  /** Rooms with a change that was not complete. */
  undone: string[];
}

/** Whether a file is the primary by a move, or by none. */
function isBy(path: string, journey: string | null): boolean {
  const role = knownOf(path)?.role;
  return role?.role === "primary" && role.journey === journey;
}

/** Whether the files at these paths are those that a move makes the control plane. */
export function isKept(db: string, follower: string, journey: string): boolean {
  return [db, partialOf(db), follower].some((it) => isBy(it, journey)) ||
    knownOf(follower)?.prepared === journey;
}

/** Whether a follower was promoted without a move, and is not in its place yet. */
export function isPromoted(db: string, follower: string): boolean {
  return [follower, partialOf(db)].some((it) => isBy(it, null));
}

/** Makes the follower's file the primary; nothing if it is. Can be called again when it failed or was killed. */
export function take(db: string, follower: string, becomes: Becomes): string[] {
  const { moved, journey, generation, storeId } = becomes;
  if ([db, partialOf(db), follower].some((it) => isBy(it, journey))) return [];
  using file = openStill(follower);
  requireWhole(file);
  requireSame(file, moved);
  return flip(file, { generation, storeId, journey, by: moved.by ?? "server" });
}

/** Requires that a file holds what it held when the control plane left the bucket. */
function requireSame({ path, held }: StillFile, { position, digest }: Moved): void {
  if (held.position >= position && held.digest === digest) return;
  throw new StoreError(
    "mismatch",
    `Checking ${path}: it is at position ${held.position} with digest ${held.digest}, the control ` +
      `plane left at ${position} with ${digest}`,
  );
}

/**
 * Puts the primary in its place; returns the path of the file that was there. Can be called again when
 * it failed or was killed.
 *
 * @param journey The move that made it the primary; `null` if it was promoted
 */
export function place(db: string, follower: string, journey: string | null): string | null {
  const partial = partialOf(db);
  try {
    if (isBy(follower, journey)) {
      // Moves its log into it: after a kill that has what made it the primary.
      openSource(follower, { check: false }).close();
      clearLeftovers(db);
      renameSync(follower, partial);
      // Readers, such as this, leave an empty log.
      removeFile(follower);
    }
    removeFile(lockOf(follower));
    if (!isBy(db, journey)) return putInPlace(db);
    clearLeftovers(db);
    return null;
  } catch (error) {
    throw toStoreError(error, `Renaming ${follower} to ${db}`);
  }
}
