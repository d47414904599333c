/**
 * Keeping open connections at what the store says now. A connection bears what it was let do in its
 * user name, so any control plane on the bus can compare and end it, whichever admitted it. A client
 * whose connection was ended connects again, and is judged anew.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { within } from "../../core/async/wait.ts";
import { isStoreError } from "../../core/errors.ts";
import type { AccessChange } from "../../core/model.ts";
import { type OpenConnection, OpenConnections } from "./connections.ts";
import { type Grant, grantOf } from "./grant.ts";
import { roomsOf } from "./rooms.ts";
import type { AuthCalloutOptions, CalloutEvent, PartStatus } from "../types.ts";

/** Changes this close together are looked at together, milliseconds. */
const GATHER_MS = 25;
/** What could not be looked at is tried again after this, and then twice as long, milliseconds. */
const RETRY_MS = { min: 250, max: 4_000 };
/**
 * A client that was judged before a change may turn up after it: by as much as the server waits for the
 * callout, and the change takes to get here. So who opens this long after a change is looked at again.
 */
const SETTLE_MS = 10_000;
const CONCURRENCY = 16;
/** How often the first list of open connections is asked for. */
const START_TRIES = 3;
/** A store that takes longer than this to answer is given up on for now, milliseconds. */
const PATIENCE_MS = 5_000;
/** A room with more members than this counts as a change of everybody. */
const ROOM_LIMIT = 10_000;

type Options =
  & Pick<AuthCalloutOptions, "store">
  & Required<Pick<AuthCalloutOptions, "account" | "sweepInterval">>
  & { system: NatsConnection; onEvent: (event: CalloutEvent) => void };

/** What is to be looked at. */
class Pending {
  /** Endpoints; `null` stands for connections of endpoints not verified. */
  readonly endpoints = new Set<string | null>();
  readonly rooms = new Set<string>();
  everything = false;

  get isEmpty(): boolean {
    return !this.everything && this.endpoints.size === 0 && this.rooms.size === 0;
  }
}

/** Compares open connections with the store, on changes and now and then. */
export class Reconciler {
  readonly #options: Options;
  readonly #connections: OpenConnections;
  readonly #endings: (() => void)[] = [];
  /** What each connected endpoint was last found to be allowed: tells whom a room's change concerns. */
  readonly #known = new Map<string, Grant>();
  #pending = new Pending();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #work: Promise<void> | null = null;
  #sweeping: Promise<void> | null = null;
  #sweepWait = RETRY_MS.min;
  #sweepTimer: ReturnType<typeof setTimeout> | undefined;
  #hangs = false;
  /** The first failure of this time, so that many are told once. */
  #failure: { what: string; error: unknown } | null = null;
  readonly #failed = new Set<string | null>();
  #retryWait = RETRY_MS.min;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #changedAt = -Infinity;
  #sweptAt = -Infinity;
  #stopped = false;
  /** Ends the waits for the store. */
  readonly #waits = new Set<() => void>();

  /** Begins to listen; {@link start} looks at what is open already. */
  constructor(options: Options) {
    this.#options = options;
    const { store, system, account, sweepInterval } = options;
    // First the store, which may be closed: nothing is to be undone then.
    this.#endings.push(store.watchAccess((change) => this.#changed(change)));
    this.#connections = new OpenConnections(system, account, (it) => this.#opened(it));
    this.#endings.push(() => this.#connections.stop());
    const timer = setInterval(() => void this.sweep().catch(() => {}), sweepInterval);
    this.#endings.push(() => clearInterval(timer));
  }

  /** The first sweep. Rejects when open connections cannot be listed. */
  async start(): Promise<void> {
    await this.#connections.check();
    // Servers that come up together are busy, and the others' answers may be late.
    for (let tries = 1;; tries++) {
      try {
        return await this.sweep();
      } catch (error) {
        if (tries === START_TRIES || this.#stopped) throw error;
      }
    }
  }

  /** Remembers what an endpoint was just granted, which saves asking when its rooms change. */
  granted(endpoint: string, grant: Grant): void {
    this.#known.set(endpoint, grant);
  }

  /** Whether changes reach open connections. */
  status(): PartStatus {
    const age = performance.now() - this.#sweptAt;
    const open = `${this.#connections.size} open connections`;
    if (age === Infinity) return { ok: false, detail: "open connections were never listed" };
    if (age <= 3 * this.#options.sweepInterval) return { ok: true, detail: open };
    return { ok: false, detail: `${open}, last listed ${Math.round(age / 1000)} s ago` };
  }

  /** Lists all open connections anew and compares them all. Rejects when they cannot be listed. */
  async sweep(): Promise<void> {
    this.#sweeping ??= this.#sweep().finally(() => this.#sweeping = null);
    await this.#sweeping;
  }

  async #sweep(): Promise<void> {
    if (this.#stopped) return;
    try {
      await this.#connections.refresh();
    } catch (error) {
      if (!this.#stopped) {
        this.#trouble("List open connections", error);
        // Soon: it may have been the one after a reconnect, before which events were missed.
        clearTimeout(this.#sweepTimer);
        this.#sweepTimer = setTimeout(() => void this.sweep().catch(() => {}), this.#sweepWait);
        this.#sweepWait = Math.min(2 * this.#sweepWait, this.#options.sweepInterval);
      }
      throw error;
    }
    clearTimeout(this.#sweepTimer);
    this.#sweepWait = RETRY_MS.min;
    this.#sweptAt = performance.now();
    this.#pending.everything = true;
    await this.#run();
    for (const it of this.#known.keys()) if (!this.#connections.has(it)) this.#known.delete(it);
  }

  /** Ends; what is under way is waited for. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#sweepTimer);
    for (const end of this.#endings.splice(0)) end();
    for (const giveUp of this.#waits) giveUp();
    await this.#work;
  }

  #changed({ endpoint, roomId }: AccessChange): void {
    this.#changedAt = performance.now();
    if (endpoint !== undefined) this.#pending.endpoints.add(endpoint);
    if (roomId !== undefined) this.#pending.rooms.add(roomId);
    if (endpoint === undefined && roomId === undefined) this.#pending.everything = true;
    this.#schedule(GATHER_MS);
  }

  #opened({ endpoint }: OpenConnection): void {
    if (performance.now() - this.#changedAt > SETTLE_MS) return;
    this.#pending.endpoints.add(endpoint);
    this.#schedule(GATHER_MS);
  }

  #schedule(ms: number): void {
    if (this.#stopped || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#run();
    }, ms);
  }

  /** Works off what is pending, also what comes meanwhile. */
  async #run(): Promise<void> {
    this.#work ??= this.#drain().finally(() => this.#work = null);
    await this.#work;
  }

  async #drain(): Promise<void> {
    while (!this.#pending.isEmpty && !this.#stopped) {
      const pending = this.#pending;
      this.#pending = new Pending();
      const targets = [...await this.#targets(pending)];
      this.#hangs = false;
      const work = async () => {
        for (let it = targets.pop(); it !== undefined && !this.#stopped; it = targets.pop()) {
          if (await this.#compare(it)) continue;
          this.#retry(it);
          // A store that hangs would make the rest wait as long, each.
          const rest = this.#hangs ? targets.splice(0) : [];
          for (const other of rest) this.#retry(other);
        }
      };
      await Promise.all(Array.from({ length: CONCURRENCY }, work));
      this.#report();
    }
  }

  #retry(endpoint: string | null): void {
    this.#failed.add(endpoint);
    if (this.#retryTimer !== undefined || this.#stopped) return;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      for (const it of this.#failed) this.#pending.endpoints.add(it);
      this.#failed.clear();
      this.#schedule(0);
    }, this.#retryWait);
    this.#retryWait = Math.min(2 * this.#retryWait, RETRY_MS.max);
  }

  /** Whose connections to look at. */
  async #targets({ everything, endpoints, rooms }: Pending): Promise<Set<string | null>> {
    const connected = this.#connections.endpoints();
    if (everything) return new Set(connected);
    const targets = new Set([...endpoints].filter((it) => this.#connections.has(it)));
    for (const room of rooms) {
      const members = await this.#membersOf(room);
      if (members === null) return new Set(connected);
      for (const it of members) if (this.#connections.has(it)) targets.add(it);
    }
    if (rooms.size === 0) return targets;
    for (const it of connected) {
      const known = it === null ? undefined : this.#known.get(it);
      // Whom another control plane admitted, we may not know yet.
      if (known === undefined || [...rooms].some((room) => known.rooms.has(room))) targets.add(it);
    }
    return targets;
  }

  /** A room's members, none where it is gone, `null` where they cannot be told. */
  async #membersOf(roomId: string): Promise<string[] | null> {
    try {
      const { store } = this.#options;
      const { items, next } = await this.#inTime(store.listMembers(roomId, { limit: ROOM_LIMIT }));
      return next === null ? items.map((it) => it.endpoint) : null;
    } catch (error) {
      return isStoreError(error, "not_found") ? [] : null;
    }
  }

  /** Ends those connections of an endpoint that may do other than they should; false to try again. */
  async #compare(endpoint: string | null): Promise<boolean> {
    // First these, then the store: who opens meanwhile was judged by the store as it is then.
    const connections = this.#connections.of(endpoint);
    if (connections.length === 0) {
      if (endpoint !== null) this.#known.delete(endpoint);
      return true;
    }
    let grant: Grant | null;
    try {
      grant = endpoint === null ? null : await this.#inTime(this.#allowed(endpoint));
    } catch (error) {
      // Not ended: a store that does not answer must not take everybody off the bus.
      if (error === LATE) this.#hangs = true;
      this.#failure ??= { what: "Compare open connections with the store", error };
      return false;
    }
    if (endpoint !== null && grant !== null) this.#known.set(endpoint, grant);
    const wrong = connections.filter((it) => it.grant !== grant?.id);
    const reason = grant === null ? "not_authorized" : "rooms_changed";
    let ended = true;
    await Promise.all(wrong.map(async (it) => {
      try {
        const kicked = await this.#connections.kick(it);
        const { server, cid } = it;
        if (kicked) this.#options.onEvent({ kind: "kicked", endpoint, reason, server, cid });
      } catch (error) {
        this.#failure ??= { what: "End open connections", error };
        ended = false;
      }
    }));
    return ended;
  }

  /** What an endpoint may do now; `null` for nothing at all. Rejects when that cannot be told. */
  async #allowed(endpoint: string): Promise<Grant | null> {
    const { store } = this.#options;
    if (!await store.isAuthorized(endpoint)) {
      // That no may mean that the store cannot tell. Now it has to say so.
      try {
        const user = await store.getUser(endpoint);
        if (user.status === "active") {
          throw new Error("The store does not vouch for an active user");
        }
      } catch (error) {
        if (!isStoreError(error, "not_found")) throw error;
      }
      return null;
    }
    try {
      return grantOf(endpoint, await roomsOf(store, endpoint));
    } catch (error) {
      if (isStoreError(error, "too_large")) return null;
      throw error;
    }
  }

  /** Rejects with {@link LATE} when it takes too long, or when this is stopped. */
  async #inTime<T>(work: Promise<T>): Promise<T> {
    const stopped = Promise.withResolvers<never>();
    const giveUp = () => stopped.reject(LATE);
    this.#waits.add(giveUp);
    try {
      return await within(PATIENCE_MS, Promise.race([work, stopped.promise]), () => {
        throw LATE;
      });
    } finally {
      this.#waits.delete(giveUp);
    }
  }

  #report(): void {
    if (this.#failure === null) this.#retryWait = RETRY_MS.min;
    else if (!this.#stopped) this.#trouble(this.#failure.what, this.#failure.error);
    this.#failure = null;
  }

  #trouble(what: string, error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    this.#options.onEvent({ kind: "trouble", detail: `${what}: ${why}`, error });
  }
}

const LATE = new Error(`The store did not answer within ${PATIENCE_MS} ms`);
