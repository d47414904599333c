/**
 * The store in an SQLite file.
 *
 * @module
 */

import { StoreError } from "../core/errors.ts";
import { createStore, type Store, type StoreOptions } from "../core/store.ts";
import { SqliteBackend } from "./backend.ts";
import { absolute } from "./file/file.ts";

/** How {@link openSqlite} opens. */
export interface SqliteOptions extends StoreOptions {
  /**
   * How long a call waits for another process's write, in milliseconds, before it fails with
   * `unavailable`. The wait blocks this process. Default 5,000.
   */
  busyTimeout?: number;
  /** Open for reading only; writes are `refused`. Default `false`. */
  readOnly?: boolean;
  /**
   * Keep every other process and connection out until the store is closed; `refused` when one has
   * the file open. Finish reading `records()` before you write. Default `false`.
   */
  exclusive?: boolean;
  /**
   * Open a file for writing although its control plane moved to a bucket, where what is written here
   * is not seen. Default `false`: `refused`.
   */
  allowMoved?: boolean;
  /**
   * Create the file when it is missing; `created` of the store tells whether that was so. Its directory
   * must exist. Default `true`.
   */
  create?: boolean;
}

/**
 * Opens a control plane in an SQLite file. Several processes may use one file.
 *
 * A new file is readable by its owner only. A file that is not a control plane, or that a newer
 * version of this package made, is not altered.
 *
 * Errors: `not_found` (no file and `create: false`, or no directory), `refused` (another program's file, a
 * read-only one, with `exclusive` one in use, without `allowMoved` one whose control plane moved), `unsupported` (from a newer version), `corrupt`, `unavailable` (locked).
 *
 * @example
 * ```ts
 * import { openSqlite } from "@unibus/membership";
 *
 * await using store = openSqlite(":memory:");
 * console.log(await store.hasAdmin()); // false
 * ```
 *
 * @param path The file, or `:memory:` for a store that ends with the process
 * @param options Timeouts and guards
 */
export function openSqlite(path: string, options: SqliteOptions = {}): Store {
  const { busyTimeout = 5000, readOnly = false, exclusive = false, create = true, clock } = options;
  const { allowMoved = false } = options;
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
    at: (clock?.() ?? new Date()).toISOString(),
    // Holds the users of a large control plane; taken as needed.
    cacheKiB: 64 * 1024,
  });
  return createStore(backend, clock === undefined ? {} : { clock });
}
