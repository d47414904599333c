/**
 * The status of a connection, as it changes. Has no `node:` imports, because the page of rooms uses it too.
 *
 * @module
 */

import type { NatsConnection, Status } from "@nats-io/transport-node";

/** Calls `onStatus` for each change of a connection's status. Returns a function that ends it. */
export function watchStatus(
  connection: NatsConnection,
  onStatus: (type: Status["type"]) => void,
): () => void {
  const changes = connection.status();
  let ended = false;
  const follow = async () => {
    for await (const { type } of changes) {
      if (ended) return;
      onStatus(type);
    }
  };
  void follow();
  return () => {
    ended = true;
    // Not in the library's type: ends the iteration, which would keep the queue alive.
    (changes as { stop?: () => void }).stop?.();
  };
}
