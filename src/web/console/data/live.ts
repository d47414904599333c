/// <reference lib="dom" />
/**
 * The live connection: polls for changes while a user is signed in, and makes the affected views
 * reload.
 *
 * @module
 */

import type { Changes } from "../../../core/operations.ts";
import type { Names } from "../../shared/names.ts";
import type { Api } from "./api.ts";
import { type Failure, failureOf, isAborted } from "./failure.ts";

/** The state of the connection. */
export interface LiveState {
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
  /** Incremented when there are new changes. */
  readonly log: number;
}

/** What views show. */
type Kind = "users" | "invites" | "rooms" | "log";

const ALL: readonly Kind[] = ["users", "invites", "rooms", "log"];
/** What changes may show in, by the first word of their action, besides the log. */
const KINDS: Readonly<Record<string, readonly Kind[]>> = {
  // A roster says who is active.
  user: ["users", "rooms"],
  invite: ["invites", "users"],
  invites: ["invites"],
  store: ALL,
  history: [],
};

/** Time in seconds that the server holds a poll. */
const WAIT_S = 25;
/** How long until views reload when changes are not known, milliseconds. */
const UNTOLD_MS = 10_000;
/** Shortest and longest delay before a retry in milliseconds. */
const RETRY = { first: 1_000, most: 10_000 };
/** Minimum interval between reloads of a view in milliseconds. */
const GATHER = 400;

/** The connection. */
export class Live {
  #state: LiveState = {
    connection: "first",
    failure: null,
    retryAt: null,
    users: 0,
    invites: 0,
    rooms: 0,
    log: 0,
  };
  readonly #listeners = new Set<() => void>();
  readonly #stop = new AbortController();
  readonly #api: Api;
  readonly #self: string;
  readonly #names: Names;
  #wake: () => void = () => {};
  #gathered = new Set<Kind>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Creates a connection; {@link start} starts it. */
  constructor(api: Api, self: string, names: Names) {
    this.#api = api;
    this.#self = self;
    this.#names = names;
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
  touch(...kinds: readonly Kind[]): void {
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
    /** The revision of the last change seen; null to begin with the newest. */
    let after: string | null = null;
    let wait = RETRY.first;
    while (!signal.aborted) {
      try {
        const isLive = this.#state.connection === "live";
        const page = await this.#api.changes({
          ...after === null ? { newest: true, limit: 1 } : { after, limit: 500 },
          // The first answer comes at once: it says that the server is there.
          wait: isLive && after !== null ? WAIT_S : 0,
          signal,
        });
        if (signal.aborted) return;
        if (after !== null) this.#take(page);
        after = page.items.at(-1)?.revision ?? after ?? "0.0";
        wait = RETRY.first;
        // Anything may have changed while the connection was lost.
        const missed = this.#state.connection === "lost";
        this.#set({ connection: "live", failure: null, retryAt: null });
        if (missed) this.touch(...ALL);
      } catch (error) {
        if (signal.aborted || isAborted(error)) return;
        const failure = failureOf(error);
        // The session has ended, which the request layer has reported.
        if (failure.kind === "ended") return;
        // Changes since then were removed from the history, or there is none.
        if (["too_old", "unsupported"].includes(failure.particulars.code!)) {
          after = null;
          this.#set({ connection: "live", failure: null, retryAt: null });
          await this.#pause(UNTOLD_MS);
          this.touch(...ALL);
          continue;
        }
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

  #take(page: Changes): void {
    this.#names.note(page);
    for (const { action } of page.items) {
      const kinds = KINDS[action.split(".")[0]!] ?? ["rooms"];
      for (const kind of ["log", ...kinds] as const) this.#gathered.add(kind);
    }
    if (this.#gathered.size > 0) this.#timer ??= setTimeout(() => this.#flush(), GATHER);
    // What takes this session away is asked after at once, not at the next click.
    if (page.items.some(({ user, action }) => user === this.#self || action === "store.restored")) {
      void this.#api.with(this.#stop.signal).me().catch(() => {});
    }
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const kinds = this.#gathered;
    this.#gathered = new Set();
    const grown: Partial<Record<Kind, number>> = {};
    for (const kind of kinds) grown[kind] = this.#state[kind] + 1;
    this.#set(grown);
  }
}
