/**
 * A connection on which something happens right before or after one of its requests.
 *
 * @module
 */

import type { NatsConnection } from "@nats-io/transport-node";

/** What is done. */
export interface Interposed {
  /** Before it is sent. */
  before?: () => Promise<unknown>;
  /** After it was answered. */
  after?: () => Promise<unknown>;
  /** Answers in its place. */
  instead?: NatsConnection["request"];
}

/** The connection, with something done once, before or after the first request that `when` picks. */
export function interposed(
  nc: NatsConnection,
  when: (payload: string, subject: string) => boolean,
  { before, after, instead }: Interposed,
): NatsConnection {
  let done = false;
  const request: NatsConnection["request"] = async (subject, payload, options) => {
    const text = typeof payload === "string" ? payload : new TextDecoder().decode(payload);
    const now = !done && when(text, subject);
    done ||= now;
    if (now) await before?.();
    const send = now && instead !== undefined ? instead : nc.request.bind(nc);
    const answer = await send(subject, payload, options);
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
