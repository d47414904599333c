/**
 * Keeps the permissions of open connections up to date with the store. A connection's user name
 * encodes its permissions, so any control plane on the bus can compare and close it, whichever one
 * admitted it. The client then reconnects and gets its current permissions.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";
import { within } from "../../core/async/wait.ts";
import { isStoreError } from "../../core/errors.ts";
import type { AccessChange } from "../../core/model.ts";
import type { BusConnections } from "../../core/operations.ts";
import { counted } from "../../core/text/counted.ts";
import { isSilence, type OpenConnection, OpenConnections } from "./connections.ts";
import { type Grant, grantOf } from "./grant.ts";
import { roomsOf } from "./rooms.ts";
import type { AuthCalloutOptions, CalloutEvent, PartStatus } from "../types.ts";

/** Changes within this time in milliseconds are processed together. */
const GATHER_MS = 25;
/** Delays in milliseconds before a failed comparison is retried, doubled each time. */
const RETRY_MS = { min: 250, max: 4_000 };
/**
 * A connection admitted before a change can open after it: later by the server's timeout for the
 * callout plus the change's delay. So connections that open within this time after a change are
 * checked again.
 */
const SETTLE_MS = 10_000;
const CONCURRENCY = 16;
/**
 * How long servers may take for the first list of open connections, milliseconds: those that start at the
 * same time are busy.
 */
const START_MS = 30_000;
/** Time limit for an answer of the store in milliseconds. */
const PATIENCE_MS = 5_000;
/** A change of a room with more members than this is treated as a change of all endpoints. */
const ROOM_LIMIT = 10_000;

type Options =
  & Pick<AuthCalloutOptions, "store">
  & Required<Pick<AuthCalloutOptions, "account" | "sweepInterval">>
  & { system: NatsConnection; onEvent: (event: CalloutEvent) => void };

/** Pending comparisons. */
class Pending {
  /** Endpoints; `null` stands for unverified connections. */
  readonly endpoints = new Set<string | null>();
  readonly rooms = new Set<string>();
  everything = false;

  get isEmpty(): boolean {
    return !this.everything && this.endpoints.size === 0 && this.rooms.size === 0;
  }
}

/** Compares open connections with the store, on changes and periodically. */
export class Reconciler {
  readonly #options: Options;
  readonly #connections: OpenConnections;
  readonly #endings: (() => void)[] = [];
  /**
   * The last known grant of each connected endpoint, to find the endpoints affected by a room's
   * change.
   */
  readonly #known = new Map<string, Grant>();
  #pending = new Pending();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #work: Promise<void> | null = null;
  #sweeping: Promise<void> | null = null;
  #sweepWait = RETRY_MS.min;
  #sweepTimer: ReturnType<typeof setTimeout> | undefined;
  #hangs = false;
  /** The first failure of a run, so that it is reported only once. */
  #failure: { what: string; error: unknown } | null = null;
  readonly #failed = new Set<string | null>();
  #retryWait = RETRY_MS.min;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #changedAt = -Infinity;
  #sweptAt = -Infinity;
  #stopped = false;
  /** Callbacks that cancel pending store calls. */
  readonly #waits = new Set<() => void>();

  /** Subscribes to changes and connections; {@link start} checks those that are already open. */
  constructor(options: Options) {
    this.#options = options;
    const { store, system, account, sweepInterval } = options;
    // First the store: if it is closed, this throws and nothing needs to be undone.
    this.#endings.push(store.watchAccess((change) => this.#changed(change)));
    this.#connections = new OpenConnections(system, account, (it) => this.#opened(it));
    this.#endings.push(() => this.#connections.stop());
    const timer = setInterval(() => void this.sweep().catch(() => {}), sweepInterval);
    this.#endings.push(() => clearInterval(timer));
  }

  /** Runs the first sweep. Rejects if open connections cannot be listed. */
  async start(): Promise<void> {
    const deadline = performance.now() + START_MS;
    for (;;) {
      try {
        return await this.sweep();
      } catch (error) {
        if (!isSilence(error) || this.#stopped || performance.now() > deadline) throw error;
      }
    }
  }

  /** Records an endpoint's new grant, which saves a lookup when its rooms change. */
  granted(endpoint: string, grant: Grant): void {
    this.#known.set(endpoint, grant);
  }

  /** Counts open connections, all or those of one endpoint. */
  count(endpoint?: string): BusConnections {
    const connections = this.#connections;
    if (endpoint === undefined) {
      return { open: connections.size, users: connections.endpoints().length };
    }
    const open = connections.of(endpoint).length;
    const at = connections.closedAt(endpoint);
    const closedAt = at === null ? null : new Date(at).toISOString();
    return { open, users: Math.min(open, 1), closedAt };
  }

  /** Reports whether changes reach open connections. */
  status(): PartStatus {
    const age = performance.now() - this.#sweptAt;
    const open = counted(this.#connections.size, "open connection");
    if (age === Infinity) return { ok: false, detail: "open connections were never listed" };
    if (age <= 3 * this.#options.sweepInterval) return { ok: true, detail: open };
    return { ok: false, detail: `${open}, last listed ${Math.round(age / 1000)} s ago` };
  }

  /** Lists and compares all open connections. Rejects if they cannot be listed. */
  async sweep(): Promise<void> {
    this.#sweeping ??= this.#sweep().finally(() => this.#sweeping = null);
    await this.#sweeping;
  }

  async #sweep(): Promise<void> {
    if (this.#stopped) return;
    try {
      if (this.#sweptAt === -Infinity) await this.#connections.check();
      await this.#connections.refresh();
    } catch (error) {
      if (!this.#stopped) {
        this.#trouble("List open connections", error);
        // Retry soon: events may have been missed before a reconnect.
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
    for (const endpoint of this.#known.keys()) {
      if (!this.#connections.has(endpoint)) this.#known.delete(endpoint);
    }
  }

  /** Stops, and waits until the current comparison has ended. */
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

  /** Processes pending comparisons, including those added meanwhile. */
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
        while (targets.length > 0 && !this.#stopped) {
          const endpoint = targets.pop() ?? null;
          if (await this.#compare(endpoint)) continue;
          this.#retry(endpoint);
          // If the store hangs, each of the others would wait for the time limit too.
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
      for (const failed of this.#failed) this.#pending.endpoints.add(failed);
      this.#failed.clear();
      this.#schedule(0);
    }, this.#retryWait);
    this.#retryWait = Math.min(2 * this.#retryWait, RETRY_MS.max);
  }

  /** Returns the endpoints whose connections to compare. */
  async #targets({ everything, endpoints, rooms }: Pending): Promise<Set<string | null>> {
    const connected = this.#connections.endpoints();
    if (everything) return new Set(connected);
    const targets = new Set([...endpoints].filter((it) => this.#connections.has(it)));
    for (const room of rooms) {
      const members = await this.#membersOf(room);
      if (members === null) return new Set(connected);
      for (const member of members) if (this.#connections.has(member)) targets.add(member);
    }
    if (rooms.size === 0) return targets;
    for (const endpoint of connected) {
      const known = endpoint === null ? undefined : this.#known.get(endpoint);
      // Unknown if another control plane admitted it.
      const affected = known === undefined || [...rooms].some((room) => known.rooms.has(room));
      if (affected) targets.add(endpoint);
    }
    return targets;
  }

  /** Returns a room's members: none if it does not exist, `null` if they cannot be listed. */
  async #membersOf(roomId: string): Promise<string[] | null> {
    try {
      const { store } = this.#options;
      const { items, next } = await this.#inTime(store.listMembers(roomId, { limit: ROOM_LIMIT }));
      return next === null ? items.map((it) => it.endpoint) : null;
    } catch (error) {
      return isStoreError(error, "not_found") ? [] : null;
    }
  }

  /**
   * Closes an endpoint's connections with outdated permissions; returns false if a retry is needed.
   */
  async #compare(endpoint: string | null): Promise<boolean> {
    // Connections before the store: one that opens meanwhile was admitted with newer data.
    const connections = this.#connections.of(endpoint);
    if (connections.length === 0) {
      if (endpoint !== null) this.#known.delete(endpoint);
      return true;
    }
    let grant: Grant | null;
    try {
      grant = endpoint === null ? null : await this.#inTime(this.#allowed(endpoint));
    } catch (error) {
      // Not closed: a store outage must not disconnect all clients.
      if (error === LATE) this.#hangs = true;
      this.#failure ??= { what: "Compare open connections with the store", error };
      return false;
    }
    if (endpoint !== null && grant !== null) this.#known.set(endpoint, grant);
    const wrong = connections.filter((it) => it.grant !== grant?.id);
    const reason = grant === null ? "not_authorized" : "rooms_changed";
    let ended = true;
    await Promise.all(wrong.map(async (connection) => {
      try {
        const kicked = await this.#connections.kick(connection);
        const { server, cid } = connection;
        if (kicked) this.#options.onEvent({ kind: "kicked", endpoint, reason, server, cid });
      } catch (error) {
        this.#failure ??= { what: "Close open connections", error };
        ended = false;
      }
    }));
    return ended;
  }

  /**
   * Returns an endpoint's current grant; `null` if it is not authorized. Rejects if that is
   * unknown.
   */
  async #allowed(endpoint: string): Promise<Grant | null> {
    const { store } = this.#options;
    if (!await store.isAuthorized(endpoint)) {
      // `isAuthorized` is also false if the store cannot tell; `getUser` throws then.
      try {
        const user = await store.getUser(endpoint);
        if (user.status === "active") {
          throw new Error("The store cannot confirm that an active user is authorized");
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

  /** Rejects with {@link LATE} after the time limit or when this is stopped. */
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
