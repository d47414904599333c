/**
 * Ends connections that are too slow: bodies that trickle in, and responses that are not read.
 *
 * The `requestTimeout` of `node:http` counts from the first byte to the last, so it would cut a
 * large upload however steady it is. Here a body has an account of time, which the bytes fill up.
 *
 * @module
 */

import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";

/** How slow is too slow. */
export interface FlowLimits {
  /** Milliseconds the account holds, full at the start. */
  requestTimeout: number;
  /** Bytes that pay for one second. */
  minBodyRate: number;
}

/** One direction of a connection. */
class Account {
  readonly #limits: FlowLimits;
  #bytes: number;
  #balance: number;

  constructor(limits: FlowLimits, bytes: number) {
    this.#limits = limits;
    this.#bytes = bytes;
    this.#balance = limits.requestTimeout;
  }

  /** Whether it is overdrawn, after `elapsed` ms in which the other side was to act. */
  isOverdrawn(bytes: number, elapsed: number): boolean {
    const { requestTimeout, minBodyRate } = this.#limits;
    const earned = Math.max(0, bytes - this.#bytes) / minBodyRate * 1000;
    this.#bytes = bytes;
    this.#balance = Math.min(requestTimeout, this.#balance - elapsed + earned);
    return this.#balance <= 0;
  }
}

interface Exchange {
  incoming: IncomingMessage;
  outgoing: ServerResponse;
  socket: Socket;
  received: Account;
  sent: Account;
}

/** Looks at every request under way, a few times in the time each has. */
export class FlowGuard {
  readonly #limits: FlowLimits;
  readonly #interval: number;
  readonly #exchanges = new Set<Exchange>();
  #timer: ReturnType<typeof setInterval> | null = null;
  #looked = 0;

  constructor(limits: FlowLimits) {
    this.#limits = limits;
    this.#interval = Math.max(10, Math.min(1000, limits.requestTimeout / 8));
  }

  /** Watches a request and its answer until both are done. */
  watch(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { socket } = incoming;
    const exchange = {
      incoming,
      outgoing,
      socket,
      received: new Account(this.#limits, socket.bytesRead),
      sent: new Account(this.#limits, flushed(socket)),
    };
    this.#exchanges.add(exchange);
    outgoing.once("close", () => {
      this.#exchanges.delete(exchange);
      if (this.#exchanges.size === 0) this.stop();
    });
    if (this.#timer !== null) return;
    this.#looked = performance.now();
    this.#timer = setInterval(() => this.#look(), this.#interval);
  }

  /** Ends the looking. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #look(): void {
    const now = performance.now();
    // A process that was stopped, or busy for long, must not hold that against the others.
    const elapsed = Math.min(now - this.#looked, 2 * this.#interval);
    this.#looked = now;
    for (const exchange of this.#exchanges) {
      const { incoming, outgoing, socket, received, sent } = exchange;
      // What lies there unread is our own slowness: a full disk's, not the client's.
      const awaited = !incoming.complete && incoming.readableLength === 0;
      if (received.isOverdrawn(socket.bytesRead, awaited ? elapsed : 0)) cut(outgoing, socket);
      const unread = outgoing.headersSent && socket.writableLength > 0;
      if (sent.isOverdrawn(flushed(socket), unread ? elapsed : 0)) socket.destroy();
    }
  }
}

/** Bytes that the system has taken from us. */
function flushed(socket: Socket): number {
  return socket.bytesWritten - socket.writableLength;
}

function cut(outgoing: ServerResponse, socket: Socket): void {
  if (outgoing.headersSent || !socket.writable) return void socket.destroy();
  refuse(socket, 408);
}

/** How long the other side may take to read why it is cut off. */
const LINGER_MS = 200;

/** Answers a connection with a status alone, and ends it. */
export function refuse(socket: Socket, status: number): void {
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
  );
  // Closed at once, with bytes of it unread, the answer would be lost.
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(timer));
}
