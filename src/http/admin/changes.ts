/**
 * The log of changes, in the memory of this process: what came through its requests, with who did it,
 * and that something was changed elsewhere.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { isStoreError } from "../../core/errors.ts";
import type { AccessChange } from "../../core/model.ts";
import type { Change, Changes, ChangeSubject } from "../../core/operations.ts";
import type { Store } from "../../core/store.ts";
import { CHANGE_ROWS, type ChangeRow } from "./change_rows.ts";
import type { ControlPlaneEvent } from "../events.ts";
import type { Poll } from "../operations.ts";
import { OwnChanges } from "./own_changes.ts";
import { STATUS } from "../../core/status.ts";
import { Refusal } from "../pipeline/problem.ts";
import { Ring } from "./ring.ts";
import type { Call, Route } from "../pipeline/route.ts";
import { userOf } from "../rights/lookup.ts";

/** Changes of one kind that are kept. What one kind of caller can make many of pushes out no other. */
const KEPT = 500;
/** Polls that may wait at once: of one key, and in all. */
const MOST_OF_ONE = 8;
const MOST = 64;
/** What comes within this time is answered together, milliseconds. */
const GATHER_MS = 100;
/** How often it is looked whether the client of a poll has gone, milliseconds. */
const LOOK_MS = 500;
/** More different changes elsewhere than this in {@link GATHER_MS} become one. */
const MOST_ELSEWHERE = 20;
/** The same change elsewhere again within this time is counted, not told anew, milliseconds. */
const SAME_MS = 10_000;
/** At the start of watching a store may tell that anything has changed, milliseconds. */
const START_MS = 2_000;

/** Refusals that say nothing of what is there: anybody may cause as many as they like. */
const UNTOLD: ReadonlySet<string> = new Set([
  "invalid",
  "unauthenticated",
  "forbidden",
  "not_found",
  "rate_limited",
  "too_large",
]);

interface Waiter {
  endpoint: string | null;
  /** Whether there is something to look at since the last look. */
  woken: boolean;
  wake(): void;
}

/** The log of one control plane. */
export class ChangeLog {
  readonly #store: Store;
  readonly #now: () => Date;
  readonly #tell: (event: ControlPlaneEvent) => void;
  /** Names this process: numbers begin anew in the next one. */
  readonly #run = randomBytes(8).toString("hex");
  readonly #rings = {
    people: new Ring<Change>(KEPT),
    rooms: new Ring<Change>(KEPT),
    failed: new Ring<Change>(KEPT),
    elsewhere: new Ring<Change>(KEPT),
  };
  readonly #own = new OwnChanges();
  readonly #waiters = new Set<Waiter>();
  readonly #elsewhere = new Map<string, { change: AccessChange; count: number }>();
  #last = 0;
  #endWatch: (() => void) | null = null;
  #watchedSince = 0;
  #gathering: ReturnType<typeof setTimeout> | null = null;
  #closed = false;

  /** @param tell Told of changes that are audited */
  constructor(
    store: Store,
    now: () => Date,
    tell: (event: ControlPlaneEvent) => void = () => {},
  ) {
    this.#tell = tell;
    this.#store = store;
    this.#now = now;
  }

  /** Does a route's work, and notes what it changed. */
  async record(
    route: Route,
    call: Call,
    proved: boolean,
    work: () => Promise<unknown>,
  ): Promise<unknown> {
    const row = CHANGE_ROWS[route.id];
    if (row === undefined) return await work();
    let about: ChangeSubject;
    let end: (isChanged: boolean) => void;
    let isChanged = true;
    try {
      about = await row.about(call);
      end = this.#own.begin(await row.concerns(call), about.room);
    } catch {
      // It cannot be told of whom, so the work refuses it.
      return await work();
    }
    const note = (outcome: string, more: ChangeSubject = {}) =>
      this.#note(row, {
        action: route.id,
        by: { signPub: call.endpoint, handle: null, proved },
        about: { ...about, ...more },
        outcome,
      });
    try {
      const answer = await work();
      note("done", row.more?.(answer));
      return answer;
    } catch (error) {
      const code = isStoreError(error) ? error.code : "failed";
      // A refusal is certain; without an answer it may have been done.
      isChanged = !isStoreError(error) || STATUS[error.code] >= 500;
      if (!UNTOLD.has(code)) note(code);
      throw error;
    } finally {
      end(isChanged);
    }
  }

  /** The changes after a poll's cursor; waits for the first when there is none. */
  async poll(poll: Poll): Promise<Changes> {
    this.#watch();
    const { after } = poll;
    const from = after === undefined ? null : this.#numberOf(after);
    // Nothing is waited for where the list has to be begun anew.
    if (from !== null && this.#last <= from && poll.wait > 0) {
      await this.#waited(poll, from);
      // Nothing of ours failed, and nobody reads the answer.
      if (poll.isGone()) throw new Refusal("aborted", "The client disconnected", { status: 400 });
    }
    return await this.#read(from, poll.limit);
  }

  /** Ends every wait, and lets go of the store. */
  close(): void {
    this.#closed = true;
    this.#endWatch?.();
    this.#endWatch = null;
    if (this.#gathering !== null) clearTimeout(this.#gathering);
    this.#gathering = null;
    this.#wake();
  }

  /** How many polls wait. */
  get waiting(): number {
    return this.#waiters.size;
  }

  async #waited(poll: Poll, from: number): Promise<void> {
    const { endpoint } = poll;
    let ofOne = 0;
    for (const it of this.#waiters) if (it.endpoint === endpoint) ofOne++;
    if (ofOne >= MOST_OF_ONE || this.#waiters.size >= MOST) {
      const whose = ofOne >= MOST_OF_ONE ? "by this key" : "in total";
      throw new Refusal("rate_limited", `Too many requests wait for changes ${whose}`, {
        retryAfter: 5,
      });
    }
    const until = performance.now() + poll.wait;
    let resume = () => {};
    const waiter: Waiter = {
      endpoint,
      woken: false,
      wake() {
        this.woken = true;
        resume();
      },
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    this.#waiters.add(waiter);
    try {
      for (;;) {
        const left = until - performance.now();
        if (this.#closed || poll.isGone() || this.#last > from || left <= 0) break;
        await new Promise<void>((resolve) => {
          resume = resolve;
          timer = setTimeout(resolve, Math.min(left, LOOK_MS));
          if (waiter.woken) resolve();
        });
        clearTimeout(timer);
        const isOver = until <= performance.now();
        if (this.#closed || poll.isGone() || !(waiter.woken || isOver)) continue;
        waiter.woken = false;
        // Also when the time is over: who was revoked meanwhile hears of nothing more.
        await poll.demand();
      }
    } finally {
      this.#waiters.delete(waiter);
    }
  }

  async #read(from: number | null, limit: number): Promise<Changes> {
    const rings = Object.values(this.#rings);
    const since = from ?? 0;
    const found = rings.flatMap((it) => it.filter(({ n }) => n > since))
      .sort((a, b) => b.n - a.n);
    const items = found.slice(0, limit);
    const isGap = found.length > limit || rings.some((it) => (it.lost?.n ?? 0) > since);
    const named = await this.#named(items);
    return {
      items: named,
      next: `${this.#run}-${this.#last}`,
      reset: from === null || isGap,
    };
  }

  /** With the names to show that people have now. */
  async #named(items: Change[]): Promise<Change[]> {
    const keys = new Set(items.flatMap(({ by, about }) => {
      const user = about.handle === undefined ? about.user : undefined;
      return [by?.signPub, user].filter((it) => typeof it === "string");
    }));
    const names = new Map(
      await Promise.all([...keys].map(async (it) => {
        const user = await userOf(this.#store, it).catch(() => null);
        return [it, user?.handle ?? null] as const;
      })),
    );
    return items.map((it) => {
      const { by, about } = it;
      const handle = about.handle ?? names.get(about.user ?? "") ?? undefined;
      return {
        ...it,
        by: by && { ...by, handle: names.get(by.signPub ?? "") ?? null },
        about: handle === undefined ? about : { ...about, handle },
      };
    });
  }

  /** The number in a cursor; `null` for one of another process. */
  #numberOf(cursor: string): number | null {
    const [, run, number] = /^([0-9a-f]{16})-(\d{1,15})$/.exec(cursor) ?? [];
    if (run !== this.#run) return null;
    return Math.min(Number(number), this.#last);
  }

  #note(row: ChangeRow, it: Pick<Change, "action" | "by" | "about" | "outcome">): void {
    const { action, by, about, outcome } = it;
    if (row.audited ?? row.kind !== "rooms") {
      // Names are what people call themselves; keys and ids are what can be relied on.
      const { handle: _, ...ids } = about;
      const who = { by: by?.signPub ?? null, proved: by?.proved ?? false };
      this.#tell({ level: "info", event: "audit", action, ...who, ...ids, outcome });
    }
    const ring = it.outcome !== "done" ? "failed" : row.kind === "rooms" ? "rooms" : "people";
    this.#add(this.#rings[ring], { kind: row.kind, ...it }, 1);
  }

  #add(ring: Ring<Change>, it: Omit<Change, "n" | "at" | "count">, count: number): void {
    ring.add({ n: ++this.#last, at: this.#now().toISOString(), ...it, count });
    // Several in a row, as of a script, are one answer.
    this.#gather();
  }

  #gather(): void {
    if (this.#closed || this.#gathering !== null) return;
    if (this.#waiters.size === 0 && this.#elsewhere.size === 0) return;
    this.#gathering = setTimeout(() => {
      this.#gathering = null;
      this.#tellElsewhere();
      this.#wake();
    }, GATHER_MS);
    this.#gathering.unref?.();
  }

  #wake(): void {
    for (const it of this.#waiters) it.wake();
  }

  #watch(): void {
    if (this.#closed || this.#endWatch !== null) return;
    this.#watchedSince = performance.now();
    this.#endWatch = this.#store.watchAccess((change) => this.#onAccess(change));
  }

  #onAccess(change: AccessChange): void {
    const { endpoint, roomId } = change;
    const isAny = endpoint === undefined && roomId === undefined;
    for (const it of this.#waiters) if (isAny || it.endpoint === endpoint) it.wake();
    if (this.#own.covers(change)) return;
    if (isAny && performance.now() - this.#watchedSince < START_MS) return;
    const key = isAny ? "" : `${endpoint ?? ""}/${roomId ?? ""}`;
    const isMany = this.#elsewhere.size >= MOST_ELSEWHERE && !this.#elsewhere.has(key);
    const found = this.#elsewhere.get(isMany ? "" : key);
    if (found !== undefined) found.count++;
    else this.#elsewhere.set(isMany ? "" : key, { change: isMany ? {} : change, count: 1 });
    this.#gather();
  }

  #tellElsewhere(): void {
    const ring = this.#rings.elsewhere;
    for (const { change: { endpoint, roomId }, count } of this.#elsewhere.values()) {
      const about: ChangeSubject = {
        ...endpoint === undefined ? {} : { user: endpoint },
        ...roomId === undefined ? {} : { room: roomId },
      };
      const since = this.#now().getTime() - SAME_MS;
      const same = ring.remove((it) =>
        it.about.user === endpoint && it.about.room === roomId && Date.parse(it.at) >= since
      );
      const change = { kind: "elsewhere", action: "elsewhere", by: null, outcome: "done" } as const;
      const n = ++this.#last;
      const at = this.#now().toISOString();
      ring.add({ n, at, ...change, about, count: count + (same?.count ?? 0) });
    }
    this.#elsewhere.clear();
  }
}
