/**
 * Keeping a nats-server up: it is started again when it ends.
 *
 * @module
 */

import { type NatsServer, type NatsServerOptions, startNatsServer } from "./server.ts";
import type { PartStatus } from "../types.ts";

/** Waiting times between starts, milliseconds. */
export interface Backoff {
  /** The first wait. Default 100. */
  min?: number;
  /** The longest wait; each is twice the one before. Default 10,000. */
  max?: number;
  /** A server that ran this long begins with the first wait again. Default 10,000. */
  reset?: number;
}

/** Something that happened to a supervised server. */
export type SupervisorEvent =
  /** It serves. `restarts` is 0 for the first start. */
  | { kind: "started"; url: string; pid: number; restarts: number }
  /** It ended by itself; the next start is in `wait` milliseconds. */
  | { kind: "ended"; detail: string; wait: number }
  /** It could not be started; the next try is in `wait` milliseconds. */
  | { kind: "start_failed"; detail: string; wait: number };

/** What {@link superviseNatsServer} takes besides the server's own options. */
export interface SupervisorOptions {
  /** Told of starts and ends; must not throw. */
  onEvent?: (event: SupervisorEvent) => void;
  /** Waiting times between starts. */
  backoff?: Backoff;
}

/** How a supervised server does. */
export interface SupervisorStatus extends PartStatus {
  /** Whether its process runs and serves. */
  running: boolean;
  /** How often it was started again. */
  restarts: number;
  /** Its own last words when it last ended or did not start; `null` when it never did. */
  lastError: string | null;
}

/** A nats-server that is started again when it ends. */
export interface SupervisedNatsServer extends AsyncDisposable {
  /** The server; it keeps its URL and ports over restarts. Do not stop or restart it yourself. */
  readonly server: NatsServer;
  /** What clients connect to. */
  readonly url: string;
  /** How it does. */
  status(): SupervisorStatus;
  /** Stops it for good. */
  stop(): Promise<void>;
}

/**
 * Starts a nats-server and keeps it up. Rejects like `startNatsServer` when the first start fails:
 * a wrong configuration is not mended by another try. Later it is tried for ever, on the same ports;
 * clients and the control plane's own connections reconnect by themselves.
 */
export async function superviseNatsServer(
  options: NatsServerOptions,
  supervision: SupervisorOptions = {},
): Promise<SupervisedNatsServer> {
  const server = await startNatsServer(options);
  return new Supervisor(server, supervision);
}

class Supervisor implements SupervisedNatsServer {
  readonly server: NatsServer;
  readonly #onEvent: (event: SupervisorEvent) => void;
  readonly #backoff: Required<Backoff>;
  readonly #work: Promise<void>;
  #running = true;
  #restarts = 0;
  #lastError: string | null = null;
  #stopping: Promise<void> | null = null;
  /** Ends a wait between two starts. */
  #wake: () => void = () => {};

  constructor(server: NatsServer, { onEvent, backoff = {} }: SupervisorOptions) {
    this.server = server;
    this.#onEvent = onEvent ?? (() => {});
    const { min = 100, max = 10_000, reset = 10_000 } = backoff;
    this.#backoff = { min, max, reset };
    this.#started();
    this.#work = this.#watch();
  }

  get url(): string {
    return this.server.url;
  }

  status(): SupervisorStatus {
    const running = this.#running && this.server.running;
    const counted = this.#restarts === 0 ? "" : `, started again ${this.#restarts} times`;
    return {
      ok: running,
      running,
      restarts: this.#restarts,
      lastError: this.#lastError,
      detail: running
        ? `runs${counted}`
        : this.#stopping !== null
        ? "stopped"
        : `down${counted}: ${this.#lastError ?? "it has just ended"}`,
    };
  }

  stop(): Promise<void> {
    this.#stopping ??= (async () => {
      this.#wake();
      await this.server.stop();
      await this.#work;
      await this.server[Symbol.asyncDispose]();
    })();
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #watch(): Promise<void> {
    let wait = this.#backoff.min;
    let began = performance.now();
    let kind: "ended" | "start_failed" = "ended";
    for (;;) {
      if (kind === "ended") {
        const { code, signal } = await this.server.exited;
        this.#running = false;
        if (this.#stopping !== null) return;
        if (performance.now() - began >= this.#backoff.reset) wait = this.#backoff.min;
        const how = signal === null ? `it exited with code ${code}` : `${signal} ended it`;
        const last = lastWords(this.server.logs());
        this.#lastError = last === null ? how : `${how}: ${last}`;
      }
      this.#tell({ kind, detail: this.#lastError!, wait });
      await this.#pause(wait);
      if (this.#stopping !== null) return;
      wait = Math.min(2 * wait, this.#backoff.max);
      began = performance.now();
      try {
        await this.server.restart();
        kind = "ended";
      } catch (error) {
        if (this.#stopping !== null) return;
        kind = "start_failed";
        this.#lastError = error instanceof Error ? error.message : String(error);
        continue;
      }
      // Stopped in the moment it came up again.
      if (this.#stopping !== null) return await this.server.stop();
      this.#running = true;
      this.#restarts++;
      this.#started();
    }
  }

  #tell(event: SupervisorEvent): void {
    try {
      this.#onEvent(event);
    } catch { /* A listener's trouble must not end the watch. */ }
  }

  #started(): void {
    const { url, pid } = this.server;
    this.#tell({ kind: "started", url, pid, restarts: this.#restarts });
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** The last error in a server's log, else its last line, without time and process id. */
function lastWords(log: string): string | null {
  const lines = log.split("\n").filter((line) => line.trim() !== "");
  const line = lines.findLast((it) => /\[(?:FTL|ERR)\]/.test(it)) ?? lines.at(-1);
  return line?.replace(/^\[\d+\] \S+ \S+ /, "") ?? null;
}
