/**
 * One KV bucket for transactions: reads at the leader, many keys in one read, and writes of one message
 * or one atomic batch, each compared and set on revisions.
 *
 * Sources: NATS ADR-8 (key-value layout), ADR-31 (direct and batched get), ADR-50 (atomic batch).
 *
 * @module
 */

import { Buffer } from "node:buffer";
import {
  type BatchAck,
  DirectMsgHeaders,
  jetstream,
  type JetStreamClient,
  type PubAck,
  PubHeaders,
} from "@nats-io/jetstream";
import { type NatsConnection, nuid } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import { FENCE_KEY, HISTORY_PATTERN, historyKey, isHistory } from "../records/keys.ts";
import { directGet, endedBy, leaderGet, type LeaderQuery } from "./direct.ts";
import { Marked } from "./marked.ts";
import {
  Ambiguous,
  answered,
  hasNoResponder,
  InFlight,
  left,
  publish,
  rawHeaders,
  retry,
  Transient,
  wait,
  WrongRevision,
} from "./wire.ts";

/** Most messages of one atomic batch; the server's limit. */
export const BATCH_LIMIT = 1000;
/** Most subjects one batched get may match; the server's limit. */
export const MULTI_LIMIT = 1024;
/** How long a delete marker stays. A reader that was away for longer must read everything again. */
export const MARKER_TTL_SECONDS = 24 * 3600;

/**
 * Batches in flight. The server takes 50 a stream from all clients together, and refuses what is more as
 * incomplete: it is tried again.
 */
const BATCHES_AT_ONCE = 32;
/** Milliseconds for one try: a request sent while there is no leader is dropped. */
const TRY_TIMEOUT = 1500;
/** The same for a large batch. */
const LARGE_TRY_TIMEOUT = 5000;
/** The longest pause before a replica that is behind is asked again, milliseconds. */
const SETTLING = 16;
/** How long an entry of the history stays in the bucket's stream, from where the archive takes it. */
const ENTRY_TTL_SECONDS = 7 * 24 * 3600;
/** Header with the id of a transaction, on its first message. */
const TXN = "Unibus-Txn";
const TXN_LINE = new RegExp(`^${TXN}: (\\S+)`, "m");

/** A key's last message. */
export interface Entry {
  /** The key, without the bucket's prefix. */
  key: string;
  /** The stream's sequence of the message. */
  revision: number;
  /** The value; empty for a delete marker. */
  data: Uint8Array;
  /** The id of the transaction, where the message was the first of one. */
  txn?: string;
}

/** One message of a transaction. */
export interface Write {
  /** The key. */
  key: string;
  /** The new value; `null` deletes. */
  value: string | null;
  /** The revision the key must have now; 0 for none. */
  expect?: number;
  /** Another key and the revision it must have, instead of this one's. */
  guard?: { key: string; revision: number };
  /** The last sequence that the stream must have now. */
  lastSequence?: number;
}

/** What {@link Bucket.commit} takes besides writes and deadline. */
export interface CommitOptions {
  /** Ends the tries. */
  signal?: AbortSignal | undefined;
  /** Whether a guarded single message may be sent again: while the guard holds, no other client writes its key. */
  alone?: boolean;
  /** The history entry of the transaction, written as its last message. */
  entry?: string | undefined;
  /** Called after a try with an unknown outcome, before the next; what it throws ends the tries. */
  onOpen?: () => Promise<void>;
}

/** What is told of acknowledged writes, and may know that the stream is not what it was. */
export interface Witness {
  /** The last sequence of the stream that it has seen. */
  readonly received: number;
  /** Takes the sequence of an acknowledged write, and what {@link received} was before it was sent. */
  acknowledged(sequence: number, received: number): void;
  /** Takes a sequence of the stream that searches must include from now on. */
  reach?(sequence: number): void;
  /**
   * Reads the next live keys that begin with a text, in order, and the position they are as of: later
   * changes may be among them. `null` if it does not hold everything up to there.
   */
  keys?(prefix: string, after: string): Promise<{ keys: string[]; position: number } | null>;
}

/** Thrown when more keys match than one batched get returns. */
export class TooMany extends Error {}

/** A bucket on a connection. */
export class Bucket {
  /** The connection. */
  readonly nc: NatsConnection;
  /** The bucket's name. */
  readonly name: string;
  /** The stream's name. */
  readonly stream: string;
  /** When the opened stream was created; empty when not known. */
  created = "";
  /** Whether opening created it. */
  isNew = false;
  /** The generation of the control plane in it, as its mark said when it was opened. */
  generation = 0;
  /** What is known of its mark. */
  readonly mark: Marked;
  /** Called when nobody took a write: throws the reason, if it is known. */
  onNoResponder: (() => Promise<void>) | null = null;
  /** Set when the stream was found to be a different one: nothing is read or written then. */
  loss: string | null = null;
  /** Set when a follower found that the stream lost or changed something: as with {@link loss}. */
  alarm: StoreError | null = null;
  /** Set while a follower compares the stream with its file: reads and writes wait. */
  inDoubt = false;
  /** Who is told of acknowledged writes. */
  witness: Witness | null = null;
  readonly #prefix: string;
  readonly #historyPrefix: string;
  readonly #js: JetStreamClient;
  #batches = 0;
  /** When the last batch was stored. */
  #storedAt = 0;
  readonly #waiting: (() => void)[] = [];
  #isClustered = true;

  constructor(nc: NatsConnection, name: string, mark: Marked = new Marked(name)) {
    this.nc = nc;
    this.name = name;
    this.mark = mark;
    this.stream = `KV_${name}`;
    this.#prefix = `$KV.${name}.`;
    // A room's subject cannot begin with `$`, so no client of the bus may publish there.
    this.#historyPrefix = `$UNIBUS.${name}.history.`;
    this.#js = jetstream(nc);
  }

  /** Returns the same bucket for another user: what is refused to one is not refused to the other. */
  beside(): Bucket {
    const bucket = new Bucket(this.nc, this.name, this.mark);
    bucket.created = this.created;
    bucket.onNoResponder = this.onNoResponder;
    return bucket;
  }

  /** Whether the server is in a cluster: a single one cannot be cut off from others. */
  get isClustered(): boolean {
    // Without a connection the server is not known; the next is expected to be like the last.
    const { info } = this.nc;
    if (info !== undefined) this.#isClustered = "cluster" in info && Boolean(info.cluster);
    return this.#isClustered;
  }

  /** The subject of a key or of a pattern; one of history entries begins with `@`. */
  subject(key: string): string {
    return isHistory(key) ? this.#historyPrefix + key.slice(1) : this.#prefix + key;
  }

  /** The subjects of its stream, while writers are not stopped. */
  get subjects(): string[] {
    return [this.subject(">"), this.subject(HISTORY_PATTERN)];
  }

  /** The key of a subject. */
  key(subject: string): string {
    return subject.startsWith(this.#prefix)
      ? subject.slice(this.#prefix.length)
      : historyKey(subject.slice(this.#historyPrefix.length));
  }

  /** Reads a key's last message at the leader, of a pattern the newest; `null` when there is none. */
  get(key: string, deadline: number): Promise<Entry | null> {
    return this.#read(`Read ${key}`, { last_by_subj: this.subject(key) }, deadline);
  }

  /**
   * Reads at the leader the first message that matches `pattern` from `sequence` on; `null` for any message
   * of the stream.
   */
  next(pattern: string | null, sequence: number, deadline: number): Promise<Entry | null> {
    const subject = pattern === null ? ">" : this.subject(pattern);
    const query = { seq: sequence, next_by_subj: subject };
    return this.#read(`Read ${subject}`, query, deadline);
  }

  #read(what: string, query: LeaderQuery, deadline: number): Promise<Entry | null> {
    return retry(what, deadline, async () => {
      this.refuseLost();
      const timeout = Math.min(left(deadline), TRY_TIMEOUT);
      const found = await leaderGet(this.nc, this.stream, query, timeout, what);
      this.refuseLost();
      if (found === null) return null;
      const { subject, seq, data = "", hdrs = "" } = found;
      const txn = TXN_LINE.exec(Buffer.from(hdrs, "base64").toString("latin1"));
      return {
        key: this.key(subject),
        revision: seq,
        data: Buffer.from(data, "base64"),
        ...(txn ? { txn: txn[1]! } : {}),
      };
    });
  }

  /**
   * Reads the last messages of all keys that match, as of one sequence which is at least `minimum`
   * (any replica may answer, a slow one is asked again). Delete markers are left out.
   *
   * @throws {TooMany} Above {@link MULTI_LIMIT} matches
   */
  async getMany(
    patterns: string[],
    minimum: number,
    deadline: number,
  ): Promise<Map<string, Entry>> {
    const found = await this.getLast(patterns, minimum, deadline);
    for (const { key, data } of found.values()) if (data.length === 0) found.delete(key);
    return found;
  }

  /** Reads a key's last message as of a moment of this call, even if the leader changed. */
  async #getNow(key: string, deadline: number): Promise<Entry | null> {
    if (!this.isClustered) return await this.get(key, deadline);
    const sequence = await this.put(FENCE_KEY, nuid.next(), deadline);
    return (await this.getLast([key, FENCE_KEY], sequence, deadline)).get(key) ?? null;
  }

  /** As {@link getMany}, with delete markers. */
  getLast(patterns: string[], minimum: number, deadline: number): Promise<Map<string, Entry>> {
    const subjects = patterns.map((it) => this.subject(it));
    return retry(`Read ${patterns[0]}`, deadline, async () => {
      this.refuseLost();
      const found = new Map<string, Entry>();
      let upTo = await this.#collect(subjects, Math.min(left(deadline), TRY_TIMEOUT), found);
      this.refuseLost();
      // A replica has a moment later what was just acknowledged.
      for (let pause = 1; upTo !== null && upTo < minimum && pause <= SETTLING; pause *= 2) {
        await wait(Math.min(pause, left(deadline)));
        found.clear();
        upTo = await this.#collect(subjects, Math.min(left(deadline), TRY_TIMEOUT), found);
      }
      if (upTo !== null) {
        if (upTo < minimum) throw new Transient(`replica at sequence ${upTo}, not yet ${minimum}`);
        return found;
      }
      // No match, and the replica's sequence is not known: ask the leader, one pattern at a time.
      for (const pattern of patterns) {
        const entry = await this.next(pattern, 1, deadline);
        if (entry !== null) throw new Transient("replica behind");
      }
      return found;
    });
  }

  /** Returns the sequence that the answer holds for; `null` when nothing matched. */
  async #collect(
    subjects: string[],
    timeout: number,
    into: Map<string, Entry>,
  ): Promise<number | null> {
    const query = { multi_last: subjects };
    const end = await directGet(this.nc, this.stream, query, timeout, (subject, headers, data) => {
      const key = this.key(subject);
      const revision = Number(headers.get(DirectMsgHeaders.Sequence));
      const txn = headers.get(TXN);
      into.set(key, { key, revision, data, ...(txn === "" ? {} : { txn }) });
    });
    if (end.code === 204) return Number(end.get("Nats-UpTo-Sequence"));
    if (end.code === 404 && end.description === "No Results") return null;
    throw end.code === 413 ? new TooMany() : endedBy(end);
  }

  /**
   * Writes all or nothing: one message by itself, several as an atomic batch. Tries again when the
   * outcome of a try is unknown, and recognises an earlier try by the transaction's id: with an entry
   * for the history, by its key, which can be written once.
   *
   * @returns The sequence of the last message, which is the entry if there is one
   * @throws {WrongRevision} When an expectation does not hold
   */
  async commit(
    writes: Write[],
    deadline: number,
    options: CommitOptions = {},
  ): Promise<number> {
    if (writes.length === 1 && options.entry === undefined) {
      return await this.#commit(writes, deadline, options);
    }
    const extended = await this.#enter(deadline);
    try {
      if (Date.now() >= extended) {
        throw new StoreError("unavailable", `Write ${writes[0]!.key}: too many batches at once`);
      }
      return await this.#commit(writes, extended, options);
    } finally {
      this.#leave();
    }
  }

  async #commit(
    writes: Write[],
    deadline: number,
    { signal, alone = false, entry, onOpen }: CommitOptions,
  ): Promise<number> {
    const first = writes[0]!;
    const txn = nuid.next();
    const what = `Write ${first.key}`;
    const hasEntry = entry !== undefined;
    const all = hasEntry ? [...writes, { key: historyKey(txn), value: entry, expect: 0 }] : writes;
    let open = false;
    return await retry(what, deadline, async () => {
      const timeout = Math.min(
        left(deadline),
        all.length > 100 ? LARGE_TRY_TIMEOUT : TRY_TIMEOUT,
      );
      try {
        return all.length === 1
          ? await this.#publish(first, txn, timeout, what)
          : await this.#publishBatch(all, txn, timeout, what);
      } catch (error) {
        if (error instanceof Transient && !(error instanceof InFlight)) {
          // Not sent again: a late first try could undo what others write in the meantime.
          if (all.length === 1 && first.guard !== undefined && !alone) {
            throw new Ambiguous("", { cause: error });
          }
          open = true;
          await onOpen?.();
        }
        if (error instanceof WrongRevision) error.txn = txn;
        if (!(error instanceof WrongRevision) || !open) throw error;
        if (hasEntry) {
          const stored = await this.#settle(txn, deadline);
          if (stored === null) throw error;
          return stored;
        }
        // Not only from the leader: one that was replaced would not know of the successful try.
        const now = await this.#getNow(first.key, deadline);
        if (now?.txn === txn) return now.revision + writes.length - 1;
        if (now !== null && now.revision > (first.expect ?? now.revision)) {
          // Another client wrote since; whether after our write or instead of it is not known.
          throw new StoreError("unavailable", `${what}: interrupted, the outcome is unknown`, {
            cause: error,
          });
        }
        throw error;
      }
    }, signal);
  }

  /**
   * Returns the sequence of a transaction's entry; `null` if it was not stored, and now cannot be: an
   * empty entry stands in its place.
   */
  async #settle(txn: string, deadline: number): Promise<number | null> {
    const key = historyKey(txn);
    const timeout = Math.min(left(deadline), TRY_TIMEOUT);
    try {
      await this.#publish({ key, value: "", expect: 0 }, txn, timeout, `Write ${key}`);
      return null;
    } catch (error) {
      if (!(error instanceof WrongRevision)) throw error;
    }
    const now = await this.#getNow(key, deadline);
    if (now === null) throw new Transient("the outcome is not known yet");
    return now.data.length === 0 ? null : now.revision;
  }

  /** Writes one message without an expectation, in one try; rejects with `Transient` when the outcome is unknown. */
  put(key: string, value: string, deadline: number): Promise<number> {
    const timeout = Math.min(left(deadline), TRY_TIMEOUT);
    return this.#publish({ key, value }, nuid.next(), timeout, `Write ${key}`);
  }

  async #publish(write: Write, txn: string, timeout: number, what: string): Promise<number> {
    this.refuseLost();
    const received = this.witness?.received ?? 0;
    const { seq } = await this.#send(write, `${TXN}: ${txn}\r\n`, timeout, what);
    this.witness?.acknowledged(seq, received);
    return seq;
  }

  /** Sends a message and waits for its acknowledgement. */
  async #send(
    write: Write,
    lines: string,
    timeout: number,
    what: string,
  ): Promise<PubAck> {
    const headers = rawHeaders(lines + this.#lines(write));
    const value = write.value ?? "";
    const ack = this.#js.publish(this.subject(write.key), value, { headers, timeout });
    try {
      return await answered(this.nc, what, ack);
    } catch (error) {
      if (hasNoResponder(error)) await this.onNoResponder?.();
      throw error;
    }
  }

  async #publishBatch(
    writes: Write[],
    txn: string,
    timeout: number,
    what: string,
  ): Promise<number> {
    this.refuseLost();
    const deadline = Date.now() + timeout;
    const id = nuid.next();
    const last = writes.length - 1;
    const received = this.witness?.received ?? 0;
    for (let i = 0; i < last; i++) {
      const write = writes[i]!;
      const lines = `${i === 0 ? `${TXN}: ${txn}\r\n` : ""}Nats-Batch-Id: ${id}\r\n` +
        `Nats-Batch-Sequence: ${i + 1}\r\n${this.#lines(write)}`;
      publish(this.nc, this.subject(write.key), write.value ?? "", {
        headers: rawHeaders(lines),
      });
    }
    const lines = `Nats-Batch-Id: ${id}\r\nNats-Batch-Sequence: ${last + 1}\r\n` +
      "Nats-Batch-Commit: 1\r\n";
    const ack: Partial<BatchAck> & PubAck = await this.#send(
      writes[last]!,
      lines,
      left(deadline),
      what,
    );
    if (ack.count !== writes.length) {
      throw new StoreError(
        "unavailable",
        `${what}: the server took ${
          ack.count ?? 1
        } of ${writes.length} messages; is allow_atomic on?`,
      );
    }
    this.#storedAt = Date.now();
    this.witness?.acknowledged(ack.seq, received);
    return ack.seq;
  }

  /** Throws if the stream is known not to be what it was, or to be left, or that is being found out. */
  refuseLost(): void {
    // Both may know of a loss; the alarm's hint is how to repair it from the follower.
    if (this.alarm !== null) throw this.alarm;
    if (this.loss !== null) throw new StoreError("unavailable", this.loss);
    if (this.mark.moved !== null) throw this.mark.moved;
    if (this.inDoubt) {
      throw new InFlight("the server was away: its stream is being compared with the follower");
    }
  }

  #lines(write: Write): string {
    let lines = "";
    if (write.guard !== undefined) {
      lines += `${PubHeaders.ExpectedLastSubjectSequenceHdr}: ${write.guard.revision}\r\n` +
        `${PubHeaders.ExpectedLastSubjectSequenceSubjectHdr}: ${this.subject(write.guard.key)}\r\n`;
    } else if (write.expect !== undefined) {
      lines += `${PubHeaders.ExpectedLastSubjectSequenceHdr}: ${write.expect}\r\n`;
    }
    if (write.lastSequence !== undefined) {
      lines += `${PubHeaders.ExpectedLastSeqHdr}: ${write.lastSequence}\r\n`;
    }
    if (write.value === null) {
      lines += `KV-Operation: DEL\r\n${PubHeaders.MessageTTL}: ${MARKER_TTL_SECONDS}s\r\n`;
    }
    if (isHistory(write.key)) lines += `${PubHeaders.MessageTTL}: ${ENTRY_TTL_SECONDS}s\r\n`;
    return lines;
  }

  /** Waits for a turn; returns the deadline, a later one while other batches are stored. */
  async #enter(deadline: number): Promise<number> {
    if (this.#batches < BATCHES_AT_ONCE) {
      this.#batches++;
      return deadline;
    }
    const patience = deadline - Date.now();
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return Math.max(deadline, this.#storedAt + patience);
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#batches--;
  }
}

/** The revision to expect of a key as it was read: 0 for one that never was. */
export function revisionOf(entry: Entry | null): number {
  return entry?.revision ?? 0;
}

/** The entry, or `null` for none and for a delete marker. */
export function alive(entry: Entry | null): Entry | null {
  return entry !== null && entry.data.length > 0 ? entry : null;
}
