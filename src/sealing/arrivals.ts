/**
 * Remembers which messages have arrived in a room, to reject replays and to detect missing ones.
 *
 * @module
 */

import { SealingError } from "./error.ts";
import type { MessageHeader } from "./message.ts";

/** How far a message may be behind the newest one of its session. */
const WINDOW = 1024;
/** Number of sessions remembered for each sender; of older ones, only the latest time is remembered. */
const SESSIONS = 64;

/** How a message arrived. */
export interface Arrival {
  /** How many messages just before it have not arrived (yet); 0 for the first one of a session. */
  missed: number;
  /** Whether a message that was sealed later arrived earlier. */
  late: boolean;
}

interface Session {
  /** The highest number that arrived. */
  highest: number;
  /** One bit for each number from `highest - WINDOW + 1`, at the number modulo `WINDOW`: it arrived. */
  seen: Uint8Array;
  /** The latest time that arrived. */
  sentAt: number;
  /** Messages up to this time may have arrived before the session was forgotten. */
  after: number;
}

interface Sender {
  /** By session, the most recently used one last. */
  sessions: Map<string, Session>;
  /** A message of an unknown session must be later than this. */
  forgotten: number;
}

/** Options of {@link Arrivals}. */
export interface ArrivalsOptions {
  /** Maximum difference between a message's time and the local clock, milliseconds. */
  maxAge: number;
}

/** Remembers what has arrived, in bounded memory for each sender. */
export class Arrivals {
  readonly #maxAge: number;
  readonly #senders = new Map<string, Sender>();

  /** Starts without any arrivals. */
  constructor({ maxAge }: ArrivalsOptions) {
    this.#maxAge = maxAge;
  }

  /**
   * Remembers a verified message. Old messages are rejected by their time and need not be remembered, so
   * that after a restart only messages of the last `maxAge` can be replayed.
   *
   * @throws {SealingError} `stale`; `replayed`
   */
  take(header: MessageHeader, now: number = Date.now()): Arrival {
    const { sender, session, seq, sentAt } = header;
    const what = `Message ${seq} from ${sender} in room ${header.roomId}`;
    if (Math.abs(now - sentAt) > this.#maxAge) {
      const seconds = Math.round((now - sentAt) / 1000);
      const when = seconds < 0 ? `${-seconds} s ahead of the local clock` : `${seconds} s ago`;
      throw new SealingError("stale", `${what} was sent ${when}`);
    }
    let from = this.#senders.get(sender);
    if (from === undefined) {
      from = { sessions: new Map(), forgotten: -Infinity };
      this.#senders.set(sender, from);
    }
    const known = from.sessions.get(session);
    if (sentAt <= (known ?? { after: from.forgotten }).after) {
      throw new SealingError("replayed", `${what} belongs to a session that was forgotten`);
    }
    if (known === undefined) {
      const seen = new Uint8Array(WINDOW / 8);
      put(seen, seq, true);
      from.sessions.set(session, { highest: seq, seen, sentAt, after: from.forgotten });
      forget(from);
      return { missed: 0, late: false };
    }
    const arrival = mark(known, seq);
    if (arrival === null) throw new SealingError("replayed", `${what} has arrived before`);
    known.sentAt = Math.max(known.sentAt, sentAt);
    from.sessions.delete(session);
    from.sessions.set(session, known);
    return arrival;
  }
}

function has(seen: Uint8Array, seq: number): boolean {
  const bit = seq % WINDOW;
  return (seen[bit >> 3]! & 1 << (bit & 7)) !== 0;
}

function put(seen: Uint8Array, seq: number, on: boolean): void {
  const bit = seq % WINDOW;
  if (on) seen[bit >> 3]! |= 1 << (bit & 7);
  else seen[bit >> 3]! &= ~(1 << (bit & 7));
}

/** Marks a number as arrived; returns `null` if it already had, or is too old to know. */
function mark(session: Session, seq: number): Arrival | null {
  const { highest, seen } = session;
  if (seq <= highest) {
    if (seq <= highest - WINDOW || has(seen, seq)) return null;
    put(seen, seq, true);
    return { missed: 0, late: true };
  }
  if (seq - highest >= WINDOW) seen.fill(0);
  else for (let i = highest + 1; i < seq; i++) put(seen, i, false);
  put(seen, seq, true);
  session.highest = seq;
  return { missed: seq - highest - 1, late: false };
}

/** Forgets the least recently used session if there are too many. */
function forget(from: Sender): void {
  if (from.sessions.size <= SESSIONS) return;
  const [oldest, { sentAt }] = from.sessions.entries().next().value!;
  from.sessions.delete(oldest);
  from.forgotten = Math.max(from.forgotten, sentAt);
}
