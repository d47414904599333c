/**
 * Exchanges the backend of an open store for another, as a live move does.
 *
 * @module
 */

import { AccessListeners } from "../async/listeners.ts";
import { within } from "../async/wait.ts";
import type { Backend } from "../backend.ts";
import { StoreError } from "../errors.ts";
import type { HistoryEntry } from "../history/entry.ts";
import { parseRevision, type Revision } from "../history/revision.ts";
import { type HistorySource, sourceOf } from "../history/source.ts";
import type { AccessChange, HealthCheck, StoreRecord } from "../model.ts";
import type { Search } from "./search.ts";
import type { Store } from "./types.ts";
import { Use } from "./use.ts";

/** How long a call is held at most, milliseconds. */
const HELD_MS = 5000;

/** What waits for the end of a hold. */
interface Hold {
  readonly writes: PromiseWithResolvers<void>;
  /** `null` while reads are answered. */
  reads: PromiseWithResolvers<void> | null;
}

/** Passes calls on to a backend, which can be replaced while calls are in progress. */
export class SwitchingBackend implements Backend {
  #use: Use;
  #hold: Hold | null = null;
  #isOwner = true;
  #isClosed = false;
  #unwatch: () => void = () => {};
  readonly #listeners = new AccessListeners(() => {
    this.#watch();
    return () => this.#unwatch();
  });
  /** Backends that were replaced and are not closed yet. */
  readonly #former = new Set<Use>();
  readonly #search: Search = {
    users: (query) => this.#read(async (it) => await searchOf(it).users(query)),
    rooms: (query) => this.#read(async (it) => await searchOf(it).rooms(query)),
  };

  readonly #history: HistorySource = {
    page: (range) => this.#read(async (it) => await sourceOf(it).page(range)),
    head: () => this.#read(async (it) => await sourceOf(it).head()),
    start: () => this.#read(async (it) => await sourceOf(it).start()),
    heads: () => this.#read(async (it) => await sourceOf(it).heads()),
    walk: (...args) => sourceOf(this.current).walk(...args),
    follow: (after, signal) => this.#follow(after, signal),
    prune: (...args) => this.#write(async (it) => await sourceOf(it).prune(...args)),
    sign: (head) => this.#write(async (it) => await sourceOf(it).sign(head)),
  };
  /** Ends what follows the history of the current backend. */
  #replacing = new AbortController();

  constructor(backend: Backend) {
    this.#use = new Use(backend);
  }

  /** The backend that answers now. */
  get current(): Backend {
    return this.#use.backend;
  }

  get name(): string {
    return this.current.name;
  }

  get created(): boolean {
    return this.current.created ?? false;
  }

  get generation(): number {
    return this.current.generation ?? 0;
  }

  get search(): Search | undefined {
    return this.current.search && this.#search;
  }

  get history(): HistorySource | undefined {
    return this.current.history && this.#history;
  }

  reach(revision: Revision, signal?: AbortSignal): Promise<void> {
    return this.#read(async (it) => await it.reach?.(revision, signal));
  }

  isAuthorized(signPub: string): boolean | Promise<boolean> {
    return this.#ask((it) => it.isAuthorized(signPub));
  }

  hasAdmin(): boolean | Promise<boolean> {
    return this.#ask((it) => it.hasAdmin());
  }

  async *records(...args: Parameters<Backend["records"]>): AsyncGenerator<StoreRecord> {
    const begun = Promise.withResolvers<Backend>();
    const ended = Promise.withResolvers<void>();
    this.#read((backend) => {
      begun.resolve(backend);
      return ended.promise;
    }).catch(begun.reject);
    try {
      yield* (await begun.promise).records(...args);
    } finally {
      ended.resolve();
    }
  }

  watchAccess(listener: (change: AccessChange) => void): () => void {
    return this.#listeners.add(listener);
  }

  health(): Promise<HealthCheck[]> {
    return this.#use.track(false, (it) => it.health());
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#listeners.clear();
    this.#replacing.abort();
    const closed = new StoreError("closed", "The store is closed");
    this.#hold?.writes.reject(closed);
    this.#hold?.reads?.reject(closed);
    const closings = [...this.#former].map((it) => it.close());
    if (this.#isOwner) closings.push(this.#use.close());
    await Promise.all(closings);
  }

  /**
   * Holds writes that begin from now on, with `reads` everything but authorization. Held calls wait until
   * {@link release}, at most 5 s. Resolves when no write is in progress.
   *
   * @throws {StoreError} `unavailable`: a write still is after `patience` milliseconds; calls are held
   */
  async hold({ reads = false, patience = HELD_MS } = {}): Promise<void> {
    const hold = this.#hold ??= { writes: waiting(), reads: null };
    if (reads) hold.reads ??= waiting();
    await this.#use.whenWritten(patience);
  }

  /** Lets held calls continue. Idempotent. */
  release(): void {
    this.releaseReads();
    this.#hold?.writes.resolve();
    this.#hold = null;
  }

  /** Lets held reads continue; writes stay held. Idempotent. */
  releaseReads(): void {
    const hold = this.#hold;
    hold?.reads?.resolve();
    if (hold !== null) hold.reads = null;
  }

  /**
   * Lets `next` answer from now on. Listeners for changes of access are called with `{}`. Resolves when
   * the calls of the former backend have ended and it is closed. If the store is closed, `next` is too.
   */
  async replace(next: Backend): Promise<void> {
    if (this.#isClosed) return await next.close();
    const former = this.#use;
    const unwatch = this.#unwatch;
    const replacing = this.#replacing;
    this.#replacing = new AbortController();
    this.#use = new Use(next);
    replacing.abort();
    if (this.#listeners.any) {
      this.#watch();
      unwatch();
      this.#listeners.emit({});
    }
    this.#former.add(former);
    await former.closeLater();
    this.#former.delete(former);
  }

  /** Returns the backend for another store, which closes it from now on. */
  take(): Backend {
    this.#isOwner = false;
    return this.current;
  }

  #watch(): void {
    this.#unwatch = this.current.watchAccess((change) => this.#listeners.emit(change));
  }

  /** Continues on the next backend, which has all entries of the former one. */
  async *#follow(after: Revision | null, signal: AbortSignal): AsyncGenerator<HistoryEntry[]> {
    let last = after;
    while (!signal.aborted) {
      if (this.#isClosed) throw new StoreError("closed", "The store is closed");
      const replaced = this.#replacing.signal;
      const either = AbortSignal.any([signal, replaced]);
      for await (const entries of sourceOf(this.current).follow(last, either)) {
        yield entries;
        last = parseRevision("revision", entries.at(-1)!.revision);
      }
      if (!replaced.aborted) return;
    }
  }

  createRoom: Backend["createRoom"] = (...args) => this.#write((it) => it.createRoom(...args));
  getRoom: Backend["getRoom"] = (id) => this.#read((it) => it.getRoom(id));
  listRooms: Backend["listRooms"] = (range) => this.#read((it) => it.listRooms(range));
  listRoomsForEndpoint: Backend["listRoomsForEndpoint"] = (...args) =>
    this.#read((it) => it.listRoomsForEndpoint(...args));
  deleteRoom: Backend["deleteRoom"] = (...args) => this.#write((it) => it.deleteRoom(...args));
  addMember: Backend["addMember"] = (...args) => this.#write((it) => it.addMember(...args));
  getMember: Backend["getMember"] = (...args) => this.#read((it) => it.getMember(...args));
  listMembers: Backend["listMembers"] = (...args) => this.#read((it) => it.listMembers(...args));
  listWaiting: Backend["listWaiting"] = (...args) => this.#read((it) => it.listWaiting(...args));
  countMembers: Backend["countMembers"] = (id) => this.#read((it) => it.countMembers(id));
  joinRoom: Backend["joinRoom"] = (...args) => this.#write((it) => it.joinRoom(...args));
  changeRoomOwner: Backend["changeRoomOwner"] = (...args) =>
    this.#write((it) => it.changeRoomOwner(...args));
  handOverRoom: Backend["handOverRoom"] = (...args) =>
    this.#write((it) => it.handOverRoom(...args));
  removeMember: Backend["removeMember"] = (...args) =>
    this.#write((it) => it.removeMember(...args));
  rekeyRoom: Backend["rekeyRoom"] = (...args) => this.#write((it) => it.rekeyRoom(...args));
  putSealedKey: Backend["putSealedKey"] = (...args) =>
    this.#write((it) => it.putSealedKey(...args));
  getSealedKey: Backend["getSealedKey"] = (...args) => this.#read((it) => it.getSealedKey(...args));
  listSealedKeys: Backend["listSealedKeys"] = (...args) =>
    this.#read((it) => it.listSealedKeys(...args));
  pruneSealedKeys: Backend["pruneSealedKeys"] = (...args) =>
    this.#write((it) => it.pruneSealedKeys(...args));
  addUser: Backend["addUser"] = (...args) => this.#write((it) => it.addUser(...args));
  getUser: Backend["getUser"] = (key) => this.#read((it) => it.getUser(key));
  listUsers: Backend["listUsers"] = (range) => this.#read((it) => it.listUsers(range));
  setUserStatus: Backend["setUserStatus"] = (...args) =>
    this.#write((it) => it.setUserStatus(...args));
  setUserRole: Backend["setUserRole"] = (...args) => this.#write((it) => it.setUserRole(...args));
  deleteUser: Backend["deleteUser"] = (...args) => this.#write((it) => it.deleteUser(...args));
  createInvite: Backend["createInvite"] = (...args) =>
    this.#write((it) => it.createInvite(...args));
  getInvite: Backend["getInvite"] = (id) => this.#read((it) => it.getInvite(id));
  listInvites: Backend["listInvites"] = (range) => this.#read((it) => it.listInvites(range));
  consumeInvite: Backend["consumeInvite"] = (...args) =>
    this.#write((it) => it.consumeInvite(...args));
  cancelInvite: Backend["cancelInvite"] = (...args) =>
    this.#write((it) => it.cancelInvite(...args));
  pruneInvites: Backend["pruneInvites"] = (...args) =>
    this.#write((it) => it.pruneInvites(...args));
  restore: Backend["restore"] = (...args) => this.#write((it) => it.restore(...args));

  /** Answers a call that only reads. */
  #read<T>(call: (it: Backend) => Promise<T>): Promise<T> {
    const reads = this.#hold?.reads ?? null;
    return reads !== null
      ? this.#held(reads).then(() => this.#read(call))
      : this.#use.track(false, call);
  }

  /** Answers any other call. */
  #write<T>(call: (it: Backend) => Promise<T>): Promise<T> {
    return this.#hold !== null
      ? this.#held(this.#hold.writes).then(() => this.#write(call))
      : this.#use.track(true, call);
  }

  /** Nothing can come between a plain answer and its question, so it is not counted. */
  #ask(question: (it: Backend) => boolean | Promise<boolean>): boolean | Promise<boolean> {
    const use = this.#use;
    const answer = question(use.backend);
    return typeof answer === "boolean" ? answer : use.track(false, () => answer);
  }

  #held({ promise }: PromiseWithResolvers<void>): Promise<void> {
    return within(HELD_MS, promise, () => {
      throw new StoreError(
        "unavailable",
        "The control plane is being switched to another backend, and the outcome is not known yet",
        { hint: "try again" },
      );
    });
  }
}

function waiting(): PromiseWithResolvers<void> {
  const it = Promise.withResolvers<void>();
  // It may be rejected while nothing waits.
  it.promise.catch(() => {});
  return it;
}

function searchOf({ search }: Backend): Search {
  if (search !== undefined) return search;
  throw new StoreError("unsupported", "Searching: the control plane has moved to a bucket", {
    hint: "open the bucket with a follower",
  });
}

const switches = new WeakMap<object, SwitchingBackend>();

/** Records what {@link switchOf} returns for a store. */
export function noteSwitch(store: Store, backend: SwitchingBackend): void {
  switches.set(store, backend);
}

/** Returns the switch of a store's backend; `null` if the store was not made by `createStore`. */
export function findSwitch(store: object): SwitchingBackend | null {
  return switches.get(store) ?? null;
}

/**
 * Returns the switch of a store's backend.
 *
 * @throws {StoreError} `invalid`: the store was not made by `createStore`
 */
export function switchOf(store: Store): SwitchingBackend {
  const found = switches.get(store);
  if (found !== undefined) return found;
  throw new StoreError("invalid", "store must be one that this library opened", { field: "store" });
}
