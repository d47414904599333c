/**
 * Runs a nats-server as a child process.
 *
 * @module
 */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { systemCode } from "../../core/host/system_code.ts";
import { StoreError, type StoreErrorOptions } from "../../core/errors.ts";
import { fileHint, listenHint } from "../../core/hints.ts";
import { findNatsServer } from "./binary.ts";
import { configSecrets, formatNatsConfig, type NatsServerConfig } from "./config.ts";
import { type Ports, removePorts, waitForPorts } from "./ports.ts";
import { type GuardedChild, spawnGuarded } from "./watchdog.ts";

export type * from "./config.ts";

/** Options of {@link startNatsServer}. */
export interface NatsServerOptions extends NatsServerConfig {
  /** Path of the nats-server program. Default: the one that `findNatsServer` finds. */
  binary?: string;
  /** Time limit for the start in milliseconds. Default 10,000. */
  startTimeout?: number;
  /** Time limit for a graceful stop in milliseconds, after which it is killed. Default 5,000. */
  stopTimeout?: number;
  /** Called with its process ID at each start, before it is ready. */
  onSpawn?: (pid: number) => void;
  /** Called with each chunk of its log. */
  onLog?: (text: string) => void;
  /** Aborts the start, which then rejects with `aborted`. */
  signal?: AbortSignal;
}

/** How a server process ended. */
export interface NatsExit {
  /** Its exit code; null if a signal ended it. */
  code: number | null;
  /** The signal that ended it; null if it exited. */
  signal: string | null;
}

/** A running nats-server child process. */
export interface NatsServer extends AsyncDisposable {
  /** The URL for clients. */
  readonly url: string;
  /** Its listen address for clients. */
  readonly host: string;
  /** Its listen port for clients. */
  readonly port: number;
  /** Its process ID, which changes when it is restarted. */
  readonly pid: number;
  /** Its monitoring URL, if enabled. */
  readonly monitoringUrl?: string;
  /** Its listen port for routes, if clustered. */
  readonly clusterPort?: number;
  /** Its listen port for WebSocket clients, if enabled. */
  readonly websocketPort?: number;
  /** Path of its configuration file. */
  readonly configPath: string;
  /** Whether its process is running. */
  readonly running: boolean;
  /** Resolves when its process has ended, for any reason; replaced by a restart. */
  readonly exited: Promise<NatsExit>;
  /** Returns the end of its log, at most 64 KiB. */
  logs(): string;
  /** Sends a signal, by default SIGKILL. Returns false if the process has ended. */
  kill(signal?: NodeJS.Signals): boolean;
  /**
   * Stops it gracefully and waits until it has ended; kills it if that takes too long. Idempotent.
   */
  stop(): Promise<void>;
  /**
   * Starts it again after it has ended, with the same ports and store; or with other options, but the same
   * ports for clients and monitoring, and for WebSocket clients unless they name another. If it does not
   * start with them, the former ones stay.
   *
   * @throws {StoreError} invalid: it is still running
   */
  restart(options?: NatsServerOptions): Promise<void>;
}

const LOG_LIMIT = 64 * 1024;

/**
 * Starts a nats-server and waits until it is ready. It is stopped when this process ends, for any
 * reason.
 *
 * @throws {StoreError} unavailable: it exited, with the end of its log in the message, or was not
 * ready in time; the process has then ended
 * @throws {StoreError} aborted: `signal` was aborted; the process has then ended
 */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const binary = options.binary ?? (await findNatsServer({ signal: options.signal })).path;
  const directory = await mkdtemp(join(tmpdir(), "unibus-nats-"));
  const server = new ManagedServer(binary, directory, options);
  try {
    await server.start();
    return server;
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
}

class ManagedServer implements NatsServer {
  readonly host: string;
  readonly configPath: string;
  readonly #binary: string;
  readonly #directory: string;
  #secrets: readonly string[];
  #options: NatsServerOptions;
  #ports: Ports = { client: -1 };
  #child?: GuardedChild;
  #exited: Promise<NatsExit> = Promise.resolve({ code: null, signal: null });
  #running = false;
  #log = "";

  constructor(binary: string, directory: string, options: NatsServerOptions) {
    this.#binary = binary;
    this.#directory = directory;
    this.#options = Object.freeze({ ...options });
    this.#secrets = configSecrets(options);
    this.host = options.host ?? "127.0.0.1";
    this.configPath = join(directory, "nats.conf");
  }

  get url(): string {
    return `nats://${reachable(this.host)}:${this.port}`;
  }

  get port(): number {
    return this.#ports.client;
  }

  get pid(): number {
    return this.#child?.pid ?? -1;
  }

  get monitoringUrl(): string | undefined {
    const port = this.#ports.monitoring;
    return port === undefined ? undefined : `http://127.0.0.1:${port}`;
  }

  get clusterPort(): number | undefined {
    return this.#ports.cluster;
  }

  get websocketPort(): number | undefined {
    return this.#ports.websocket;
  }

  get running(): boolean {
    return this.#running;
  }

  get exited(): Promise<NatsExit> {
    return this.#exited;
  }

  logs(): string {
    return this.#secrets.reduce((text, secret) => text.replaceAll(secret, "***"), this.#log);
  }

  kill(signal: NodeJS.Signals = "SIGKILL"): boolean {
    if (!this.#running) return false;
    try {
      // Not `child.kill`: in Deno it works only once.
      return process.kill(this.pid, signal);
    } catch (error) {
      // It has ended, but the event has not arrived yet.
      if (systemCode(error) === "ESRCH") return false;
      throw error;
    }
  }

  async stop(): Promise<void> {
    if (!this.kill("SIGTERM")) return void await this.#exited;
    const timer = setTimeout(() => this.kill("SIGKILL"), this.#options.stopTimeout ?? 5_000);
    await this.#exited.finally(() => clearTimeout(timer));
  }

  async restart(other?: NatsServerOptions): Promise<void> {
    if (this.#running) throw new StoreError("invalid", "The nats-server is still running");
    await this.#exited;
    const before = this.#options;
    const { signal: _, ...options } = other ?? before;
    const { client, monitoring, cluster, websocket } = this.#ports;
    const isFree = (options.websocket?.port ?? -1) === -1;
    this.#options = Object.freeze({
      ...options,
      port: client,
      monitoringPort: monitoring,
      cluster: other === undefined
        ? options.cluster && { ...options.cluster, port: cluster }
        : other.cluster,
      websocket: options.websocket && {
        ...options.websocket,
        ...isFree ? { port: websocket } : {},
      },
    });
    // The log may still contain former ones.
    this.#secrets = [...new Set([...this.#secrets, ...configSecrets(options)])];
    try {
      await this.start();
    } catch (error) {
      if (other !== undefined) this.#options = before;
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async start(): Promise<void> {
    const text = formatNatsConfig(this.#options, this.#directory);
    await writeFile(this.configPath, text, { mode: 0o600 });
    await removePorts(this.#directory);
    this.#spawn();
    const { signal, startTimeout = 10_000 } = this.#options;
    const { promise: stopped, reject } = Promise.withResolvers<never>();
    stopped.catch(() => {});
    const fail = (code: "aborted" | "unavailable", found: string, cause?: unknown) => {
      reject(
        new StoreError(code, `Starting ${this.#binary} failed: ${found}`, {
          cause,
          ...logHint(found),
        }),
      );
    };
    const abort = () => fail("aborted", "aborted by the caller's signal", signal?.reason);
    const timer = setTimeout(() => {
      fail("unavailable", `not ready within ${startTimeout} ms${this.#last()}`);
    }, startTimeout);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
    this.#exited.then(({ code, signal: by }) => {
      const how = by === null ? `it exited with code ${code}` : `${by} ended it`;
      fail("unavailable", `${how}${this.#last()}`);
    });
    try {
      this.#ports = await waitForPorts(this.#directory, this.pid, stopped);
    } catch (error) {
      this.kill();
      await this.#exited;
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  #spawn(): void {
    this.#log = "";
    const child = spawnGuarded(this.#directory, this.#binary, ["-c", this.configPath]);
    this.#child = child;
    this.#running = child.pid !== undefined;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.#log = (this.#log + text).slice(-LOG_LIMIT);
        this.#options.onLog?.(text);
      });
    }
    const { promise, resolve } = Promise.withResolvers<NatsExit>();
    child.once("error", (error) => {
      this.#log += `${error.message}\n`;
      if (this.#running) return;
      resolve({ code: null, signal: null });
    });
    child.once("exit", () => this.#running = false);
    // Not `exit`: the log is complete only after the pipes have been closed too.
    child.once("close", (code, signal) => resolve({ code, signal }));
    this.#exited = promise;
    if (child.pid !== undefined) this.#options.onSpawn?.(child.pid);
  }

  /** Returns the last errors in the server's log, or else its last lines. */
  #last(): string {
    const lines = this.logs().split("\n").filter((line) => line.trim() !== "");
    const errors = lines.filter((line) => /\[(FTL|ERR)\]/.test(line));
    const last = (errors.length > 0 ? errors : lines).slice(-3);
    return last.length === 0 ? "" : `: ${last.join("; ")}`;
  }
}

/** Maps socket and disk errors in the server's log (texts of its Go runtime) to a hint. */
function logHint(text: string): StoreErrorOptions {
  if (text.includes("address already in use")) return listenHint("EADDRINUSE");
  if (text.includes("cannot assign requested address")) return listenHint("EADDRNOTAVAIL");
  if (text.includes("bind: permission denied")) return listenHint("EACCES");
  if (text.includes("permission denied")) return fileHint("EACCES");
  return text.includes("no space left") ? fileHint("ENOSPC") : {};
}

/** Returns the address for connecting to a listener: loopback if it listens on all addresses. */
function reachable(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::" || host === "[::]") return "[::1]";
  return host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
}
