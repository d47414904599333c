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

/** Opens a database for each operation; `keyPath` names the field that its rows are found by. */
export function databaseOf(name: string, store: string, keyPath: string): Ask {
  const open = () =>
    new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(store, { keyPath });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
      request.onblocked = () => reject(new Error("The database is held by another page"));
    });
  return async <T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest) => {
    const database = await open();
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
