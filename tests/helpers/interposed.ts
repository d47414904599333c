/**
 * A connection on which something happens right before or after one of its requests.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";

/** The connection, with something done once, before or after the first request that `when` picks. */
export function interposed(
  nc: NatsConnection,
  when: (payload: string) => boolean,
  { before, after }: { before?: () => Promise<unknown>; after?: () => Promise<unknown> },
): NatsConnection {
  let done = false;
  const request: NatsConnection["request"] = async (subject, payload, options) => {
    const text = typeof payload === "string" ? payload : new TextDecoder().decode(payload);
    const now = !done && when(text);
    done ||= now;
    if (now) await before?.();
    const answer = await nc.request(subject, payload, options);
    if (now) await after?.();
    return answer;
  };
  return new Proxy(nc, {
    get(target, name) {
      const found = Reflect.get(target, name);
      return name === "request"
        ? request
        : typeof found === "function"
        ? found.bind(target)
        : found;
    },
  });
}
