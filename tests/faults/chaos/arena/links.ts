/**
 * The network between nodes: relays that every byte of a route goes through, and that can hold it.
 *
 * It needs no rights and no kernel module, so the same faults are there on every machine. As with TCP
 * on a network that drops packets, what is sent over a link that is cut is held and comes when the
 * link is whole again, unless an end has given up meanwhile; lost packets show as pauses.
 *
 * @module
 */

import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** How one direction between two nodes behaves. */
export interface LinkState {
  cut: boolean;
  /** Milliseconds each piece takes. */
  delay: number;
  /** How likely a piece is to be lost, and comes after another try. */
  loss: number;
}

const WHOLE: LinkState = { cut: false, delay: 0, loss: 0 };
/** How long a lost packet takes to be sent again. */
const RESEND = 250;

/** All links between `n` nodes, by their numbers from 0. */
export class Links implements AsyncDisposable {
  readonly #states = new Map<string, LinkState>();
  readonly #pipes = new Set<Pipe>();
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  /** Opens a link: who connects to `port` as node `from` reaches node `to` at `target`. */
  async open(
    from: number,
    to: number,
    port: number,
    target: number,
    host = "127.0.0.1",
  ): Promise<void> {
    const server = createServer((socket) => {
      const upstream = connect({ host, port: target });
      for (const it of [socket, upstream]) {
        this.#sockets.add(it);
        it.setNoDelay(true);
        it.on("error", () => {});
        it.once("close", () => this.#sockets.delete(it));
      }
      this.#pipe(socket, upstream, from, to);
      this.#pipe(upstream, socket, to, from);
    });
    this.#servers.push(server);
    server.listen({ host, port });
    await once(server, "listening");
  }

  /** Changes one direction. */
  set(from: number, to: number, state: Partial<LinkState>): void {
    this.#states.set(`${from} ${to}`, { ...WHOLE, ...state });
    for (const it of this.#pipes) it.turn();
  }

  /** Makes everything whole. */
  heal(): void {
    this.#states.clear();
    for (const it of this.#pipes) it.turn();
  }

  #pipe(source: Socket, sink: Socket, from: number, to: number): void {
    const pipe = new Pipe(source, sink, () => this.#states.get(`${from} ${to}`) ?? WHOLE);
    this.#pipes.add(pipe);
    void pipe.ended.then(() => this.#pipes.delete(pipe));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const it of this.#sockets) it.destroy();
    await Promise.all(this.#servers.map((it) => {
      const closed = once(it, "close");
      it.close();
      return closed;
    }));
  }
}

/** One direction of one connection. */
class Pipe {
  readonly ended: Promise<void>;
  readonly #source: Socket;
  readonly #sink: Socket;
  readonly #state: () => LinkState;
  readonly #held: { due: number; data: Uint8Array | null }[] = [];
  #last = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #end!: () => void;

  constructor(source: Socket, sink: Socket, state: () => LinkState) {
    this.#source = source;
    this.#sink = sink;
    this.#state = state;
    this.ended = new Promise((resolve) => this.#end = resolve);
    source.on("data", (data: Uint8Array) => this.#take(data));
    // Also after an error: the other end hears of it when the link lets it.
    source.once("close", () => this.#take(null));
    sink.once("close", () => this.#finish());
  }

  /** Looks again: the link has changed. */
  turn(): void {
    clearTimeout(this.#timer);
    const { cut } = this.#state();
    if (cut) {
      this.#source.pause();
      return;
    }
    const now = performance.now();
    while (this.#held.length > 0 && this.#held[0]!.due <= now) {
      const { data } = this.#held.shift()!;
      if (data === null) {
        this.#sink.destroy();
        this.#finish();
      } else if (!this.#sink.destroyed) this.#sink.write(data);
    }
    if (this.#held.length > 0) {
      this.#timer = setTimeout(() => this.turn(), this.#held[0]!.due - now);
    }
    this.#source.resume();
  }

  #take(data: Uint8Array | null): void {
    const { delay, loss } = this.#state();
    let due = performance.now() + delay;
    for (let tries = 1; loss > 0 && Math.random() < loss && tries < 5; tries++) {
      due += RESEND * tries;
    }
    // In order: what comes behind a lost piece waits for it.
    this.#last = Math.max(this.#last, due);
    this.#held.push({ due: this.#last, data });
    this.turn();
  }

  #finish(): void {
    clearTimeout(this.#timer);
    this.#held.length = 0;
    this.#end();
  }
}
