/**
 * Writes and reads through HTTP at a given rate, with what a client sees of them.
 *
 * @module
 */

import { type Client, createClient, type Identity } from "../../../src/client/mod.ts";
import { isStoreError } from "../../../src/core/errors.ts";
import { newUser } from "../../conformance/kit/kit.ts";

/** Calls a second. */
export interface Rates {
  writes: number;
  reads: number;
}

/** What was seen in a window of time. */
export interface Figures {
  seconds: number;
  writes: number;
  reads: number;
  /** The longest time without an acknowledged write, milliseconds. */
  pause: number;
  /** When that ended, milliseconds since 1970. */
  pausedUntil: number;
  /** By how much a timer of this process was late at most, milliseconds: the machine's part in a pause. */
  late: number;
  /** The slowest write and read, milliseconds. */
  slowestWrite: number;
  slowestRead: number;
  /** Calls that failed after the client's own retries. */
  failures: string[];
  /** Reads among them. */
  failedReads: number;
}

/** Calls that may be under way at once. */
const WRITERS = 16;
const READERS = 24;
/** How far behind its rate the load may fall before it lets calls go, milliseconds. */
const BEHIND_MS = 100;
/** Interval of the timer whose delay is measured, milliseconds. */
const TICK_MS = 20;

/** A load until it is ended. */
export class Load implements AsyncDisposable {
  /** Users, and whether each was added last, or deleted. */
  readonly written = new Map<string, boolean>();
  /** Users of writes that failed, which may have been made. */
  readonly unknown = new Set<string>();
  readonly #client: Client;
  readonly #admin: string;
  readonly #rates: Rates;
  #running = false;
  #workers: Promise<void>[] = [];
  #began = 0;
  #lastWrite = 0;
  #figures: Figures = none();

  constructor(url: string, identity: Identity, rates: Rates) {
    this.#client = createClient({ url, identity });
    this.#admin = identity.signPub;
    this.#rates = rates;
  }

  /** Begins, or continues. */
  start(): void {
    this.#running = true;
    const now = performance.now();
    const next = { writes: now, reads: now };
    const worker = async (kind: keyof Rates, call: () => Promise<void>) => {
      while (this.#running) {
        const due = Math.max(next[kind], performance.now() - BEHIND_MS);
        next[kind] = due + 1000 / this.#rates[kind];
        await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
        await call();
      }
    };
    const watcher = async () => {
      while (this.#running) {
        const due = performance.now() + TICK_MS;
        await new Promise((resolve) => setTimeout(resolve, TICK_MS));
        this.#figures.late = Math.max(this.#figures.late, performance.now() - due);
      }
    };
    this.#workers = [
      watcher(),
      ...Array.from({ length: WRITERS }, () => worker("writes", () => this.#write())),
      ...Array.from({ length: READERS }, () => worker("reads", () => this.#read())),
    ];
    this.window();
  }

  /** Waits for the calls under way, and makes no more. */
  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#workers);
  }

  /** Begins a new window; returns what was seen in the one before. */
  window(): Figures {
    const now = performance.now();
    if (this.#began > 0) this.#sawWrite(now);
    const figures = { ...this.#figures, seconds: (now - this.#began) / 1000 };
    this.#figures = none();
    this.#began = this.#lastWrite = now;
    return figures;
  }

  #sawWrite(now: number): void {
    const pause = now - this.#lastWrite;
    this.#lastWrite = now;
    if (pause > this.#figures.pause) {
      Object.assign(this.#figures, { pause, pausedUntil: Date.now() });
    }
  }

  async #write(): Promise<void> {
    const user = newUser();
    const { signPub } = user;
    await this.#call("addUser", "slowestWrite", () => this.#client.addUser(user), (is) => {
      if (!is) return this.unknown.add(signPub);
      this.written.set(signPub, true);
    });
    if (this.#figures.writes % 5 > 0 || !this.written.has(signPub)) return;
    await this.#call(
      "deleteUser",
      "slowestWrite",
      () => this.#client.deleteUser(signPub),
      (is) => is ? this.written.set(signPub, false) : this.unknown.add(signPub),
    );
  }

  async #read(): Promise<void> {
    await this.#call("getUser", "slowestRead", () => this.#client.getUser(this.#admin));
  }

  async #call(
    what: string,
    slowest: "slowestWrite" | "slowestRead",
    make: () => Promise<unknown>,
    ended: (well: boolean) => unknown = () => {},
  ): Promise<void> {
    const began = performance.now();
    const isWrite = slowest === "slowestWrite";
    try {
      await make();
      ended(true);
      this.#figures[isWrite ? "writes" : "reads"]++;
      if (isWrite) this.#sawWrite(performance.now());
    } catch (error) {
      ended(false);
      const code = isStoreError(error) ? error.code : "";
      this.#figures.failures.push(`${what}: ${code} ${(error as Error).message}`);
      if (!isWrite) this.#figures.failedReads++;
    }
    this.#figures[slowest] = Math.max(this.#figures[slowest], performance.now() - began);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#client.close();
  }
}

function none(): Figures {
  const calls = { writes: 0, reads: 0, failures: [], failedReads: 0 };
  return {
    seconds: 0,
    pause: 0,
    pausedUntil: 0,
    late: 0,
    slowestWrite: 0,
    slowestRead: 0,
    ...calls,
  };
}
