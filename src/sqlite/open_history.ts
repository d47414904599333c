/**
 * Opens the history in a file without its records.
 *
 * @module
 */

import type { HistorySource } from "../core/history/source.ts";
import { StoreError } from "../core/errors.ts";
import { connect } from "./file/connect.ts";
import { toStoreError } from "./file/errors.ts";
import { FileHistory } from "./history/source.ts";
import { HistoryTable } from "./history/table.ts";

/** The history in a file, for reading. */
export type OpenHistory = Pick<HistorySource, "head" | "walk"> & Disposable;

/**
 * Opens the history in a file that a program may be writing, such as a follower's.
 *
 * @throws {StoreError} `not_found`; `corrupt`
 */
export function openHistory(path: string): OpenHistory {
  const db = connect(path, { busyTimeout: 5000, readOnly: true });
  const read = <T>(attempt: string, work: () => T): Promise<T> => {
    try {
      return Promise.resolve(work());
    } catch (error) {
      return Promise.reject(toStoreError(error, attempt));
    }
  };
  const refuse = () => Promise.reject(new StoreError("refused", `${path} is open for reading`));
  const history = new FileHistory(db, new HistoryTable(db), {
    read,
    write: refuse,
    changed: refuse,
  });
  return {
    head: () => history.head(),
    walk: (after, signal) => history.walk(after, signal),
    [Symbol.dispose]: () => db.close(),
  };
}
