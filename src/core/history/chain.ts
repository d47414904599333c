/**
 * The hash chain of the history: the head after an entry depends on that entry and all before it.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { HistoryEntry } from "./entry.ts";

/** The head before the first entry, hex. */
export const FIRST_HEAD: string = "0".repeat(64);

/**
 * Returns the head after an entry: the SHA-256 of the head before it and of the entry's fields as JSON.
 *
 * @param head The head before it, hex
 */
export function headAfter(head: string, entry: HistoryEntry): string {
  const { revision, at, by, action, user, room, invite, before, after } = entry;
  const fields = [revision, at, by, action, user, room, invite, before, after];
  return createHash("sha256").update(Buffer.from(head, "hex")).update(JSON.stringify(fields))
    .digest("hex");
}
