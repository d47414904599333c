/// <reference lib="dom" />
/**
 * A database of this browser (IndexedDB) with one store. It is bound to the page's origin, so to one
 * control plane.
 *
 * @module
 */

/** Runs one operation in a transaction of its own. */
export type Ask = <T>(
  mode: IDBTransactionMode,
  work: (store: IDBObjectStore) => IDBRequest,
) => Promise<T>;

/**
 * Opens a database; `keyPath` names the field that its rows are found by, null: they are found by keys of
 * their own.
 */
export function openDatabase(
  name: string,
  store: string,
  keyPath: string | null,
): Promise<IDBDatabase> {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(store, { keyPath });
  return done(request);
}

/** Resolves with the result of a request. */
export function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Opens a database for each operation. */
export function databaseOf(name: string, store: string, keyPath: string): Ask {
  return async <T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest) => {
    const database = await openDatabase(name, store, keyPath);
    try {
      return await new Promise<T>((resolve, reject) => {
        const transaction = database.transaction(store, mode);
        const request = work(transaction.objectStore(store));
        transaction.oncomplete = () => resolve(request.result as T);
        transaction.onabort = () => reject(transaction.error);
        transaction.onerror = () => reject(transaction.error);
      });
    } finally {
      database.close();
    }
  };
}
