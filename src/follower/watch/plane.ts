/**
 * A store with a follower that is opened again, as at a start, when a repair has settled what was wrong.
 * What has the store keeps it: nothing of what was read before stays.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { pause } from "../../core/async/wait.ts";
import type { Backend } from "../../core/backend.ts";
import { StoreError } from "../../core/errors.ts";
import type { SwitchingBackend } from "../../core/store/switching.ts";
import { connect } from "../../sqlite/file/connect.ts";
import { readRole } from "../../sqlite/file/role.ts";
import { fileIdentity } from "../../sqlite/health.ts";
import { reading } from "../file/reading.ts";
import type { Follower, FollowerState } from "../types.ts";

/** How often the file is looked at, milliseconds. */
const LOOK = 1000;

/** What is replaced as a whole. */
export interface Opened {
  /** The backend of the store; closes the follower. */
  backend: Backend;
  /** The follower. */
  follower: Follower;
  /** What it is known by when it ends. */
  token: object;
}

/** The newest follower of a store, which is opened again after a repair. */
export class Plane implements Follower {
  readonly #open: (signal: AbortSignal) => Promise<Opened>;
  readonly #onRenewed: () => void;
  readonly #ending = new AbortController();
  #now!: Opened;
  #store!: SwitchingBackend;
  #alarm: StoreError | null = null;
  #settled: Settled | null = null;
  #renewal: Promise<void> | null = null;

  /**
   * @param open Opens again; rejects while something is wrong
   * @param onRenewed Told when that is in use
   */
  constructor(open: (signal: AbortSignal) => Promise<Opened>, onRenewed: () => void) {
    this.#open = open;
    this.#onRenewed = onRenewed;
  }

  /** Takes the first one, and the store that has it. */
  begin(first: Opened, store: SwitchingBackend): void {
    this.#now = first;
    this.#store = store;
  }

  /** Notes an alarm, which is shown until all is opened again. */
  raise(alarm: StoreError): void {
    this.#alarm = alarm;
  }

  /**
   * Waits for the repair of a file whose follower has ended, and opens everything again.
   *
   * @param isKept Whether the file keeps why
   */
  renewAfter(path: string, isKept: boolean): void {
    const settled = this.#settled ??= new Settled(path);
    settled.isKept ||= isKept;
    this.#renewal ??= this.#renew(settled).finally(() => this.#renewal = this.#settled = null);
  }

  /** One was closed; with that in use everything ends. */
  async end(token: object): Promise<void> {
    if (this.#now?.token !== token) return;
    this.#ending.abort(new StoreError("closed", "The store is closed"));
    await this.#renewal;
  }

  get path(): string {
    return this.#now.follower.path;
  }

  get alarm(): StoreError | null {
    return this.#alarm ?? this.#now.follower.alarm;
  }

  state(): FollowerState {
    return { ...this.#now.follower.state(), alarm: this.alarm };
  }

  whenExact(position?: number, options?: { signal?: AbortSignal }): Promise<FollowerState> {
    return this.#now.follower.whenExact(position, options);
  }

  close(): Promise<void> {
    return this.#now.follower.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #renew(settled: Settled): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      const next = settled.look() ? await this.#open(signal).catch(() => null) : null;
      if (next !== null) {
        // Moved elsewhere meanwhile.
        const isOver = this.#store.current !== this.#now.backend;
        if (!isOver && !signal.aborted && isFollowing(next.follower)) return this.#replace(next);
        await next.backend.close();
        if (isOver) return;
      }
      await pause(LOOK, signal).catch(() => {});
    }
  }

  #replace(next: Opened): void {
    this.#now = next;
    this.#alarm = null;
    // Calls of the former one may take long; the store closes it at the latest.
    this.#store.replace(next.backend).catch(() => {});
    this.#onRenewed();
  }
}

/** Whether a follower has neither an alarm nor a damaged file, which end it. */
export function isFollowing(follower: Follower): boolean {
  const { alarm, degraded } = follower.state();
  return alarm === null && degraded?.field !== "file";
}

/** Looks at a file whose follower has ended, until it can be followed with again. */
class Settled {
  readonly #path: string;
  readonly #identity: string | null;
  /** Whether the alarm is kept in the file, or was: one that could not be stored cannot be seen to go. */
  isKept = false;

  /** @param path The file */
  constructor(path: string) {
    this.#path = path;
    this.#identity = existsSync(path) ? fileIdentity(path) : null;
  }

  /** Whether the file was renamed or removed, or loaded again without its alarm. */
  look(): boolean {
    try {
      if (!existsSync(this.#path)) return true;
      const held = read(this.#path);
      if (held === null) return false;
      if (held.alarm !== null) this.isKept = true;
      const isOther = this.isKept || fileIdentity(this.#path) !== this.#identity;
      return isOther && held.alarm === null && held.exact;
    } catch {
      // A repair has it for itself, or it is damaged.
      return false;
    }
  }
}

/** What a file holds; `null` if it is not a follower's, or was not loaded. */
function read(path: string) {
  const db = connect(path, { busyTimeout: 0, readOnly: true });
  try {
    return readRole(db).role === "follower" ? reading(db).held() : null;
  } finally {
    db.close();
  }
}
