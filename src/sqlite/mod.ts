/**
 * The store in a SQLite file.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { createStore, type Store, type StoreOptions } from "../core/store.ts";
import { SqliteBackend } from "./backend.ts";
import { absolute } from "./file/file.ts";

/** Options of {@link openSqlite}. */
export interface SqliteOptions extends StoreOptions {
  /**
   * How long a call waits for another process's write, in milliseconds, before it fails with
   * `unavailable`. The wait blocks this process. Default 5,000.
   */
  busyTimeout?: number;
  /** Opens the file for reading only; writes fail with `refused`. Default `false`. */
  readOnly?: boolean;
  /**
   * Locks out all other processes and connections until the store is closed. Finish reading
   * `records()` before you write. Default `false`.
   */
  exclusive?: boolean;
  /**
   * Opens a file for writing although its control plane has moved to a bucket, where these writes are
   * not visible. Default `false`.
   */
  allowMoved?: boolean;
  /** Creates the file if it does not exist. Its directory must exist. Default `true`. */
  create?: boolean;
  /** Keeps a history: an entry for each change, which `store.history` returns. Default `true`. */
  history?: boolean;
}

/**
 * Opens a control plane in a SQLite file. Several processes can use one file.
 *
 * A new file is readable by its owner only. A file that is not a control plane, or was created by a
 * newer version of this package, is not changed.
 *
 * @throws {StoreError} `not_found`: no such file, and `create` is `false`, or no such directory;
 * `refused`: another program's file, a read-only file, one that is in use (with `exclusive`), or one
 * whose control plane has moved (without `allowMoved`); `unsupported`: created by a newer version;
 * `corrupt`; `unavailable`: locked
 *
 * @example
 * ```ts
 * import { openSqlite } from "@unibus/membership";
 *
 * await using store = openSqlite(":memory:");
 * console.log(await store.hasAdmin()); // false
 * ```
 *
 * @param path The file, or `:memory:` for a store in memory
 */
export function openSqlite(path: string, options: SqliteOptions = {}): Store {
  const { busyTimeout = 5000, readOnly = false, exclusive = false, create = true, clock } = options;
  const { allowMoved = false, history = true } = options;
  if (!Number.isInteger(busyTimeout) || busyTimeout < 0 || busyTimeout > 2 ** 31 - 1) {
    throw new StoreError("invalid", "busyTimeout must be a whole number of milliseconds", {
      field: "busyTimeout",
    });
  }
  const backend = new SqliteBackend(absolute(path), {
    busyTimeout,
    readOnly,
    exclusive,
    allowMoved,
    create,
    history,
    at: (clock?.() ?? new Date()).toISOString(),
    // Enough for the users of a large control plane; allocated as needed.
    cacheKiB: 64 * 1024,
  });
  return createStore(backend, clock === undefined ? {} : { clock });
}
