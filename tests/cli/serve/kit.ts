/**
 * The server for tests: a process of its own, on ports and files of its own.
 *
 * @module
 */

import assert from "node:assert/strict";
import process from "node:process";
import { type CliProcess, cliProcess, type Result } from "../kit.ts";
import { natsBinary } from "../../helpers/nats.ts";

/** An event of the server's log. */
export interface LogEvent {
  level: string;
  event: string;
  // deno-lint-ignore no-explicit-any
  [field: string]: any;
}

/** A server that is ready. */
export interface Daemon extends AsyncDisposable {
  /** Its process. */
  readonly process: CliProcess;
  /** Where HTTP is. */
  readonly http: string;
  /** Where NATS is. */
  readonly nats: string;
  /** The process id of its nats-server, as it was last told. */
  natsPid(): number;
  /** Its log. */
  events(): LogEvent[];
  /** Waits for an event. */
  event(name: string, fits?: (it: LogEvent) => boolean): Promise<LogEvent>;
  /** Sends a signal and waits for the end. */
  stop(signal?: "SIGINT" | "SIGTERM" | "SIGKILL"): Promise<Result>;
}

/** Flags with which all files of a server are in `dir`. */
export function filesIn(dir: string): string[] {
  return ["--db", `${dir}/a.db`, "--store-dir", `${dir}/blobs`, "--nats-store", `${dir}/jetstream`];
}

/** Starts the server without waiting; any free ports, and a log for machines. */
export async function launch(
  dir: string,
  args: string[] = [],
  env: Record<string, string> = {},
): Promise<CliProcess> {
  const { path } = await natsBinary();
  const ports = ["http", "nats"].filter((it) => !args.includes(`--${it}-port`))
    .flatMap((it) => [`--${it}-port`, "0"]);
  const logs = ["--log-format", "json", "--log-level", "debug"];
  return cliProcess([...filesIn(dir), ...ports, ...logs, ...args], {
    env: { UNIBUS_NATS_SERVER: path, ...env },
  });
}

/** Starts the server and waits until it is ready. */
export async function daemon(
  dir: string,
  args: string[] = [],
  env: Record<string, string> = {},
  startTimeout = 120_000,
): Promise<Daemon> {
  const child = await launch(dir, args, env);
  const events = () => eventsOf(child.stderr());
  const seen = async (name: string, fits: (it: LogEvent) => boolean, timeout = 120_000) => {
    const find = () => events().find((it) => it.event === name && fits(it));
    await Promise.race([
      until(() => find() !== undefined, `event ${name}`, timeout),
      child.ended.then(({ stderr }) => assert.ok(find(), `It ended without ${name}:\n${stderr}`)),
    ]);
    return find()!;
  };
  const event: Daemon["event"] = (name, fits = () => true) => seen(name, fits);
  const natsPid = () => events().findLast((it) => it.event === "nats.started")?.pid as number;
  const stop: Daemon["stop"] = async (signal = "SIGTERM") => {
    if (isAlive(child.pid)) child.kill(signal);
    return await child.ended;
  };
  try {
    const { http, nats } = await seen("ready", () => true, startTimeout);
    return {
      process: child,
      http,
      nats,
      natsPid,
      events,
      event,
      stop,
      [Symbol.asyncDispose]: async () => void await stop("SIGKILL"),
    };
  } catch (error) {
    await stop("SIGKILL");
    throw error;
  }
}

/** The events in a log for machines; lines of another kind are errors of the program. */
export function eventsOf(stderr: string): LogEvent[] {
  return stderr.split("\n").slice(0, -1).filter((it) => it.startsWith("{"))
    .map((it) => JSON.parse(it));
}

/** Waits until something is so. */
export async function until(
  fits: () => boolean | Promise<boolean>,
  what: string,
  timeout = 60_000,
): Promise<void> {
  const deadline = performance.now() + timeout;
  while (!(await fits())) {
    assert.ok(performance.now() < deadline, `No ${what} within ${timeout} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Whether a process runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Waits until a server is ready: one that is busy may say for a moment that it is not. */
export async function isReady(http: string): Promise<void> {
  await until(async () => (await readyz(http))?.status === 200, `readiness of ${http}`, 120_000);
}

/** What `/readyz` says; null when nobody answers. */
export async function readyz(
  http: string,
): Promise<
  | { status: number; checks: { name: string; ok: boolean; degraded?: true; detail: string }[] }
  | null
> {
  try {
    const response = await fetch(`${http}/readyz`);
    const { checks } = await response.json();
    return { status: response.status, checks };
  } catch {
    return null;
  }
}
