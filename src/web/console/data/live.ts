/// <reference lib="dom" />
/**
 * The live connection: polls for changes while a user is signed in, and makes the affected views
 * reload.
 *
 * @module
 */

import type { Change } from "../../../core/operations.ts";
import type { Api } from "./api.ts";
import { type Failure, failureOf, isAborted } from "./failure.ts";

/** The state of the connection. */
export interface LiveState {
  /** Newest first; at most {@link KEPT}. */
  readonly changes: readonly Change[];
  /** `first` until the first answer. */
  readonly connection: "first" | "live" | "lost";
  /** Why it is lost. */
  readonly failure: Failure | null;
  /** Time of the next attempt in milliseconds; null during an attempt. */
  readonly retryAt: number | null;
  /** Incremented when records of this kind may have changed. */
  readonly users: number;
  readonly invites: number;
  readonly rooms: number;
}

/** Time in seconds that the server holds a poll. */
const WAIT_S = 25;
/** Maximum number of changes kept. */
export const KEPT = 500;
/** Shortest and longest delay before a retry in milliseconds. */
const RETRY = { first: 1_000, most: 10_000 };
/** Minimum interval between reloads of a view in milliseconds. */
const GATHER = 400;

/** The connection. */
export class Live {
  #state: LiveState = {
    changes: [],
    connection: "first",
    failure: null,
    retryAt: null,
    users: 0,
    invites: 0,
    rooms: 0,
  };
  readonly #listeners = new Set<() => void>();
  readonly #stop = new AbortController();
  readonly #api: Api;
  readonly #self: string;
  #wake: () => void = () => {};
  #gathered = new Set<"users" | "invites" | "rooms">();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Creates a connection; {@link start} starts it. */
  constructor(api: Api, self: string) {
    this.#api = api;
    this.#self = self;
  }

  /** How it does. */
  get state(): LiveState {
    return this.#state;
  }

  /** Calls back when the state changes; returns how to stop that. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Begins to poll. */
  start(): void {
    void this.#run();
  }

  /** Tries again now. */
  retry(): void {
    this.#wake();
  }

  /** Records a change made in this page: affected views reload immediately. */
  touch(...kinds: ("users" | "invites" | "rooms")[]): void {
    for (const kind of kinds) this.#gathered.add(kind);
    this.#flush();
  }

  /** Ends it. */
  stop(): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
    this.#listeners.clear();
    this.#wake();
  }

  #set(state: Partial<LiveState>): void {
    this.#state = { ...this.#state, ...state };
    for (const listener of this.#listeners) listener();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let after: string | null = null;
    let wait = RETRY.first;
    while (!signal.aborted) {
      try {
        const { items, next, reset } = await this.#api.changes({
          ...after !== null && { after },
          limit: 200,
          // The first answer comes at once: it says that the server is there.
          wait: this.#state.connection === "live" ? WAIT_S : 0,
          signal,
        });
        if (signal.aborted) return;
        const isFirst = after === null;
        after = next;
        wait = RETRY.first;
        this.#take(items, isFirst || reset);
        // Anything may have changed while the connection was lost.
        const missed = (reset && !isFirst) || this.#state.connection === "lost";
        this.#set({ connection: "live", failure: null, retryAt: null });
        if (missed) this.touch("users", "invites", "rooms");
      } catch (error) {
        if (signal.aborted || isAborted(error)) return;
        const failure = failureOf(error);
        // The session has ended, which the request layer has reported.
        if (failure.kind === "ended") return;
        const pause = Math.max(wait, (failure.particulars.retryAfter ?? 0) * 1000);
        this.#set({ connection: "lost", failure, retryAt: Date.now() + pause });
        await this.#pause(pause);
        this.#set({ retryAt: null });
        wait = Math.min(RETRY.most, wait * 1.7);
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const over = new AbortController();
      this.#wake = () => {
        clearTimeout(timer);
        over.abort();
        resolve();
      };
      const timer = setTimeout(this.#wake, ms);
      // When the page becomes visible again, polling resumes immediately.
      document.addEventListener("visibilitychange", () => {
        if (document.visibilityState === "visible") this.#wake();
      }, over);
      globalThis.addEventListener("online", () => this.#wake(), over);
    });
  }

  #take(items: readonly Change[], replaces: boolean): void {
    if (items.length === 0 && !replaces) return;
    const before = replaces ? [] : this.#state.changes.filter((it) => !isRepeated(it, items));
    this.#set({ changes: [...items, ...before].slice(0, KEPT) });
    if (this.#state.connection === "first") return;
    for (const it of items) for (const kind of kindsOf(it)) this.#gathered.add(kind);
    if (this.#gathered.size > 0 && this.#timer === undefined) {
      this.#timer = setTimeout(() => this.#flush(), GATHER);
    }
    // What takes this session away is asked after at once, not at the next click.
    if (items.some((it) => this.#isAboutSelf(it))) {
      void this.#api.with(this.#stop.signal).me().catch(() => {});
    }
  }

  #isAboutSelf({ kind, about }: Change): boolean {
    return about.user === this.#self || (kind === "elsewhere" && about.room === undefined);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const kinds = this.#gathered;
    this.#gathered = new Set();
    const grown: Partial<Record<"users" | "invites" | "rooms", number>> = {};
    for (const kind of kinds) grown[kind] = this.#state[kind] + 1;
    this.#set(grown);
  }
}

/** Whether a newer one stands for it: what happens elsewhere again and again is told as one. */
function isRepeated(old: Change, items: readonly Change[]): boolean {
  if (old.kind !== "elsewhere") return false;
  const about = JSON.stringify(old.about);
  return items.some((it) =>
    it.kind === "elsewhere" && it.count > old.count && JSON.stringify(it.about) === about
  );
}

/** What a change may show in. */
function kindsOf({ kind, about, action }: Change): ("users" | "invites" | "rooms")[] {
  if (kind === "elsewhere") {
    if (about.room !== undefined) return ["rooms"];
    return about.user === undefined ? ["users", "invites", "rooms"] : ["users", "rooms", "invites"];
  }
  // A registration uses an invite.
  if (action === "register") return ["users", "invites"];
  // A roster says who is active.
  return kind === "users" ? ["users", "rooms"] : [kind];
}
