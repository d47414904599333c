/**
 * What has arrived in a room, so that nothing is taken twice and what is missing is seen.
 *
 * @module
 */

import { SealingError } from "./error.ts";
import type { MessageHeader } from "./message.ts";

/** How far behind the newest of a session a message may come. */
const WINDOW = 1024;
/** Sessions remembered of one sender; of older ones, only how far they had come. */
const SESSIONS = 64;

/** How a message came. */
export interface Arrival {
  /** How many of the session before it have not come (yet); 0 for the first that is heard of it. */
  missed: number;
  /** Whether one that was sealed after it came before it. */
  late: boolean;
}

interface Session {
  /** The highest number that came. */
  highest: number;
  /** Whether those from `highest - WINDOW + 1` on came, each a bit in the place of its remainder. */
  seen: Uint8Array;
  /** The highest time that came. */
  sentAt: number;
  /** What is not younger than this may have come before the session was forgotten, and found again. */
  after: number;
}

interface Sender {
  /** By session, the one that was used last at the end. */
  sessions: Map<string, Session>;
  /** What is not of a known session must be younger than this. */
  forgotten: number;
}

/** What is taken as too old. */
export interface ArrivalsOptions {
  /** Most milliseconds between a message's time and ours, either way. */
  maxAge: number;
}

/** Remembers what has arrived, in bounded memory for each sender. */
export class Arrivals {
  readonly #maxAge: number;
  readonly #senders = new Map<string, Sender>();

  /** Begins with nothing. */
  constructor({ maxAge }: ArrivalsOptions) {
    this.#maxAge = maxAge;
  }

  /**
   * Takes a message that was opened, or throws why not. What is too old is refused by its time, so that
   * it need not be remembered: also after a restart no more than `maxAge` can be played again.
   *
   * @throws {SealingError} `stale`, `replayed`
   */
  take(header: MessageHeader, now: number = Date.now()): Arrival {
    const { sender, session, seq, sentAt } = header;
    const what = `The message ${seq} of ${sender} in room ${header.roomId}`;
    if (Math.abs(now - sentAt) > this.#maxAge) {
      const seconds = Math.round((now - sentAt) / 1000);
      const when = seconds < 0 ? `${-seconds} s ahead of this clock` : `${seconds} s ago`;
      throw new SealingError("stale", `${what} was made ${when}`);
    }
    let from = this.#senders.get(sender);
    if (from === undefined) {
      from = { sessions: new Map(), forgotten: -Infinity };
      this.#senders.set(sender, from);
    }
    const known = from.sessions.get(session);
    if (sentAt <= (known ?? { after: from.forgotten }).after) {
      throw new SealingError("replayed", `${what} is of a session that was forgotten`);
    }
    if (known === undefined) {
      const seen = new Uint8Array(WINDOW / 8);
      put(seen, seq, true);
      from.sessions.set(session, { highest: seq, seen, sentAt, after: from.forgotten });
      forget(from);
      return { missed: 0, late: false };
    }
    const arrival = mark(known, seq);
    if (arrival === null) throw new SealingError("replayed", `${what} came before`);
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

/** Marks a number as come; `null` when it had, or is too far behind to tell. */
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

/** Lets the session go that was used longest ago, when there are too many. */
function forget(from: Sender): void {
  if (from.sessions.size <= SESSIONS) return;
  const [oldest, { sentAt }] = from.sessions.entries().next().value!;
  from.sessions.delete(oldest);
  from.forgotten = Math.max(from.forgotten, sentAt);
}
