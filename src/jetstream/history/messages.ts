/**
 * Reads messages of the archive, and entries in the bucket's stream.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { DirectMsgHeaders } from "@nats-io/jetstream";
import type { MsgHdrs } from "@nats-io/transport-node";
import { isStoreError, StoreError } from "../../core/errors.ts";
import type { Bucket } from "../log/bucket.ts";
import {
  directGet,
  endedBy,
  leaderGet,
  type LeaderMessage,
  type LeaderQuery,
} from "../log/direct.ts";
import { left, retry, Transient } from "../log/wire.ts";
import { HISTORY_PATTERN } from "../records/keys.ts";
import { archiveOf } from "./archive.ts";
import { decodeEntry, originOf, type Placed } from "../records/entries.ts";

/** Messages asked for at a time. */
const BATCH = 1000;
/** Milliseconds for one read. */
const TRY_TIMEOUT = 1500;

/** A message of one of both streams. */
export interface Message {
  /** Its sequence there. */
  sequence: number;
  /** Its sequence in the bucket's stream; `null` for an entry that a move brought. */
  origin: number | null;
  /** The stream that the archive took it from; `null` for others. */
  stream: string | null;
  /** The entry; `null` for a transaction that was not made, and if it cannot be read. */
  placed: Placed | null;
  /** Why it cannot be read; `null` if it can. */
  problem: StoreError | null;
}

/**
 * Returns the entry of a message; `null` for a transaction that was not made.
 *
 * @throws {StoreError} corrupt: it cannot be read; unsupported: it has a newer version
 */
export function entryOf({ placed, problem }: Message): Placed | null {
  if (problem !== null) throw problem;
  return placed;
}

/** What to do about a history that cannot be read any further. */
const DAMAGED =
  "membershipd log verify lists all such places, membershipd repair --from follower " +
  "writes the archive back from a second copy, and membershipd log --after reads the entries after it";

/** Creates the error for an entry that does not stand in the order of revisions. */
export function misplaced(
  bucket: Bucket,
  { revision, sequence, other }: { revision: string; sequence: number; other: string },
): StoreError {
  const { stream } = archiveOf(bucket.name);
  return new StoreError(
    "corrupt",
    `Reading the history of bucket ${bucket.name}: revisions ${revision} and ${other} at message ` +
      `${sequence} of stream ${stream} are not in order, so one of them was inserted`,
    { field: "history", hint: DAMAGED },
  );
}

/**
 * Reads messages of a stream from a sequence on, in order.
 *
 * @throws {Transient} No answer
 */
export async function readBatch(
  bucket: Bucket,
  from: "archive" | "bucket",
  sequence: number,
  { count = BATCH, deadline }: { count?: number; deadline: number },
): Promise<Message[]> {
  const archive = archiveOf(bucket.name);
  const [stream, subject] = from === "archive"
    ? [archive.stream, archive.subject]
    : [bucket.stream, bucket.subject(HISTORY_PATTERN)];
  const found: Message[] = [];
  bucket.refuseLost();
  const query = { seq: sequence, next_by_subj: subject, batch: count };
  const timeout = Math.min(left(deadline), TRY_TIMEOUT);
  const end = await directGet(bucket.nc, stream, query, timeout, (_, headers, data) => {
    const sequence = Number(headers.get(DirectMsgHeaders.Sequence));
    found.push(messageOf(stream, from, sequence, headers, data));
  });
  bucket.refuseLost();
  if (end.code === 204 || end.code === 404) return found;
  throw endedBy(end);
}

/**
 * Iterates over the messages of a stream from its beginning to its leader's end, also those that cannot be
 * read.
 *
 * @param soon Returns the deadline of a read that begins now
 * @param end The last sequence that is read
 */
export async function* messagesOf(
  bucket: Bucket,
  from: "archive" | "bucket",
  soon: () => number,
  signal: AbortSignal | undefined,
  end = Infinity,
): AsyncGenerator<Message> {
  for (let next = 1; next <= end;) {
    signal?.throwIfAborted();
    const deadline = soon();
    const found = await retry(`Read the ${from}`, deadline, async () => {
      const found = await readBatch(bucket, from, next, { deadline });
      if (found.length > 0 || await lastSequence(bucket, from, deadline) < next) return found;
      throw new Transient(`the replica has not all of the ${from} yet`);
    });
    if (found.length === 0) return;
    for (const message of found) if (message.sequence <= end) yield message;
    next = found.at(-1)!.sequence + 1;
  }
}

/** Decodes a message of one of both streams. */
function messageOf(
  name: string,
  from: "archive" | "bucket",
  sequence: number,
  headers: Pick<MsgHdrs, "get">,
  data: Uint8Array,
): Message {
  const taken = from === "bucket" ? null : originOf(headers);
  const origin = from === "bucket" ? sequence : taken?.sequence ?? null;
  const message = { sequence, origin, stream: taken?.stream ?? null, placed: null, problem: null };
  try {
    return { ...message, placed: decodeEntry(data, origin ?? 0) };
  } catch (error) {
    if (!isStoreError(error)) throw error;
    const { code, message: why } = error;
    const what = `Message ${sequence} of stream ${name} cannot be read: ${why}`;
    const hint = code === "corrupt" ? DAMAGED : error.hint;
    const problem = new StoreError(code, what, { field: "history", cause: error, hint });
    return { ...message, problem };
  }
}

/** Reads a message of the archive at its leader; `null` if there is none. */
export function archived(
  bucket: Bucket,
  query: LeaderQuery,
  deadline: number,
): Promise<Message | null> {
  const { stream } = archiveOf(bucket.name);
  const what = `Read stream ${stream}`;
  return retry(what, deadline, async () => {
    bucket.refuseLost();
    const timeout = Math.min(left(deadline), TRY_TIMEOUT);
    const found = await leaderGet(bucket.nc, stream, query, timeout, what);
    return found && decoded(stream, found);
  });
}

function decoded(stream: string, { seq, data = "", hdrs = "" }: LeaderMessage): Message {
  const lines = Buffer.from(hdrs, "base64").toString("latin1").split("\r\n");
  const get = (name: string) =>
    lines.find((it) => it.startsWith(`${name}: `))?.slice(name.length + 2) ?? "";
  return messageOf(stream, "archive", seq, { get }, Buffer.from(data, "base64"));
}

async function lastSequence(
  bucket: Bucket,
  from: "archive" | "bucket",
  deadline: number,
): Promise<number> {
  if (from === "archive") return (await lastArchived(bucket, deadline))?.sequence ?? 0;
  return (await bucket.get(HISTORY_PATTERN, deadline))?.revision ?? 0;
}

/** Returns the newest message of the archive; `null` if it has none. */
export function lastArchived(bucket: Bucket, deadline: number): Promise<Message | null> {
  const { subject } = archiveOf(bucket.name);
  return archived(bucket, { last_by_subj: subject }, deadline);
}
