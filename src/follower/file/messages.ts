/**
 * What a follower and the thread that works on its file tell each other.
 *
 * @module
 */

import type { SQLInputValue } from "node:sqlite";
import type { HistoryState, KeptLast, MoreHistory, TailEntry } from "../history/table.ts";

/** One message of the bucket, taken apart. */
export interface Change {
  /** The key. */
  key: string;
  /** The sequence of the message. */
  revision: number;
  /** Whether the key holds data now; its hash stands in {@link Changes.hashes}. */
  live: boolean;
  /** The value where the row does not say it all. */
  value: Uint8Array | null;
  /** Index of the table that holds the record; -1 for none. */
  table: number;
  /** The record's key in it. */
  id: SQLInputValue[];
  /** The record's row; `null` for none. */
  row: SQLInputValue[] | null;
  /** Of a room: the large change under way. */
  pending: string | null;
  /** Why the value is not a valid record. */
  problem: string | null;
  /** Whether it is an entry of the history; {@link value} has it, if the transaction was made. */
  isHistory: boolean;
  /** Whether it is a delete marker, a key of `meta`, or an entry of the history. */
  other: boolean;
  /** When it was written, by the server's clock, in milliseconds since 1970. */
  writtenAt: number;
  /** When the server removes it, in milliseconds since 1970. */
  expires: number | null;
}

/** Messages in the stream's order. */
export interface Changes {
  /** The messages. */
  changes: Change[];
  /** Bytes of the hash of each, one behind the other. */
  hashes: Uint8Array;
  /** Where a transaction ends behind them; `null` leaves it open. */
  end: { position: number; exact: boolean } | null;
}

/** What a file holds at the end of a transaction. */
export interface Held {
  /** The stream's name of the bucket. */
  bucket: string;
  /** When the stream was made. */
  created: string;
  /** All messages up to this sequence are in. */
  position: number;
  /** Whether each key has its latest message up to there. */
  exact: boolean;
  /** Sum of the hashes of all live keys with data, in hex. */
  digest: string;
  /** Number of those keys. */
  entries: number;
  /** When that was, in milliseconds since 1970. */
  updatedAt: number;
  /** When the message at the position was written, by the server's clock; `null` if it is not known. */
  writtenAt: number | null;
  /** Why the stream is not what it was; `null` for no such reason. */
  alarm: string | null;
  /** Number of records in quarantine. */
  quarantined: number;
  /** The first of them, and why it is not valid; `null` for none. */
  invalid: { key: string; problem: string } | null;
}

/** How many messages the stream should hold. */
export interface Expected {
  /** Messages that are there for certain. */
  certain: number;
  /** Delete markers and entries of the history that expire about now. */
  expiring: number;
  /** Those that have expired. A server that was away removes some thousands each second. */
  expired: number;
}

/** A live key: its revision and the hash of its message. */
export interface Known {
  /** The key. */
  key: string;
  /** The revision. */
  revision: number;
  /** The hash. */
  hash: Uint8Array;
}

/** Messages of the stream to compare with a file. */
export interface Sample {
  /** The messages; a delete marker has no hash. */
  seen: { key: string; revision: number; hash: Uint8Array | null }[];
  /** The position of the file up to which they are compared. */
  since: number;
}

/** What comparing them gave. */
export interface Compared {
  /** Of how many keys that were not written since the stream has that message, or a later one. */
  accounted: number;
  /** The first of another kind, and why; `null` for none. */
  found: string | null;
}

/** How the thread opens a file. */
export interface WorkOptions {
  /** The file; its schema must be there. */
  path: string;
  /** The file whose lock says who applies. */
  lock: string;
  /** The key of the mark of a move. */
  marker: string;
  /** The tables: name, columns, and columns of the key. */
  tables: [name: string, columns: string[], key: string[]][];
}

/** What the thread can be asked, by name: what it takes and what it answers. */
export interface Work {
  /** Takes the lock, if nobody else has it. */
  lock: [undefined, boolean];
  /** Reads what the file holds; `null` before the first load. */
  held: [undefined, Held | null];
  /** Begins to load a bucket: all that was there goes when that ends. */
  load: [{ bucket: string; created: string }, void];
  /** Notes that the stream was created again with all that it held. */
  adopt: [string, void];
  /** Applies messages; answers with what the file holds when that ended a transaction. */
  apply: [Changes, Held | null];
  /** Drops what was applied since the last transaction ended. */
  rollback: [undefined, Held | null];
  /** Counts the messages that the stream should hold at a time; forgets those that have been removed. */
  expected: [{ at: number; margin: number; wereRemoved: boolean }, Expected];
  /** Reads the keys with the newest revisions. */
  newest: [number, Known[]];
  /** Adds up the hashes again: whether the digest is their sum. */
  isSummed: [undefined, boolean];
  /** Compares messages of the stream with the file. */
  compare: [Sample, Compared];
  /** Reads the next live keys that begin with a text, and what the file held at that time. */
  keys: [{ prefix: string; after: string }, { held: Held | null; keys: string[] }];
  /** Reads how far the history in the file has come. */
  history: [undefined, HistoryState];
  /** Reads what it ends with. */
  historyEnd: [undefined, KeptLast];
  /** Reads entries of the history that came with the stream; `null` while the file is being written. */
  tail: [number, TailEntry[] | null];
  /** Takes in entries of the history that follow those in the file; `null` while it is being written. */
  addHistory: [MoreHistory, HistoryState | null];
  /** Counts the live keys that begin with a text and were not written after a position. */
  count: [{ prefix: string; since: number }, number];
  /** Stores an alarm where this thread applies, and drops what was not committed; returns whether it did. */
  alarm: [string, boolean];
  /** Notes something in the file durably, with all that was committed; `null` removes it. */
  note: [{ key: string; value: string | null }, void];
  /** Writes the log into the file, except what other connections still read. */
  checkpoint: [undefined, void];
  /** Locks all other connections out; answers `false` if there is one, or the file is being written. */
  holdAlone: [undefined, boolean];
  /** Lets them in again; answers `false` while the file is being written. */
  share: [undefined, boolean];
  /** Closes the file and lets go of the lock. */
  close: [undefined, void];
}
