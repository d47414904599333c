/**
 * Creates a store from a backend. {@link createStore} adds validation, defaults, paging and the closed
 * state to a {@link Backend}.
 *
 * @module
 */

import type { Backend } from "./backend.ts";
import { checkedRecords } from "./checks/integrity.ts";
import { StoreError } from "./errors.ts";
import type { StoreHealth } from "./model.ts";
import type { Author } from "./history/entry.ts";
import { compareRevisionTexts, formatRevision, type Revision } from "./history/revision.ts";
import { historyMethods } from "./history/store.ts";
import { inviteMethods } from "./store/invites.ts";
import { iterables } from "./store/iterables.ts";
import { keyMethods } from "./store/keys.ts";
import { roomMethods } from "./store/rooms.ts";
import { noteSwitch, SwitchingBackend } from "./store/switching.ts";
import type { ActingStore, Store, StoreOptions } from "./store/types.ts";
import { userMethods } from "./store/users.ts";
import * as check from "./validate.ts";

export type { RestoreOptions } from "./backend.ts";
export type { HistoryMethods, HistoryPruning, HistoryQuery } from "./history/methods.ts";
export type { RecordMethods } from "./store/records.ts";
export type { ActingStore, Store, StoreOptions } from "./store/types.ts";
export { inviteId } from "./store/invites.ts";

/** The author of changes that are made in nobody's name. */
const LIBRARY = "library";

/**
 * Creates a {@link Store} from a {@link Backend}, for custom backends.
 *
 * @param backend Stores the records; the store owns it and closes it
 * @param options A clock, for tests
 */
export function createStore(backend: Backend, options: StoreOptions = {}): Store {
  const current = new SwitchingBackend(backend);
  const clock = options.clock ?? (() => new Date());
  let closing: Promise<void> | null = null;

  function open(): Backend {
    if (closing !== null) throw new StoreError("closed", "The store is closed");
    return current;
  }

  async function close(): Promise<void> {
    closing ??= current.close();
    await closing;
  }

  const now = () => clock().toISOString();

  /** The store in somebody's name. */
  function view(actor: string): Store & ActingStore {
    let revision: string | null = null;
    const wrote = (it: string) => {
      if (revision === null || compareRevisionTexts(it, revision) > 0) revision = it;
    };
    const author = (): Author => ({ by: actor, at: now(), wrote });
    const shared = { open, now, author };
    const records = {
      ...roomMethods(shared),
      ...keyMethods(shared),
      ...userMethods(shared),
      ...inviteMethods(shared),
    };
    const store: Store & ActingStore = {
      get backend() {
        return current.name;
      },
      get created() {
        return current.created;
      },
      get generation() {
        return current.generation;
      },
      get search() {
        return current.search;
      },
      get revision() {
        return revision;
      },
      ...records,
      ...iterables(records),
      ...historyMethods(shared),

      async *records(options) {
        check.options("options", options, ["signal", "onRevision"]);
        const { signal, onRevision } = options ?? {};
        const show = onRevision && ((it: Revision | null) => onRevision(it && formatRevision(it)));
        yield* open().records(signal, show);
      },
      async restore(records, options) {
        check.options("options", options, ["replace", "history", "signal", "onProgress"]);
        return await open().restore(checkedRecords(records), { ...options }, author());
      },
      as: (actor) => view(check.createdBy("actor", actor)),

      watchAccess(listener) {
        if (typeof listener !== "function") {
          throw check.invalid(
            "listener",
            `listener must be a function, found ${check.show(listener)}`,
          );
        }
        return open().watchAccess(listener);
      },
      async health() {
        if (closing !== null) return unhealthy("The store is closed");
        try {
          const checks = await current.health();
          return { ok: checks.every((it) => it.ok), checks };
        } catch (error) {
          return unhealthy(error instanceof Error ? error.message : String(error));
        }
      },
      close,
      [Symbol.asyncDispose]: close,
    };
    noteSwitch(store, current);
    return store;
  }

  return view(LIBRARY);
}

function unhealthy(detail: string): StoreHealth {
  return { ok: false, checks: [{ name: "store", ok: false, detail }] };
}
