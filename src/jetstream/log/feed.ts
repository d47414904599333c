/**
 * A feed of the bucket's messages in stream order, without gaps: an ephemeral push consumer that is
 * created again after the last message seen whenever a message or the heartbeat is missed.
 *
 * The library's ordered push consumer always has a heartbeat of 30 s, does not report that it started
 * again, and parses more of each message than is needed.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import {
  AckPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  DeliverPolicy,
  type JetStreamManager,
  JsHeaders,
  ReplayPolicy,
} from "@nats-io/jetstream";
import { createInbox, type Msg, nanos, nuid, type Subscription } from "@nats-io/transport-node";
import { orAbort, within } from "../../core/async/wait.ts";
import { StoreError } from "../../core/errors.ts";
import type { Bucket, Entry } from "./bucket.ts";
import { isWrittenSince } from "./fence.ts";
import { FENCE_KEY, MARKER_KEY } from "../records/keys.ts";
import { aborted, CHANGE_TIMEOUT, manage, publish, subscribe, Transient, wait } from "./wire.ts";

/** Options of a feed. */
export interface FeedOptions {
  /**
   * Which keys; `null` for all messages of the stream, those of the history among them, whose sequences
   * then have no gaps but those of messages that are gone. One pattern: with several the server searches
   * its whole index for each message.
   */
  pattern: string | null;
  /**
   * Which keys at first, while more than a few of them wait: what stands between them is left out. After
   * the last of these it continues with `pattern`. Default: `pattern`.
   */
  first?: string | undefined;
  /** The first sequence to deliver. Default 1. */
  start?: number;
  /** Heartbeat of the server while it has nothing to send, milliseconds. Default 1,000. */
  heartbeat?: number;
  /** Milliseconds for one attempt to start. Default 5,000. */
  opTimeout?: number;
  /**
   * Asks for so many messages at a time, so that other work of the process goes on in between. Default:
   * the server sends as fast as it can, 2 MB and more at once.
   */
  piece?: number | undefined;
  /**
   * The share of the time, up to 1, in which pieces are asked for while more than a few messages wait: the
   * rest is for the server's other work. Default 1.
   */
  pace?: number | undefined;
  /**
   * The server whose replica is read; it must have one. Needs `piece`. Default: the servers choose one of
   * the stream's replicas at random.
   */
  server?: string | undefined;
  /** Another stream to read, whose messages have no keys. Needs no pattern. Default: the bucket's own. */
  stream?: string | undefined;
  /**
   * Called with each message; about `pending` more follow it. Delete markers have no data. The
   * server's count is a hint: it stays too high or too low when a message is replaced while it is
   * being sent.
   */
  onEntry: (entry: Entry, pending: number) => void;
  /** Called when a new consumer continues after the last message seen; this many messages wait. */
  onRestart?: (pending: number) => void;
  /** Called when the feed ends by itself: the connection was closed, or `onEntry` threw. */
  onEnd?: (error: unknown) => void;
}

/** Milliseconds that a busy server may need for a large stream before it sends the first or next message. */
const LONGEST = 30_000;
/**
 * The same for creating a consumer, and for a scan while the leader answers: in a large stream, or after
 * large deletions, a server may take longer than that to its first message.
 */
const LONGEST_BUSY = 120_000;
/** So many messages that wait are few. */
const FEW = 100;
/** Milliseconds without a message after which a consumer is replaced while messages are waiting. */
const CATCHING_UP = 5000;

/** Prefix of our consumers' names, by which a store in use is noticed. */
export const FEED_PREFIX = "unibus_";

/** How long a request for a piece is open, milliseconds. */
const OPEN = 30_000;
/** The longest pause between two pieces, milliseconds. */
const LONGEST_PAUSE = 250;

/** Milliseconds in which a server that is only busy answers. */
const ALIVE = 2000;

/** Missed heartbeats after which the consumer is replaced. */
const MISSED = 3;
/**
 * Milliseconds for the first try to replace a consumer, twice as many for the second: when a node has
 * just died, the servers may still place the new consumer there.
 */
const RESTART_TRY = 1500;

/** Position of a message in its atomic batch. */
export interface Part {
  /** The batch. */
  batch: string;
  /** The message's number in it, from 1. */
  index: number;
  /** Whether it is the last. */
  last: boolean;
}

/** Whether a request was not answered because the server is busy, so that it is asked again. */
type IsBusy = (error: unknown) => Promise<boolean>;

const NEVER: IsBusy = () => Promise.resolve(false);

/** A running feed. */
export class Feed {
  readonly #bucket: Bucket;
  readonly #stream: string;
  readonly #options: FeedOptions;
  readonly #heartbeat: number;
  readonly #timeout: number;
  #sub: Subscription | null = null;
  #consumer = "";
  #message: Msg | null = null;
  #delivered = 0;
  /** Messages of the piece asked for that have not come. */
  #wanted = 0;
  /** When it was asked for. */
  #asked = 0;
  #last: number;
  #heard = 0;
  /** The server's count of messages that wait. */
  #pending = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #restarting = false;
  #stopped = false;
  /** Which keys now. */
  #pattern: string | null;

  constructor(bucket: Bucket, options: FeedOptions) {
    this.#bucket = bucket;
    this.#stream = options.stream ?? bucket.stream;
    this.#options = options;
    this.#pattern = options.first ?? options.pattern;
    this.#heartbeat = options.heartbeat ?? 1000;
    this.#timeout = options.opTimeout ?? 5000;
    this.#last = (options.start ?? 1) - 1;
  }

  /** Starts; returns the number of messages that are waiting. */
  async start(): Promise<number> {
    const pending = await this.#beginPatiently();
    // All messages may have arrived, and the feed may have been stopped, before the server's
    // answer.
    if (this.#stopped) return pending;
    this.#timer = setInterval(() => {
      const base = this.#heartbeat * MISSED;
      const limit = this.#pending > 0 ? Math.max(base, CATCHING_UP) : base;
      if (Date.now() - this.#heard > limit) this.#restart();
    }, this.#heartbeat);
    return pending;
  }

  /** Sequence of the last message delivered. */
  get position(): number {
    return this.#last;
  }

  /** Position of the last message delivered in its batch; `null` for a single one. Costs 3 µs. */
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
    return Math.round(this.writtenAt + milliseconds(life));
  }

  /** When the last message delivered was written, in milliseconds since 1970. */
  get writtenAt(): number {
    const tokens = this.#message!.reply!.split(".");
    return Number(tokens[tokens.length > 9 ? 9 : 7]) / 1e6;
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

  /** Creates the consumer; as long as the server is there, it gets more time. */
  async #beginPatiently(): Promise<number> {
    const { isClustered } = this.#bucket;
    const end = Date.now() + LONGEST_BUSY;
    const finding = findingIn(this.#timeout);
    const isBusy: IsBusy = async (error) =>
      !this.#stopped && Date.now() < end && isUnanswered(error) &&
      await isAlive(this.#bucket, finding);
    for (let timeout = this.#timeout - finding;; timeout *= 2) {
      try {
        return await this.#begin(timeout, isClustered ? NEVER : isBusy);
      } catch (error) {
        // In a cluster a new one may be placed on a server that is less busy.
        if (!isClustered || !await isBusy(error)) throw error;
        this.#drop();
      }
    }
  }

  async #begin(timeout: number, isBusy = NEVER): Promise<number> {
    const { piece } = this.#options;
    const bucket = this.#bucket;
    const pattern = this.#pattern;
    const inbox = createInbox();
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
    const config: Partial<ConsumerConfig> = {
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: this.#last + 1,
      ack_policy: AckPolicy.None,
      max_deliver: 1,
      replay_policy: ReplayPolicy.Instant,
      ...(piece === undefined
        ? {
          deliver_subject: inbox,
          flow_control: true,
          idle_heartbeat: nanos(this.#heartbeat),
        }
        : {}),
      inactive_threshold: nanos(30_000),
      mem_storage: true,
      num_replicas: 1,
      ...(pattern === null ? {} : { filter_subject: bucket.subject(pattern) }),
    };
    try {
      const info = await this.#create(config, timeout, isBusy);
      if (piece !== undefined && sub === this.#sub) this.#ask(inbox, piece);
      if (this.#delivered === 0) this.#pending = info.num_pending;
      this.#heard = Date.now();
      return info.num_pending;
    } catch (error) {
      sub.unsubscribe();
      throw error;
    }
  }

  /** Creates the consumer, again until it reads the replica of the wanted server. */
  async #create(
    config: Partial<ConsumerConfig>,
    timeout: number,
    isBusy: IsBusy,
  ): Promise<ConsumerInfo> {
    const { server } = this.#options;
    const deadline = Date.now() + timeout;
    for (;;) {
      const name = this.#consumer = FEED_PREFIX + nuid.next();
      const info = await this.#add({ ...config, name }, timeout, isBusy);
      // A consumer with one replica is where its leader is.
      if (server === undefined || this.#stopped || info.cluster?.leader === server) return info;
      this.#remove();
      if (Date.now() >= deadline) {
        throw new StoreError(
          "unavailable",
          `No consumer on ${this.#stream} was placed on ${server}`,
        );
      }
    }
  }

  /** Asks for one consumer, again while the server is busy: another one would wait behind the first. */
  async #add(
    config: Partial<ConsumerConfig>,
    timeout: number,
    isBusy: IsBusy,
  ): Promise<ConsumerInfo> {
    const { nc } = this.#bucket;
    const stream = this.#stream;
    const what = `Create a consumer on ${stream}`;
    const add = (jsm: JetStreamManager) => jsm.consumers.add(stream, config);
    for (;;) {
      try {
        const deadline = Date.now() + timeout;
        return await manage(nc, what, add, { deadline, tryTimeout: CHANGE_TIMEOUT });
      } catch (error) {
        if (!await isBusy(error)) throw error;
      }
    }
  }

  /** Asks for the next piece. */
  #ask(inbox: string, piece: number): void {
    this.#wanted = piece;
    this.#asked = performance.now();
    const request = {
      batch: piece,
      expires: nanos(OPEN),
      idle_heartbeat: nanos(this.#heartbeat),
    };
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${this.#stream}.${this.#consumer}`;
    try {
      publish(this.#bucket.nc, subject, JSON.stringify(request), { reply: inbox });
    } catch {
      // Without a connection nothing is heard, and the consumer is replaced.
    }
  }

  #askSoon(inbox: string, piece: number): void {
    const sub = this.#sub;
    const again = () => {
      if (sub === this.#sub && sub !== null) this.#ask(inbox, piece);
    };
    const { pace = 1 } = this.#options;
    if (pace === 1 || this.#pending <= FEW) return void setImmediate(again);
    const took = performance.now() - this.#asked;
    setTimeout(again, Math.min(took / pace - took, LONGEST_PAUSE));
  }

  #take(msg: Msg, inbox: string): void {
    this.#heard = Date.now();
    const { piece } = this.#options;
    if (msg.subject === inbox) {
      if (piece === undefined) return this.#control(msg);
      const code = msg.headers?.code;
      if (code === 408) this.#ask(inbox, piece);
      else if (code !== 100) void this.#restart();
      return;
    }
    if (piece !== undefined && --this.#wanted === 0) this.#askSoon(inbox, piece);
    // $JS.ACK[.<domain>.<account>].<stream>.<consumer>.<tries>.<stream seq>.<consumer seq>.<time>.<pending>[.<token>]
    const tokens = msg.reply!.split(".");
    const at = tokens.length > 9 ? 7 : 5;
    const revision = Number(tokens[at]);
    if (Number(tokens[at + 1]) !== this.#delivered + 1) return void this.#restart();
    this.#delivered++;
    this.#last = revision;
    this.#message = msg;
    this.#pending = Number(tokens[at + 3]);
    try {
      const key = this.#bucket.key(msg.subject);
      if (key === MARKER_KEY) this.#bucket.mark.notice({ revision, data: msg.data });
      this.#options.onEntry({ key, revision, data: msg.data }, this.#pending);
      if (this.#pending <= FEW) this.#widen();
    } catch (error) {
      this.#end(error);
    }
  }

  /** Continues with all keys that are wanted, when it began with some of them. */
  #widen(): void {
    const { pattern } = this.#options;
    if (this.#pattern === pattern) return;
    this.#pattern = pattern;
    void this.#restart();
  }

  #control(msg: Msg): void {
    if (msg.reply) {
      // A request for flow control: the messages before it have been processed.
      publish(this.#bucket.nc, msg.reply, "");
      return;
    }
    const headers = msg.headers;
    if (headers?.code !== 100) return void this.#restart();
    if (Number(headers.get(JsHeaders.LastConsumerSeqHdr)) !== this.#delivered) {
      return void this.#restart();
    }
    const stalled = headers.get(JsHeaders.ConsumerStalledHdr);
    if (stalled) publish(this.#bucket.nc, stalled, "");
    else this.#widen();
  }

  async #restart(): Promise<void> {
    if (this.#restarting || this.#stopped) return;
    this.#restarting = true;
    this.#drop();
    for (let tries = 1; !this.#stopped; tries++) {
      try {
        const pending = await this.#begin(Math.min(LONGEST, RESTART_TRY * 2 ** (tries - 1)));
        this.#options.onRestart?.(pending);
        // Stopped meanwhile, so the new consumer is not needed.
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
    this.#remove();
  }

  #remove(): void {
    if (this.#bucket.nc.isClosed() || this.#consumer === "") return;
    try {
      publish(
        this.#bucket.nc,
        `$JS.API.CONSUMER.DELETE.${this.#stream}.${this.#consumer}`,
        "",
      );
    } catch {
      // The server removes a consumer without a subscriber.
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

/** Whether a request had no answer in time, or one that may turn into another. */
function isUnanswered(error: unknown): boolean {
  return error instanceof StoreError && error.cause instanceof Transient;
}

/** The part of a caller's patience in which it is found out whether the server is only busy. */
const findingIn = (patience: number) => Math.min(ALIVE, patience / 2);

/**
 * Whether the server is only busy: a lone one answers a ping, one of a cluster makes a write, for which
 * it needs the others.
 */
async function isAlive(bucket: Bucket, limit: number): Promise<boolean> {
  const sign = bucket.isClustered
    ? bucket.put(FENCE_KEY, nuid.next(), Date.now() + limit)
    : bucket.nc.rtt();
  try {
    return await within(limit, sign.then(() => true), () => false);
  } catch {
    return false;
  }
}

/** Options of {@link scan}. */
export interface ScanOptions {
  /**
   * The keys to scan. Default: all, as one consistent state. `null`: the same, with the messages of the
   * history.
   */
  pattern?: string | null;
  /** The first sequence of interest. Default 1. */
  start?: number;
  /** The sequence that the server must have seen when it says that this is all. */
  minimum?: number;
  /** Ends the scan. */
  signal?: AbortSignal;
  /** As {@link FeedOptions.piece}. */
  piece?: number;
  /** As {@link FeedOptions.pace}. */
  pace?: number | undefined;
  /** As {@link FeedOptions.server}. */
  server?: string | undefined;
  /** Milliseconds without a message after which it fails. Default 30,000. */
  patience?: number;
  /** Called with each message, which the feed delivered last; returning `false` ends the scan. */
  onEntry: (entry: Entry, feed: Pick<Feed, "writtenAt">) => void | false;
}

/** Milliseconds without a message after which a scan asks the leader, whatever count is pending. */
const QUIET = 50;

/**
 * Delivers all messages in stream order; a later message of a key replaces an earlier one. A message
 * that is replaced during the scan is skipped and its replacement comes later. So the scan ends only
 * when the leader has nothing after the last message, and that message does not stand inside a batch:
 * the delivered messages are then the state at one moment between two transactions. The count of
 * pending messages only says when to ask first: it may never reach 0.
 */
export async function scan(bucket: Bucket, options: ScanOptions): Promise<void> {
  const { signal, pattern = ">", start = 1, minimum = 0, patience = 30_000 } = options;
  const finding = findingIn(patience);
  let heard = Date.now();
  let limit = patience - finding;
  let asked = 0;
  /** When the leader answered last. */
  let answered = 0;
  let pending = -1;
  let stopped = false;
  let failure: { error: unknown } | null = null;
  const feed: Feed = new Feed(bucket, {
    pattern,
    start,
    piece: options.piece,
    pace: options.pace,
    server: options.server,
    opTimeout: Math.min(patience, 5000),
    onEntry: (entry, more) => {
      if (stopped) return;
      heard = Date.now();
      limit = patience - finding;
      pending = more;
      if (options.onEntry(entry, feed) === false) stopped = true;
    },
    onRestart: (more) => pending = more,
    onEnd: (error) => failure = { error },
  });
  try {
    const waiting = await orAbort(feed.start(), signal).catch((error) => {
      throw signal?.aborted ? aborted(signal) : error;
    });
    if (pending < 0) pending = waiting;
    while (!stopped) {
      if (failure !== null) throw (failure as { error: unknown }).error;
      // With a pattern the end of a batch may not be seen, and consistency is not needed.
      const between = typeof options.pattern === "string" || feed.isBoundary();
      if (pending === 0 || Date.now() - Math.max(heard, asked) > QUIET) {
        const asking = Date.now();
        let end: Awaited<ReturnType<typeof endOf>> = null;
        try {
          const since = { pattern, minimum, position: feed.position };
          end = await endOf(bucket, since, Math.min(asking + 5000, heard + limit));
          answered = Date.now();
        } catch (error) {
          // On a slow connection the answer waits behind the messages.
          if (heard < asking && !isUnanswered(error)) throw error;
        }
        // What ended the last batch may have been a delete marker that has expired since.
        if (end === "behind" || (end === "at" && between)) return;
        asked = Date.now();
      }
      if (Date.now() - heard > limit) {
        // A large stream on a busy server takes its time; so does a process that did not run.
        // A lone server that answers pings may be too busy with the scan to answer anything else.
        const isThere = !bucket.isClustered || Date.now() - answered < patience;
        const longest = isThere ? LONGEST_BUSY : LONGEST;
        if (limit >= longest || !await isAlive(bucket, finding)) {
          throw new StoreError("unavailable", `Scan: no message for ${Date.now() - heard} ms`);
        }
        limit = Math.min(2 * limit, longest);
      }
      // Ask the leader often near the end: under load the quiet moments are short.
      await wait(pending === 0 ? 1 : 10, signal);
    }
  } finally {
    feed.stop();
  }
}

/** Whether the leader has nothing that matches after `position`. */
async function endOf(
  bucket: Bucket,
  { pattern, minimum, position }: { pattern: string | null; minimum: number; position: number },
  deadline: number,
): Promise<"at" | "behind" | null> {
  const what = `Read stream ${bucket.stream}`;
  const read = (jsm: JetStreamManager) => jsm.streams.info(bucket.stream);
  const info = await manage(bucket.nc, what, read, { deadline });
  if (info.state.last_seq < minimum) return null;
  if (info.state.last_seq <= position) return "at";
  // Readers write fences all the time: waiting for a moment without one could take long.
  const since = { sequence: position, pattern, except: (key: string) => key === FENCE_KEY };
  return await isWrittenSince(bucket, since, deadline) ? null : "behind";
}
