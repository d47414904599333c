/**
 * Watches who may do what, and keeps a picture of it: of this process, of another one on the same
 * file, of another node of the cluster.
 *
 *     deno run -A examples/watch.ts unibus.db
 *
 * @module
 */

import process from "node:process";
import { type AccessChange, openSqlite, type Store } from "@unibus/membership";

/** Says what changes, until the returned function is called. */
export function watch(store: Store, say: (line: string) => void): () => void {
  // A listener is not waited for. It only notes what to look at; the looking is done in order.
  let looking = Promise.resolve();
  const look = async ({ endpoint, roomId }: AccessChange) => {
    if (endpoint !== undefined) {
      const may = await store.isAuthorized(endpoint);
      const rooms = await store.listRoomsForEndpoint(endpoint);
      const names = rooms.items.map((it) => it.id).join(", ") || "none";
      say(`${endpoint.slice(0, 8)}: ${may ? "active" : "no access"}, rooms: ${names}`);
    } else if (roomId !== undefined) {
      say(`room ${roomId} was made, changed or removed`);
    } else {
      // Something was missed, or it came from another process: everything may be different.
      const { items } = await store.listUsers();
      say(`look at everything again, users: ${items.length}`);
    }
  };
  return store.watchAccess((change) => {
    looking = looking.then(() => look(change)).catch((error) => say(`cannot look: ${error}`));
  });
}

if (import.meta.main) {
  const [db] = process.argv.slice(2);
  if (db === undefined) {
    console.error("Usage: watch.ts FILE");
    process.exit(2);
  }
  await using store = openSqlite(db, { create: false });
  const end = watch(store, console.log);
  console.log(`Watching ${db}; Ctrl-C ends it`);
  await new Promise<void>((resolve) => process.once("SIGINT", () => resolve()));
  end();
}
