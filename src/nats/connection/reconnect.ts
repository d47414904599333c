/**
 * When a lost connection is tried again. Has no `node:` imports, because the browser's pages connect too.
 *
 * @module
 */

/**
 * Returns the option `reconnectDelayHandler` of the NATS library, which measures the time since the last
 * attempt by the system clock: after that was set back by an hour, it would not connect for an hour. With
 * this one it then tries at once.
 *
 * @param servers Returns the servers of the connection, with the time of the last attempt of each
 * @param wait Milliseconds between two attempts
 * @param jitter Milliseconds that are added at most
 */
export function reconnectDelay(
  servers: () => readonly { readonly lastConnect: number }[],
  wait: number,
  jitter: number,
): () => number {
  return () => {
    const ahead = Math.max(0, ...servers().map((it) => it.lastConnect)) - Date.now();
    return ahead > 0 ? -ahead : wait + Math.random() * jitter;
  };
}

/**
 * Returns the server that was tried longest ago: the one that was just lost may hang. One whose last attempt
 * is in the future comes first: the clock was set back, and it would not be tried before that time.
 */
export function triedLongestAgo<S extends { readonly lastConnect: number }>(
  servers: readonly S[],
): S {
  const now = Date.now();
  const at = ({ lastConnect }: S) => lastConnect > now ? 0 : lastConnect;
  return servers.reduce((first, it) => at(it) < at(first) ? it : first);
}
