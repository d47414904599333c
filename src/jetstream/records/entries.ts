/**
 * Encodes and decodes entries of the history.
 *
 * In the bucket's stream an entry is the last message of its transaction, and its sequence is the number
 * of its revision. In the archive the number is the sequence that the source had; an entry that a move
 * brought names its number itself. A message without data stands for a transaction that was not made.
 *
 * @module
 */

import type { MsgHdrs } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import type { Author, Draft, HistoryEntry } from "../../core/history/entry.ts";
import { formatRevision, parseRevision, type Revision } from "../../core/history/revision.ts";
import { parseValue, VALUE_VERSION } from "./values.ts";

/** Header with the message's sequence in the stream that the archive took it from. */
const SOURCE = "Nats-Stream-Source";

/** An entry, with its revision in the form that compares. */
export interface Placed {
  /** The entry. */
  entry: HistoryEntry;
  /** Its revision. */
  at: Revision;
}

/** Encodes the entry of a transaction. */
export function encodeEntry(draft: Draft, { at, by }: Author, generation: number): string {
  return encode({ ...draft, at, by }, { g: generation });
}

/** Encodes an entry that a move brings into the archive. */
export function encodeMoved({ revision, ...entry }: HistoryEntry): string {
  const { generation, number } = parseRevision("revision", revision);
  return encode(entry, { g: generation, n: number });
}

function encode(entry: Omit<HistoryEntry, "revision">, at: { g: number; n?: number }): string {
  const { by, action, user, room, invite, before, after } = entry;
  const fields = { at: entry.at, by, action, user, room, invite, before, after };
  const set = Object.entries(fields).filter(([, value]) => value !== null);
  return JSON.stringify({ v: VALUE_VERSION, ...at, ...Object.fromEntries(set) });
}

/**
 * Decodes an entry of the bucket's stream; returns `null` for a transaction that was not made.
 *
 * @throws {StoreError} corrupt: it cannot be read; unsupported: it has a newer version
 */
export function decodeEntry(data: Uint8Array, sequence: number): Placed | null {
  if (data.length === 0) return null;
  const value = parseValue(`history entry ${sequence}`, data);
  const { g, n = 0, at, by, action, user = null, room = null } = value;
  const { invite = null, before = null, after = null } = value;
  const isPlace = [g, n].every((it) => Number.isSafeInteger(it) && it >= 0);
  if (!isPlace || ![at, by, action].every((it) => typeof it === "string")) {
    throw new StoreError("corrupt", `Value of history entry ${sequence || n} is not an entry`);
  }
  // Only what a move brought has no sequence, and names its number.
  const revision: Revision = { generation: g, number: sequence || n };
  const text = formatRevision(revision);
  return {
    entry: { revision: text, at, by, action, user, room, invite, before, after },
    at: revision,
  };
}

/** Where the archive took a message from. */
export interface Origin {
  /** The stream. */
  stream: string;
  /** The message's sequence there. */
  sequence: number;
}

/** Returns where the archive took a message from; `null` if a move brought it. */
export function originOf(headers: Pick<MsgHdrs, "get">): Origin | null {
  const [stream = "", sequence] = headers.get(SOURCE).split(" ");
  return stream === "" ? null : { stream, sequence: Number(sequence) };
}
