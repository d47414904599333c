/**
 * Supervises a nats-server: restarts it when it exits.
 *
 * @module
 */

import { StoreError } from "../../core/errors.ts";
import {
  type NatsExit,
  type NatsServer,
  type NatsServerOptions,
  startNatsServer,
} from "./server.ts";
import type { PartStatus } from "../types.ts";

/** Delays between restarts in milliseconds. */
export interface Backoff {
  /** The first delay. Default 100. */
  min?: number;
  /** The longest delay; each is twice the previous one. Default 10,000. */
  max?: number;
  /** Uptime after which the delay is reset to the first one. Default 10,000. */
  reset?: number;
}

/** An event of a supervised server. */
export type SupervisorEvent =
  /** It is ready. `restarts` is 0 for the first start. */
  | { kind: "started"; url: string; pid: number; restarts: number }
  /** It exited; the next start is in `wait` milliseconds. */
  | { kind: "ended"; detail: string; wait: number }
  /** It could not be started; the next attempt is in `wait` milliseconds. */
  | { kind: "start_failed"; detail: string; wait: number };

/** Options of {@link superviseNatsServer} besides the server's own. */
export interface SupervisorOptions {
  /** Called when it starts or exits; must not throw. */
  onEvent?: (event: SupervisorEvent) => void;
  /** Delays between restarts. */
  backoff?: Backoff;
}

/** Status of a supervised server. */
export interface SupervisorStatus extends PartStatus {
  /** Whether its process is running and ready. */
  running: boolean;
  /** Number of restarts. */
  restarts: number;
  /** Its last log line when it last exited or failed to start; `null` if it never did. */
  lastError: string | null;
}

/** A nats-server that is restarted when it exits. */
export interface SupervisedNatsServer extends AsyncDisposable {
  /**
   * The server, which keeps its URL and ports across restarts. Do not stop or restart it yourself.
   */
  readonly server: NatsServer;
  /** The URL for clients. */
  readonly url: string;
  /** Returns its status. */
  status(): SupervisorStatus;
  /**
   * Restarts it with other options, such as into a cluster or out of it, on the same port for clients. If
   * it does not start with them, it is started with the former ones.
   *
   * @throws {StoreError} unavailable: it did not start with `options`
   * @throws {StoreError} conflict: another change is in progress
   * @throws {StoreError} closed: it was stopped
   */
  change(options: NatsServerOptions): Promise<void>;
  /** Stops it permanently. */
  stop(): Promise<void>;
}

/** A requested change of the options. */
interface Change {
  options: NatsServerOptions;
  done: PromiseWithResolvers<void>;
}

/**
 * Starts a nats-server and restarts it whenever it exits, on the same ports and without an attempt
 * limit. Clients and the control plane's own connections reconnect by themselves. Rejects like
 * `startNatsServer` when the first start fails: a retry does not fix a wrong configuration.
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
  #change: Change | null = null;
  /** Ends the delay before a restart. */
  #wake: () => void = () => {};

  constructor(server: NatsServer, { onEvent, backoff = {} }: SupervisorOptions) {
    this.server = server;
    this.#onEvent = onEvent ?? (() => {});
    const { min = 100, max = 10_000, reset = 10_000 } = backoff;
    this.#backoff = { min, max, reset };
    this.#started();
    this.#work = this.#watch().finally(() => this.#settle(stopped()));
  }

  get url(): string {
    return this.server.url;
  }

  status(): SupervisorStatus {
    const running = this.#running && this.server.running;
    const counted = this.#restarts === 0 ? "" : `, restarts: ${this.#restarts}`;
    return {
      ok: running,
      running,
      restarts: this.#restarts,
      lastError: this.#lastError,
      detail: running
        ? `running${counted}`
        : this.#stopping !== null
        ? "stopped"
        : `down${counted}: ${this.#lastError ?? "it has just exited"}`,
    };
  }

  async change(options: NatsServerOptions): Promise<void> {
    if (this.#stopping !== null) throw stopped();
    if (this.#change !== null) {
      throw new StoreError("conflict", "Another change of the nats-server is in progress");
    }
    const change = this.#change = { options, done: Promise.withResolvers<void>() };
    this.#wake();
    await Promise.all([this.server.stop(), change.done.promise]);
  }

  /** Answers the caller of {@link change}, if there is one. */
  #settle(error: unknown = null): void {
    const { done } = this.#change ?? {};
    this.#change = null;
    if (error === null) done?.resolve();
    else done?.reject(error);
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
        const exit = await this.server.exited;
        this.#running = false;
        if (this.#stopping !== null) return;
        if (performance.now() - began >= this.#backoff.reset) wait = this.#backoff.min;
        if (this.#change === null) this.#lastError = lastErrorOf(exit, this.server.logs());
      }
      if (this.#change === null) {
        this.#tell({ kind, detail: this.#lastError!, wait });
        await this.#pause(wait);
        if (this.#stopping !== null) return;
        wait = Math.min(2 * wait, this.#backoff.max);
      }
      began = performance.now();
      const change = this.#change;
      try {
        await this.server.restart(change?.options);
        kind = "ended";
      } catch (error) {
        kind = "start_failed";
        this.#lastError = error instanceof Error ? error.message : String(error);
        if (this.#stopping !== null) return;
        if (change !== null) this.#settle(error);
        continue;
      }
      // Stopped while it was being restarted.
      if (this.#stopping !== null) return await this.server.stop();
      this.#running = true;
      this.#restarts++;
      this.#started();
      if (change !== null) this.#settle();
      // Requested too early to have stopped it.
      else if (this.#change !== null) await this.server.stop();
    }
  }

  #tell(event: SupervisorEvent): void {
    try {
      this.#onEvent(event);
    } catch { /* A throwing listener must not end the supervision. */ }
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

function stopped(): StoreError {
  return new StoreError("closed", "The nats-server was stopped");
}

function lastErrorOf({ code, signal }: NatsExit, log: string): string {
  const how = signal === null ? `it exited with code ${code}` : `${signal} ended it`;
  const last = lastWords(log);
  return last === null ? how : `${how}: ${last}`;
}

/** Returns the last error in a server's log, else its last line, without time and process ID. */
function lastWords(log: string): string | null {
  const lines = log.split("\n").filter((line) => line.trim() !== "");
  const line = lines.findLast((line) => /\[(?:FTL|ERR)\]/.test(line)) ?? lines.at(-1);
  return line?.replace(/^\[\d+\] \S+ \S+ /, "") ?? null;
}
