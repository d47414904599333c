/**
 * Which members said that they are here, and for how long that counts.
 *
 * @module
 */

import type { MessageHeader } from "../../../sealing/message.ts";

/** Number of sessions remembered: tabs, devices and programs of all members. Others are ignored. */
const SESSIONS = 1024;

type Speaker = Pick<MessageHeader, "sender" | "session">;
const keyOf = ({ sender, session }: Speaker) => `${sender} ${session}`;

/** Sessions that are here. All times are by one clock, milliseconds. */
export class Heard {
  /** Until when each is here. */
  readonly #sessions = new Map<string, { sender: string; until: number }>();

  /** Adds a session, or lets it be here for longer. */
  add(speaker: Speaker, until: number): void {
    this.#sessions.set(keyOf(speaker), { sender: speaker.sender, until });
    if (this.#sessions.size > SESSIONS) this.remove(speaker);
  }

  /** Removes a session. Its member stays while another session is here. */
  remove(speaker: Speaker): void {
    this.#sessions.delete(keyOf(speaker));
  }

  /** Lets no session be here after a time unless it is heard again. */
  limit(until: number): void {
    for (const it of this.#sessions.values()) it.until = Math.min(it.until, until);
  }

  /** Returns the members that are here at a time, and when the next session expires. */
  at(now: number): { here: Set<string>; next: number } {
    for (const [key, { until }] of this.#sessions) if (until <= now) this.#sessions.delete(key);
    const sessions = [...this.#sessions.values()];
    return {
      here: new Set(sessions.map((it) => it.sender)),
      next: Math.min(...sessions.map((it) => it.until)),
    };
  }
}
