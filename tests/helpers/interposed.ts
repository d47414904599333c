/**
 * Connections on which something happens with what is sent.
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
  return using(nc, { request });
}

/** A connection that publishes by `publish`. */
export function publishing(nc: NatsConnection, publish: NatsConnection["publish"]): NatsConnection {
  return using(nc, { publish });
}

/**
 * The first reads of a stream behind a sequence find nothing, as on a replica that lags.
 *
 * @param first The first sequence that the stream has
 * @param stream How its name ends; an archive's by default
 */
export function lagging(
  nc: NatsConnection,
  behind: number,
  reads: number,
  first = 1,
  stream = "_HISTORY",
): NatsConnection {
  return publishing(nc, (subject, payload, options) => {
    const isOfStream = subject.startsWith("$JS.API.DIRECT.GET.") && subject.endsWith(stream);
    const query = isOfStream ? JSON.parse(String(payload)) : {};
    if (reads === 0 || query.next_by_subj === undefined) {
      return nc.publish(subject, payload, options);
    }
    const room = behind + 1 - Math.max(query.seq, first);
    if (room <= 0) reads--;
    const shown = room > 0 ? { batch: Math.min(query.batch, room) } : { seq: 1e9 };
    nc.publish(subject, JSON.stringify({ ...query, ...shown }), options);
  });
}

function using(nc: NatsConnection, own: Partial<NatsConnection>): NatsConnection {
  return new Proxy(nc, {
    get(target, name) {
      const found = Reflect.get(Object.hasOwn(own, name) ? own : target, name);
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
}
