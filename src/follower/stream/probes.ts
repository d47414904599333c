/**
 * Fences that a follower writes: they end gaps, carry its digest to the others, and are the moments at
 * which it looks whether the stream is still what it was.
 *
 * @module
 */

import type { StreamInfo } from "@nats-io/jetstream";
import type { StoreError } from "../../core/errors.ts";
import { within } from "../../core/async/wait.ts";
import { counted } from "../../core/text/counted.ts";
import type { Bucket } from "../../jetstream/log/bucket.ts";
import { streamInfo } from "../../jetstream/log/stream.ts";
import { FENCE_KEY } from "../../jetstream/records/keys.ts";
import { alarm } from "./alarms.ts";
import type { Applier } from "./applier.ts";
import { watchStatus } from "../../nats/connection/watch.ts";
import { fenceValue } from "./digests.ts";

/** How often a fence is written, milliseconds. */
const INTERVAL = 1000;
/** How soon the next follows while something is missing and little is waiting, milliseconds. */
const MEND = 20;
/** Messages that are little. */
const NEAR = 2000;
/** How long one probe may take, milliseconds. */
const PATIENCE = 2000;
/** How long the follower may take to reach the end of the stream, milliseconds. */
const CATCH_UP = 500;
/** How often a wrong number of messages must be found, one after another. */
const CONFIRMED = 2;

/** Whom probes tell. */
export interface ProbeOptions {
  /** The connection was lost meanwhile: compares file and stream. */
  compare(): Promise<void>;
  /** The stream is not what it was. */
  onAlarm(error: StoreError): void;
}

/** Probes until it is stopped. */
export class Probes {
  /** The last sequence of the stream when that was last known. */
  last: number | null = null;
  readonly #bucket: Bucket;
  readonly #applier: Applier;
  readonly #options: ProbeOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #unwatch: () => void;
  #connected = true;
  #running = false;
  #wrong = 0;
  /** Whether the server has removed what has expired. */
  #wereRemoved = false;
  #stopped = false;

  constructor(bucket: Bucket, applier: Applier, options: ProbeOptions) {
    this.#bucket = bucket;
    this.#applier = applier;
    this.#options = options;
    // Looks at once when the connection is back: the server may have started on another disk.
    this.#unwatch = watchStatus(bucket.nc, (type) => {
      if (type !== "reconnect") return;
      this.#connected = false;
      this.#schedule(0);
    });
    void this.#run();
  }

  /** Ends. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#unwatch();
  }

  #schedule(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#run(), ms);
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    const { exactness, digests } = this.#applier;
    try {
      if (!this.#connected) {
        this.#connected = true;
        await this.#options.compare();
      }
      const seen = exactness.received;
      const value = fenceValue(digests.newest);
      const sequence = await this.#bucket.put(FENCE_KEY, value, Date.now() + PATIENCE);
      if (this.#stopped) return;
      this.#applier.await({ sequence, seen });
      await this.#look();
    } catch {
      // The server did not answer: it may come back as another.
      this.#connected = false;
    }
    this.#running = false;
    if (this.#stopped) return;
    const soon = !exactness.exact && this.#applier.pending < NEAR;
    this.#schedule(soon ? MEND : INTERVAL);
  }

  /** Looks at the stream's own numbers. */
  async #look(): Promise<void> {
    const received = this.#applier.exactness.received;
    this.#applier.hold();
    let expected: Awaited<ReturnType<Applier["expectedAt"]>> = null;
    let info: StreamInfo | null = null;
    try {
      info = await streamInfo(this.#bucket, Date.now() + PATIENCE);
    } finally {
      const moment = { at: timeOf(info), wereRemoved: this.#wereRemoved };
      const asked = this.#applier.expectedAt(info?.state.last_seq ?? 0, moment);
      expected = await within(CATCH_UP, asked, () => null);
    }
    if (this.#stopped) return;
    if (info === null) return this.#alarm("stream", "the bucket was deleted");
    if (info.created !== this.#bucket.created) {
      return this.#alarm("stream", `the bucket was deleted and created again (${info.created})`);
    }
    const { last_seq: last, messages } = info.state;
    this.last = last;
    if (last < received) {
      return this.#alarm("end", `the stream ends at sequence ${last}, after ${received} was read`);
    }
    // With older values kept, there are more.
    if (expected === null || info.config.max_msgs_per_subject !== 1) return;
    const { certain, expiring, expired } = expected;
    this.#wereRemoved = messages <= certain + expiring;
    const isRight = messages >= certain && messages <= certain + expiring + expired;
    this.#wrong = isRight ? 0 : this.#wrong + 1;
    if (this.#wrong < CONFIRMED) return;
    this.#alarm(
      "messages",
      `the stream holds ${
        counted(messages, "message")
      } at sequence ${last}, the follower has ${certain}`,
    );
  }

  #alarm(...[kind, found]: [Parameters<typeof alarm>[0], string]): void {
    this.#options.onAlarm(alarm(kind, this.#bucket.name, found));
  }
}

/** When a server answered, by its own clock: that of this machine may be wrong. */
function timeOf(info: StreamInfo | null): number {
  const time = Date.parse((info as { ts?: string } | null)?.ts ?? "");
  return Number.isNaN(time) ? Date.now() : time;
}
