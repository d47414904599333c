/**
 * A feed of the bucket's messages in the stream's order, without gaps: an ephemeral push consumer
 * that is made anew behind the last message seen whenever one is missed or nothing is heard.
 *
 * The library's ordered consumer raises its heartbeat to 30 s when it starts anew and parses
 * headers that we do not need.
 *
 * @module
 */

import { createInbox, type Msg, nuid, type Subscription } from "@nats-io/transport-node";
import { StoreError } from "../../core/errors.ts";
import type { Bucket, Entry } from "./bucket.ts";
import { isWrittenSince } from "./fence.ts";
import { FENCE_KEY } from "../records/keys.ts";
import { publish, subscribe, wait } from "./wire.ts";

/** What a feed delivers and to whom. */
export interface FeedOptions {
  /** Which keys. One pattern: with several the server searches its whole index for each message. */
  pattern: string;
  /** The first sequence of interest. Default 1. */
  start?: number;
  /** How often the server says it is there when it has nothing to send, milliseconds. Default 1,000. */
  heartbeat?: number;
  /** How long one attempt to begin may take, milliseconds. Default 5,000. */
  opTimeout?: number;
  /**
   * A message; about `pending` more follow it for now. Delete markers have no data. The server's
   * count is a hint and stays wrong, too high or too low, when a message is replaced in the moment
   * in which it would be sent.
   */
  onEntry: (entry: Entry, pending: number) => void;
  /** A new consumer took over behind the last message seen; this many messages wait. */
  onRestart?: (pending: number) => void;
  /** The feed ended by itself: the connection was closed, or `onEntry` threw. */
  onEnd?: (error: unknown) => void;
}

/** How the names of our consumers begin: by them a store in use is noticed. */
export const FEED_PREFIX = "unibus_";

/** Heartbeats missed before the consumer is given up. */
const MISSED = 3;
/**
 * How long the first try of making it anew may take, milliseconds, the second twice as long: when a
 * node has just died, the servers may still give it the new consumer.
 */
const RESTART_TRY = 1500;

/** Where a message stands in its atomic batch. */
export interface Part {
  /** The batch. */
  batch: string;
  /** The message's number in it, from 1. */
  index: number;
  /** Whether it is the last. */
  last: boolean;
}

/** A running feed. */
export class Feed {
  readonly #bucket: Bucket;
  readonly #options: FeedOptions;
  readonly #heartbeat: number;
  readonly #timeout: number;
  #sub: Subscription | null = null;
  #consumer = "";
  #message: Msg | null = null;
  #delivered = 0;
  #last: number;
  #heard = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #restarting = false;
  #stopped = false;

  constructor(bucket: Bucket, options: FeedOptions) {
    this.#bucket = bucket;
    this.#options = options;
    this.#heartbeat = options.heartbeat ?? 1000;
    this.#timeout = options.opTimeout ?? 5000;
    this.#last = (options.start ?? 1) - 1;
  }

  /** Begins; answers with the number of messages that are waiting. */
  async start(): Promise<number> {
    const pending = await this.#begin();
    // All may have come, and the feed been stopped, before the server's answer.
    if (this.#stopped) return pending;
    this.#timer = setInterval(() => {
      if (Date.now() - this.#heard > this.#heartbeat * MISSED) this.#restart();
    }, this.#heartbeat);
    return pending;
  }

  /** The sequence of the last message delivered. */
  get position(): number {
    return this.#last;
  }

  /** Where the last message delivered stands in its batch; `null` for one by itself. Costs 3 µs. */
  get part(): Part | null {
    const headers = this.#message?.headers;
    if (!headers?.has("Nats-Batch-Id")) return null;
    return {
      batch: headers.get("Nats-Batch-Id"),
      index: Number(headers.get("Nats-Batch-Sequence")),
      last: headers.has("Nats-Batch-Commit"),
    };
  }

  /** When the server removes the last message delivered, in milliseconds since 1970; `null` for never. */
  get expires(): number | null {
    const life = this.#message?.headers?.get("Nats-TTL") ?? "";
    if (!/^\d/.test(life)) return null;
    const tokens = this.#message!.reply!.split(".");
    const written = Number(tokens[tokens.length > 9 ? 9 : 7]) / 1e6;
    return Math.round(written + milliseconds(life));
  }

  /** Whether the last message delivered ended its transaction. */
  isBoundary(): boolean {
    return this.part?.last ?? true;
  }

  /** Ends the feed. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    clearInterval(this.#timer);
    this.#drop();
  }

  async #begin(timeout = this.#timeout): Promise<number> {
    const { pattern } = this.#options;
    const bucket = this.#bucket;
    const inbox = createInbox();
    const name = FEED_PREFIX + nuid.next();
    this.#delivered = 0;
    this.#heard = Date.now();
    const sub = subscribe(bucket.nc, inbox, {
      callback: (error, msg) => {
        if (sub !== this.#sub) return;
        if (error) this.#restart();
        else this.#take(msg, inbox);
      },
    });
    this.#sub = sub;
    this.#consumer = name;
    const config = {
      name,
      deliver_subject: inbox,
      deliver_policy: "by_start_sequence",
      opt_start_seq: this.#last + 1,
      ack_policy: "none",
      max_deliver: 1,
      replay_policy: "instant",
      flow_control: true,
      idle_heartbeat: this.#heartbeat * 1e6,
      inactive_threshold: 30e9,
      mem_storage: true,
      num_replicas: 1,
      filter_subject: bucket.subject(pattern),
    };
    try {
      const info = await bucket.api<{ num_pending: number }>(
        `CONSUMER.CREATE.${bucket.stream}.${name}`,
        { stream_name: bucket.stream, config, action: "create" },
        Date.now() + timeout,
      );
      return info.num_pending;
    } catch (error) {
      sub.unsubscribe();
      throw error;
    }
  }

  #take(msg: Msg, inbox: string): void {
    this.#heard = Date.now();
    if (msg.subject === inbox) return this.#control(msg);
    // $JS.ACK[.<domain>.<account>].<stream>.<consumer>.<tries>.<stream seq>.<consumer seq>.<time>.<pending>[.<token>]
    const tokens = msg.reply!.split(".");
    const at = tokens.length > 9 ? 7 : 5;
    const revision = Number(tokens[at]);
    if (Number(tokens[at + 1]) !== this.#delivered + 1) return void this.#restart();
    this.#delivered++;
    this.#last = revision;
    this.#message = msg;
    try {
      this.#options.onEntry(
        { key: this.#bucket.key(msg.subject), revision, data: msg.data },
        Number(tokens[at + 3]),
      );
    } catch (error) {
      this.#end(error);
    }
  }

  #control(msg: Msg): void {
    if (msg.reply) {
      // A request for flow control: what came before it has been worked off.
      publish(this.#bucket.nc, msg.reply, "");
      return;
    }
    const headers = msg.headers;
    if (headers?.code !== 100) return void this.#restart();
    if (Number(headers.get("Nats-Last-Consumer")) !== this.#delivered) return void this.#restart();
    const stalled = headers.get("Nats-Consumer-Stalled");
    if (stalled) publish(this.#bucket.nc, stalled, "");
  }

  async #restart(): Promise<void> {
    if (this.#restarting || this.#stopped) return;
    this.#restarting = true;
    this.#drop();
    for (let tries = 1; !this.#stopped; tries++) {
      try {
        const pending = await this.#begin(Math.min(this.#timeout, RESTART_TRY * tries));
        this.#options.onRestart?.(pending);
        // Ended meanwhile: nobody will read what this consumer sends.
        if (this.#stopped) this.#drop();
        break;
      } catch (error) {
        if (error instanceof StoreError && error.code === "closed") {
          this.#end(error);
          break;
        }
        this.#drop();
        await wait(Math.min(50 * tries, 1000));
      }
    }
    this.#restarting = false;
  }

  #drop(): void {
    this.#sub?.unsubscribe();
    this.#sub = null;
    if (this.#bucket.nc.isClosed() || this.#consumer === "") return;
    try {
      publish(
        this.#bucket.nc,
        `$JS.API.CONSUMER.DELETE.${this.#bucket.stream}.${this.#consumer}`,
        "",
      );
    } catch {
      // It goes away by itself when nobody listens.
    }
  }

  #end(error: unknown): void {
    if (this.#stopped) return;
    this.stop();
    this.#options.onEnd?.(error);
  }
}

/** A duration as the server writes it, such as `24h0m0s`, or a plain number of seconds. */
function milliseconds(duration: string): number {
  if (/^\d+$/.test(duration)) return Number(duration) * 1000;
  const units = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as Record<string, number>;
  return [...duration.matchAll(/([\d.]+)(ms|[hms])/g)]
    .reduce((sum, [, count, unit]) => sum + Number(count) * units[unit!]!, 0);
}

/** How a scan goes about it. */
export interface ScanOptions {
  /** Which keys. Default: everything, as one consistent state. */
  pattern?: string;
  /** Ends the scan. */
  signal?: AbortSignal;
  /** Gives up when no message has come for so long, milliseconds. Default 30,000. */
  patience?: number;
  /** Each message; answering `false` ends the scan. */
  onEntry: (entry: Entry) => void | false;
}

/** After how long without a message a scan asks the leader, whatever the server says is pending. */
const QUIET = 50;

/**
 * Delivers all messages there are, in the stream's order, the later replacing the earlier. A message
 * that is replaced while the scan is under way goes missing and comes again further behind, so the
 * scan ends only when the leader has nothing behind the last one, and that is no message from the
 * middle of a batch: what was delivered is then the state as of one moment between two transactions.
 * The count of pending messages says only when to ask first: it may never come to 0.
 */
export async function scan(bucket: Bucket, options: ScanOptions): Promise<void> {
  const { signal, pattern = ">", patience = 30_000 } = options;
  let heard = Date.now();
  let asked = 0;
  let pending = -1;
  let stopped = false;
  let failure: { error: unknown } | null = null;
  const feed = new Feed(bucket, {
    pattern,
    opTimeout: Math.min(patience, 5000),
    onEntry: (entry, more) => {
      if (stopped) return;
      heard = Date.now();
      pending = more;
      if (options.onEntry(entry) === false) stopped = true;
    },
    onRestart: (more) => pending = more,
    onEnd: (error) => failure = { error },
  });
  try {
    const waiting = await feed.start();
    if (pending < 0) pending = waiting;
    while (!stopped) {
      if (failure !== null) throw (failure as { error: unknown }).error;
      // A part of the messages does not show where a batch ends, and is not read for consistency.
      const between = options.pattern !== undefined || feed.isBoundary();
      if (pending === 0 || Date.now() - Math.max(heard, asked) > QUIET) {
        const asking = Date.now();
        let end: Awaited<ReturnType<typeof endOf>> = null;
        try {
          end = await endOf(bucket, pattern, feed.position, asking + Math.min(patience, 5000));
        } catch (error) {
          // On a slow connection the answer stands behind the messages that come.
          if (heard < asking) throw error;
        }
        // What ended the last batch may have been a delete marker that has expired since.
        if (end === "behind" || (end === "at" && between)) return;
        asked = Date.now();
      }
      if (Date.now() - heard > patience) {
        throw new StoreError("unavailable", `Scan: no message for ${patience} ms`);
      }
      // Near the end the leader is asked often: under load only a short moment is quiet.
      await wait(pending === 0 ? 1 : 10, signal);
    }
  } finally {
    feed.stop();
  }
}

/** Whether the leader has nothing of interest behind `position`. */
async function endOf(
  bucket: Bucket,
  pattern: string,
  position: number,
  deadline: number,
): Promise<"at" | "behind" | null> {
  const info = await bucket.api<{ state: { last_seq: number } }>(
    `STREAM.INFO.${bucket.stream}`,
    undefined,
    deadline,
  );
  if (info.state.last_seq <= position) return "at";
  // Those who read leave fences, one behind the other: waiting for a moment without could take long.
  const since = { sequence: position, pattern, except: (key: string) => key === FENCE_KEY };
  return await isWrittenSince(bucket, since, deadline) ? null : "behind";
}
