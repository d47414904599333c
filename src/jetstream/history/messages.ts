/**
 * Reads messages of the archive, and entries in the bucket's stream.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { DirectMsgHeaders } from "@nats-io/jetstream";
import type { MsgHdrs } from "@nats-io/transport-node";
import type { Bucket } from "../log/bucket.ts";
import {
  directGet,
  endedBy,
  leaderGet,
  type LeaderMessage,
  type LeaderQuery,
} from "../log/direct.ts";
import { left, retry } from "../log/wire.ts";
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
  /** The entry; `null` for a transaction that was not made. */
  placed: Placed | null;
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
    found.push(messageOf(from, sequence, headers, data));
  });
  bucket.refuseLost();
  if (end.code === 204 || end.code === 404) return found;
  throw endedBy(end);
}

/** Decodes a message of one of both streams. */
function messageOf(
  from: "archive" | "bucket",
  sequence: number,
  headers: Pick<MsgHdrs, "get">,
  data: Uint8Array,
): Message {
  const taken = from === "bucket" ? null : originOf(headers);
  const origin = from === "bucket" ? sequence : taken?.sequence ?? null;
  const placed = decodeEntry(data, origin ?? 0);
  return { sequence, origin, stream: taken?.stream ?? null, placed };
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
    return found && decoded(found);
  });
}

function decoded({ seq, data = "", hdrs = "" }: LeaderMessage): Message {
  const lines = Buffer.from(hdrs, "base64").toString("latin1").split("\r\n");
  const get = (name: string) =>
    lines.find((it) => it.startsWith(`${name}: `))?.slice(name.length + 2) ?? "";
  return messageOf("archive", seq, { get }, Buffer.from(data, "base64"));
}

/** Returns the newest message of the archive; `null` if it has none. */
export function lastArchived(bucket: Bucket, deadline: number): Promise<Message | null> {
  const { subject } = archiveOf(bucket.name);
  return archived(bucket, { last_by_subj: subject }, deadline);
}
