/**
 * A follower: applies to its file, or reads what another process applies and takes over from it.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { within } from "../core/async/wait.ts";
import type { Bucket, Witness } from "../jetstream/log/bucket.ts";
import { FENCE_KEY } from "../jetstream/records/keys.ts";
import { retry } from "../jetstream/log/wire.ts";
import { toStoreError } from "../sqlite/file/errors.ts";
import { alarm, formatAlarm, parseAlarm } from "./stream/alarms.ts";
import { Applier } from "./stream/applier.ts";
import { Audits } from "./audits.ts";
import { Doubts } from "./doubts.ts";
import { compareStream, isRestored, wasAwayTooLong } from "./stream/compare.ts";
import { fenceValue } from "./stream/digests.ts";
import { locate } from "./stream/replicas.ts";
import type { Thread } from "./file/thread.ts";
import type { Held } from "./file/messages.ts";
import { JOURNEY, LEFT } from "./file/notes.ts";
import { Probes } from "./stream/probes.ts";
import type { Follower, FollowerState } from "./types.ts";
import { Waiters } from "./waiters.ts";

/** How often a follower that reads looks at the file, milliseconds. */
const POLL = 250;
/** Pauses before applying is tried again, milliseconds. */
const RETRY = { first: 250, longest: 10_000 };
/** How long comparing with the stream may take, milliseconds. */
const PATIENCE = 10_000;
/** How long closing waits for acknowledged writes, milliseconds. */
const DRAIN = 1000;

/** What a follower is made of. */
export interface Parts {
  /** The bucket. */
  bucket: Bucket;
  /** The file. */
  path: string;
  /** The file, open. */
  thread: Thread;
  /** Discard what the file holds. */
  accept: boolean;
  /** Whether a store waits that must not answer before the stream was compared. */
  guards: boolean;
  /** Told when the stream of a lone server is in doubt, and when it no longer is. */
  onDoubt?: (inDoubt: boolean) => void;
  /** Told of an alarm. */
  onAlarm: (alarm: StoreError) => void;
  /** What to do last. */
  end: () => Promise<void>;
}

/** The follower of a file. */
export class FileFollower implements Follower, Witness {
  readonly path: string;
  readonly #parts: Parts;
  readonly #waiters = new Waiters();
  #held: Held | null = null;
  /** Whether the file holds what {@link #held} says: not while it is loaded anew. */
  #isLoaded = false;
  #isLocating = false;
  #alarm: StoreError | null = null;
  #failure: StoreError | null = null;
  #applier: Applier | null = null;
  #probes: Probes | null = null;
  readonly #audits: Audits;
  /** Audits of a server that was away. */
  readonly #again: Audits;
  readonly #doubts: Doubts | null;
  /** The last acknowledged write. */
  #acknowledged = 0;
  #accept: boolean;
  #pause = RETRY.first;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(parts: Parts) {
    this.path = parts.path;
    this.#parts = parts;
    this.#accept = parts.accept;
    const { bucket, thread, path, guards, onDoubt } = parts;
    const current = () => this.#isLoaded ? this.#held : null;
    const audited = { bucket, thread, path, guards, current };
    this.#audits = new Audits(audited, (error) => this.#raise(error));
    this.#again = new Audits(audited, (error) => this.#raise(error));
    this.#doubts = onDoubt === undefined
      ? null
      : new Doubts(bucket, { compare: () => this.#settle(), onDoubt });
    bucket.mark.onMoved((moved) => this.#leave(moved));
  }

  get alarm(): StoreError | null {
    return this.#alarm;
  }

  /** The last message that came. */
  get received(): number {
    return this.#applier?.exactness.received ?? 0;
  }

  /** A write cannot have the sequence of a message that came before it was sent. */
  acknowledged(sequence: number, received: number): void {
    this.#acknowledged = Math.max(this.#acknowledged, sequence);
    if (sequence > received) return;
    const found = `a write was acknowledged with sequence ${sequence}, after ${received} was read`;
    this.#raise(alarm("acknowledged", this.#parts.bucket.name, found));
  }

  async keys(prefix: string, after: string) {
    const { thread, bucket: { created } } = this.#parts;
    const { held, keys } = await thread.ask("keys", { prefix, after });
    const isWhole = this.#alarm === null && held?.alarm === null && held.exact &&
      held.created === created && !wasAwayTooLong(held);
    return isWhole ? { keys, position: held.position } : null;
  }

  state(): FollowerState {
    const held = this.#held;
    const last = this.#probes?.last ?? null;
    return {
      role: this.#applier === null ? "read" : "apply",
      bucket: this.#parts.bucket.name,
      position: held?.position ?? 0,
      exact: held?.exact ?? false,
      digest: held?.digest ?? "",
      entries: held?.entries ?? 0,
      quarantined: held?.quarantined ?? 0,
      lag: last === null ? null : Math.max(0, last - (held?.position ?? 0)),
      updatedAt: held === null ? null : new Date(held.updatedAt).toISOString(),
      alarm: this.#alarm,
      failure: this.#failure,
    };
  }

  /** Compares file and stream; begins to apply, or to read where another process applies. */
  async start(): Promise<void> {
    const { thread } = this.#parts;
    if (await thread.ask("lock", undefined)) return await this.#apply();
    if (this.#held === null) await this.#open();
    await this.#read();
  }

  /** Reads what another process applies, until it is gone. */
  async #read(): Promise<void> {
    const { thread } = this.#parts;
    this.#take(await thread.ask("held", undefined));
    this.#later(POLL, async () => {
      if (await thread.ask("lock", undefined)) await this.#apply();
      else await this.#read();
    });
  }

  async whenExact(
    position?: number,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<FollowerState> {
    const { bucket } = this.#parts;
    this.#waiters.check();
    const wanted = position ?? await retry(
      "Write a fence",
      Date.now() + PATIENCE,
      () => bucket.put(FENCE_KEY, fenceValue(null), Date.now() + PATIENCE),
      signal,
    );
    await this.#waiters.wait(wanted, signal);
    return this.state();
  }

  /** Notes in the file, durably, that a live move makes it the control plane. */
  async prepare(journey: string): Promise<void> {
    await this.#parts.thread.ask("note", { key: JOURNEY, value: journey });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#drain();
    this.#doubts?.stop();
    this.#again.stop();
    this.#stop();
    this.#waiters.fail(new StoreError("closed", "The follower is closed"));
    await this.#parts.thread.close();
    await this.#parts.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Waits a moment for what was acknowledged, so that the next start knows of it. */
  async #drain(): Promise<void> {
    const position = this.#acknowledged;
    if (this.#applier === null || this.#alarm !== null || position === 0) return;
    await within(DRAIN, this.#waiters.wait(position), () => {}).catch(() => {});
  }

  /** Reads what the file holds and compares it with the stream; `false` after an alarm. */
  async #open(): Promise<boolean> {
    const { thread, bucket } = this.#parts;
    const held = await thread.ask("rollback", undefined);
    if (held !== null && held.bucket !== bucket.name) {
      throw new StoreError(
        "refused",
        `Following bucket ${bucket.name} in ${this.path}: it follows bucket ${held.bucket}`,
        { field: "bucket" },
      );
    }
    if (this.#accept || held === null) return true;
    this.#held = held;
    const found = held.alarm === null
      ? await compareStream(bucket, thread, held, Date.now() + PATIENCE)
      : parseAlarm(held.alarm);
    const mayBeRestored = held.alarm === null && found?.field === "stream";
    if (mayBeRestored && await isRestored(bucket, thread, held)) {
      // It was audited whole to find that out.
      await thread.ask("adopt", bucket.created);
      held.created = bucket.created;
    } else if (found !== null) await this.#raiseLocated(found, held);
    else if (held.exact) await this.#audits.begin(held);
    return this.#alarm === null;
  }

  /** Applies from where the file stands, or loads it. */
  async #apply(): Promise<void> {
    const { thread, bucket } = this.#parts;
    if (!await this.#open() || this.#closed) return;
    // Deletions may have been missed: only all of it tells.
    const held = this.#held === null || wasAwayTooLong(this.#held) ? null : this.#held;
    this.#isLoaded = held !== null;
    const applier = new Applier({
      bucket,
      thread,
      held,
      onHeld: (now) => {
        this.#accept = false;
        this.#isLoaded = true;
        this.#pause = RETRY.first;
        this.#failure = null;
        this.#take(now);
      },
      onDifference: (difference) => this.#audits.doubt(difference, this.#held!),
      onFailure: (error) => this.#fail(error),
    });
    this.#applier = applier;
    if (!bucket.mark.wasMoved) await thread.ask("note", { key: LEFT, value: null });
    await applier.start();
    if (this.#applier !== applier) return;
    this.#probes = new Probes(bucket, applier, {
      compare: () => this.#compare(),
      onAlarm: (error) => void this.#raiseLocated(error, this.#held),
    });
    this.#audits.repeat();
  }

  /** Compares all that must be known before a store on a lone server answers again. */
  async #settle(): Promise<void> {
    const { bucket, thread } = this.#parts;
    const held = await thread.ask("held", undefined);
    if (held === null) return;
    const known = Math.max(this.received, this.#acknowledged);
    const found = await compareStream(bucket, thread, held, Date.now() + PATIENCE, known);
    if (found !== null) return this.#raise(found);
    if (held.exact) await this.#again.begin(held);
  }

  async #compare(): Promise<void> {
    if (this.#held === null || this.#doubts?.inDoubt) return;
    const { bucket, thread } = this.#parts;
    const held = this.#held;
    const found = await compareStream(bucket, thread, held, Date.now() + PATIENCE);
    if (found !== null) return await this.#raiseLocated(found, held);
    if (this.#alarm !== null || this.#held !== held && !held.exact) return;
    // Loads anew, as at the start.
    if (wasAwayTooLong(held)) return this.#fail(new Error("it was away for too long"));
    if (held.exact) void this.#audits.begin(held).catch(() => {});
  }

  #take(held: Held | null): void {
    this.#held = held;
    if (held === null) return;
    if (held.alarm !== null) this.#raise(parseAlarm(held.alarm));
    else if (held.exact) this.#waiters.reached(held.position);
  }

  /** Raises an alarm, of single replicas where it is only these. */
  async #raiseLocated(found: StoreError, held: Held | null): Promise<void> {
    const { bucket, thread, onDoubt } = this.#parts;
    const mayBeOne = bucket.isClustered && ["messages", "sequence"].includes(found.field!);
    if (!mayBeOne || !held?.exact || held.alarm !== null) return this.#raise(found);
    if (this.#isLocating) return;
    this.#isLocating = true;
    // Nothing is answered meanwhile that depends on the stream.
    onDoubt?.(true);
    const allowGone = wasAwayTooLong(held);
    this.#raise(await locate(found, { bucket, thread, held, allowGone }) ?? found);
  }

  #raise(error: StoreError): void {
    if (this.#closed || this.#alarm !== null) return;
    this.#alarm = error;
    this.#doubts?.stop();
    this.#again.stop();
    this.#stop();
    this.#waiters.fail(error);
    const { thread, onAlarm } = this.#parts;
    // A replica is replaced, then all is well; until then it is found again at each start.
    const kept = error.field === "replica"
      ? Promise.resolve()
      : thread.ask("alarm", formatAlarm(error));
    // Not made certain of: at the next start it is found again. A repair needs the file.
    kept.catch(() => {}).finally(() => thread.close());
    onAlarm(error);
  }

  /** The control plane has left the bucket: there is nothing to follow. */
  #leave(moved: StoreError): void {
    if (this.#closed || this.#alarm !== null) return;
    this.#failure = moved;
    this.#doubts?.stop();
    this.#again.stop();
    this.#stop();
    this.#waiters.fail(moved);
    const { thread } = this.#parts;
    const left = async () => {
      await thread.ask("rollback", undefined);
      await thread.ask("note", { key: LEFT, value: moved.message });
    };
    // Another process that applies notes it too.
    left().catch(() => {}).finally(() => thread.close());
  }

  #fail(error: unknown): void {
    if (this.#closed || this.#alarm !== null || this.#parts.bucket.mark.moved !== null) return;
    this.#stop();
    this.#failure = toStoreError(error, `Following in ${this.path}`);
    this.#later(this.#pause, () => this.#apply());
    this.#pause = Math.min(2 * this.#pause, RETRY.longest);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#audits.stop();
    this.#probes?.stop();
    this.#applier?.stop();
    this.#probes = null;
    this.#applier = null;
  }

  #later(ms: number, work: () => Promise<void>): void {
    this.#timer = setTimeout(() => {
      if (!this.#closed) work().catch((error) => this.#fail(error));
    }, ms);
  }
}
