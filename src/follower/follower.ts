/**
 * A follower: applies to its file, or reads what another process applies and takes over from it.
 *
 * @module
 */

import { isStoreError, StoreError } from "../core/errors.ts";
import { within } from "../core/async/wait.ts";
import type { Witness } from "../jetstream/log/bucket.ts";
import { FENCE_KEY } from "../jetstream/records/keys.ts";
import { retry, wait } from "../jetstream/log/wire.ts";
import { toStoreError } from "../sqlite/file/errors.ts";
import { alarm, formatAlarm, parseAlarm } from "./stream/alarms.ts";
import { wasAwayTooLong } from "./stream/compare.ts";
import { fenceValue } from "./stream/digests.ts";
import { locate } from "./stream/replicas.ts";
import type { HistoryState } from "./history/table.ts";
import type { Held } from "./file/messages.ts";
import { JOURNEY, LEFT } from "./kept.ts";
import type { Parts } from "./parts.ts";
import type { Follower, FollowerState } from "./types.ts";
import { Waiters } from "./waiters.ts";
import { Applying } from "./watch/applying.ts";
import { Comparisons } from "./watch/comparisons.ts";
import { damagedFile, invalidRecords } from "./watch/degraded.ts";
import { Doubts } from "./watch/doubts.ts";

/** How often a follower that reads looks at the file, milliseconds. */
const POLL = 250;
/** Pauses before applying is tried again, milliseconds. */
const RETRY = { first: 250, longest: 10_000 };
/** How long a fence may take, milliseconds. */
const PATIENCE = 10_000;
/** Pause before a file that is being written is asked again, milliseconds. */
const BUSY = 20;
/** How long closing waits for acknowledged writes, milliseconds. */
const DRAIN = 1000;

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
  #applying: Applying | null = null;
  /** What is wrong although the stream is what it was. */
  #degraded: StoreError | null = null;
  readonly #comparisons: Comparisons;
  /** When all that applied has let go of the file. */
  #stopped: Promise<unknown> = Promise.resolve();
  readonly #doubts: Doubts | null;
  /** The last acknowledged write. */
  #acknowledged = 0;
  /** The history in the file, as another process fills it. */
  #history: HistoryState | null = null;
  #accept: boolean;
  #pause = RETRY.first;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  /** Following has ended: closed, an alarm, or a damaged file. */
  #ended = false;

  constructor(parts: Parts) {
    this.path = parts.path;
    this.#parts = parts;
    this.#accept = parts.accept;
    const { bucket, onDoubt } = parts;
    const current = () => this.#isLoaded ? this.#held : null;
    this.#comparisons = new Comparisons({ ...parts, current }, {
      onAlarm: (error) => this.#raise(error),
      onFound: (error, held) => this.#raiseLocated(error, held),
      onDamage: (error) => this.#damage(error),
    });
    this.#doubts = onDoubt === undefined ? null : new Doubts(bucket, {
      compare: () => this.#comparisons.settle(Math.max(this.received, this.#acknowledged)),
      onDoubt,
    });
    bucket.mark.onMoved((moved) => this.#leave(moved));
  }

  get alarm(): StoreError | null {
    return this.#alarm;
  }

  /** The last message that came. */
  get received(): number {
    return this.#applying?.received ?? 0;
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
    const last = this.#applying?.last ?? null;
    const history = this.#applying?.history ?? this.#history;
    return {
      role: this.#applying === null ? "read" : "apply",
      bucket: this.#parts.bucket.name,
      position: held?.position ?? 0,
      exact: held?.exact ?? false,
      digest: held?.digest ?? "",
      entries: held?.entries ?? 0,
      quarantined: held?.quarantined ?? 0,
      lag: last === null ? null : Math.max(0, last - (held?.position ?? 0)),
      updatedAt: held === null ? null : new Date(held.updatedAt).toISOString(),
      history: history && { revision: history.revision, lag: history.behind, problem: history.gap },
      alarm: this.#alarm,
      degraded: this.#degraded,
      failure: this.#failure,
    };
  }

  /** Compares file and stream; begins to apply, or to read where another process applies. */
  async start(): Promise<void> {
    const { thread } = this.#parts;
    if (await thread.ask("lock", undefined)) return await this.#apply();
    if (this.#held === null && !await this.#open()) return;
    await this.#read();
  }

  /** Reads what another process applies, until it is gone. */
  async #read(): Promise<void> {
    const { thread } = this.#parts;
    this.#take(await thread.ask("held", undefined));
    this.#history = await thread.ask("history", undefined);
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

  /**
   * Makes the file one that can be closed at once for so many milliseconds: it is not checked meanwhile,
   * which may take seconds, and little is in its log.
   */
  async rest(ms: number): Promise<void> {
    await this.#applying?.rest(ms);
    await this.#parts.thread.ask("checkpoint", undefined);
  }

  /** Notes in the file, durably, that a live move makes it the control plane. */
  async prepare(journey: string): Promise<void> {
    await this.#parts.thread.ask("note", { key: JOURNEY, value: journey });
  }

  /**
   * Locks all other connections out of the file, in any process, while it is applied to. It is not checked
   * until {@link share} is called.
   *
   * @returns Whether no other connection is open; `false` also while the file is being written
   */
  async holdAlone(): Promise<boolean> {
    await this.#applying?.rest(Infinity);
    return await this.#parts.thread.ask("holdAlone", undefined);
  }

  /** Ends {@link holdAlone}. */
  async share(): Promise<void> {
    const { thread } = this.#parts;
    while (thread.isOpen && !await thread.ask("share", undefined)) await wait(BUSY);
    await this.#applying?.rest(0);
  }

  /** @param options Without `drain` what was acknowledged last may be missing in the file */
  async close({ drain = true }: { drain?: boolean } = {}): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (drain) await this.#drain();
    this.#end(new StoreError("closed", "The follower is closed"));
    await this.#stopped;
    await this.#parts.thread.close();
    await this.#parts.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Waits a moment for what was acknowledged, so that the next start knows of it. */
  async #drain(): Promise<void> {
    const position = this.#acknowledged;
    if (this.#applying === null || position === 0) return;
    await within(DRAIN, this.#waiters.wait(position), () => {}).catch(() => {});
  }

  /** Reads what the file holds and compares it with the stream; `false` if it cannot be followed with. */
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
    await this.#comparisons.first(held);
    return !this.#ended;
  }

  /** Applies from where the file stands, or loads it. */
  async #apply(): Promise<void> {
    const { thread, bucket } = this.#parts;
    if (!await this.#open() || this.#ended) return;
    // Deletions may have been missed: only all of it tells.
    const held = this.#held === null || wasAwayTooLong(this.#held) ? null : this.#held;
    this.#isLoaded = held !== null;
    if (!bucket.mark.wasMoved) await thread.ask("note", { key: LEFT, value: null });
    this.#applying = new Applying({
      bucket,
      thread,
      path: this.path,
      held,
      accept: this.#parts.accept,
      onHeld: (now) => {
        this.#accept = false;
        this.#isLoaded = true;
        this.#pause = RETRY.first;
        this.#failure = null;
        this.#take(now);
      },
      onDifference: (difference) => this.#comparisons.differs(difference, this.#held!),
      onFailure: (error) => this.#fail(error),
      compare: () => this.#compare(),
      onAlarm: (error) => void this.#raiseLocated(error, this.#held),
      onDamage: (error) => this.#damage(error),
    });
    await this.#applying.start();
    if (!this.#ended) this.#comparisons.repeat();
  }

  async #compare(): Promise<void> {
    const held = this.#held;
    if (held === null || this.#doubts?.inDoubt) return;
    const isOld = await this.#comparisons.reconnected(held, () => this.#held === held);
    // Loads anew, as at the start.
    if (isOld) this.#fail(new Error("it was away for too long"));
  }

  #take(held: Held | null): void {
    this.#held = held;
    if (held === null) return;
    if (held.alarm !== null) {
      const kept = parseAlarm(held.alarm);
      return kept.field === "file" ? this.#damage(kept) : this.#raise(kept);
    }
    this.#degrade(invalidRecords(held));
    if (held.exact) this.#waiters.reached(held.position);
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

  #degrade(error: StoreError | null): void {
    const isNews = error?.field !== this.#degraded?.field;
    this.#degraded = error;
    if (isNews) this.#parts.onDegraded(error);
  }

  /** The stream is not what it was: nothing it says is to be believed. */
  #raise(error: StoreError): void {
    if (this.#closed || this.#alarm !== null) return;
    this.#alarm = error;
    this.#abandon(error);
    this.#parts.onAlarm(error);
  }

  /** The file is not what was written: nothing can be compared with it. */
  #damage(error: StoreError): void {
    if (this.#closed || this.#ended) return;
    this.#abandon(error);
    this.#degrade(error);
  }

  /** Ends following, and lets go of the file, which a repair needs. */
  #abandon(error: StoreError): void {
    this.#end(error);
    const { thread, onReleased } = this.#parts;
    const wasKept = (this.#held?.alarm ?? null) !== null;
    void (async () => {
      // A replica is replaced, then all is well; until then it is found again at each start.
      const isReplica = error.field === "replica";
      // Not made certain of: at the next start it is found again.
      const isKept = !isReplica &&
        await thread.ask("alarm", formatAlarm(error)).catch(() => false);
      await this.#stopped;
      await thread.close();
      onReleased?.(isKept || wasKept);
    })();
  }

  #end(error: StoreError): void {
    this.#ended = true;
    this.#doubts?.stop();
    this.#comparisons.end();
    this.#stop();
    this.#waiters.fail(error);
  }

  /** The control plane has left the bucket: there is nothing to follow. */
  #leave(moved: StoreError): void {
    if (this.#ended) return;
    this.#failure = moved;
    this.#end(moved);
    const { thread } = this.#parts;
    const left = async () => {
      await thread.ask("rollback", undefined);
      await thread.ask("note", { key: LEFT, value: moved.message });
    };
    // Another process that applies notes it too.
    left().catch(() => {}).finally(() => thread.close());
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    const failure = toStoreError(error, `Following in ${this.path}`);
    if (isStoreError(failure, "corrupt")) {
      return this.#damage(damagedFile(this.#parts.bucket.name, failure.message));
    }
    this.#stop();
    this.#failure = failure;
    this.#later(this.#pause, () => this.#apply());
    this.#pause = Math.min(2 * this.#pause, RETRY.longest);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#comparisons.stop();
    this.#stopped = Promise.all([this.#stopped, this.#applying?.stop()]);
    this.#applying = null;
  }

  #later(ms: number, work: () => Promise<void>): void {
    this.#timer = setTimeout(() => {
      if (!this.#ended) work().catch((error) => this.#fail(error));
    }, ms);
  }
}
