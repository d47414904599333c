/**
 * Runs a short-lived program and reads its output.
 *
 * @module
 */

import { execFile } from "node:child_process";
import process from "node:process";

/** Environment variables, as in `process.env`. */
export type Env = Readonly<Record<string, string | undefined>>;

/** Options for unpacking a nats-server from a source. */
export interface UnpackOptions {
  /** An empty working directory next to the cache entry. */
  directory: string;
  env: Env;
  version: string;
  sha256?: string;
  log: (line: string) => void;
  signal?: AbortSignal;
}

/** Options of {@link run}. */
export interface RunOptions {
  /** Working directory. Default: ours. */
  cwd?: string;
  /** Environment variables to add to ours. */
  env?: Env;
  /** Ends the program; the call rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Time limit in milliseconds, after which the program is killed. */
  timeout: number;
}

/**
 * Runs a program and returns its standard output. Rejects when it cannot be started, fails or takes
 * too long; the message contains the last line of its standard error.
 */
export function run(
  program: string,
  args: readonly string[],
  options: RunOptions,
): Promise<string> {
  return new Promise((resolve, reject) => {
    if (options.signal?.aborted) return reject(options.signal.reason);
    const { cwd, timeout, signal, env } = options;
    const settings = {
      cwd,
      env: env && { ...process.env, ...env },
      signal,
      timeout,
      killSignal: "SIGKILL" as const,
      maxBuffer: 16 * 1024 * 1024,
      encoding: "utf8" as const,
    };
    execFile(program, args, settings, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      if (signal?.aborted) return reject(signal.reason);
      reject(new Error(`Running ${program} failed: ${reason(error, stderr, timeout)}`));
    });
  });
}

function reason(
  error: Error & { code?: unknown; killed?: boolean },
  stderr: string,
  limit: number,
) {
  if (error.code === "ENOENT") return "no such program";
  if (error.code === "EACCES") return "permission denied";
  if (error.killed) return `it took more than ${limit / 1000} s`;
  const said = stderr.trim().split("\n").at(-1);
  if (said) return said;
  return typeof error.code === "number" ? `it exited with code ${error.code}` : error.message;
}

/** Returns an error's message including its cause's. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // In Node, `fetch` reports only "fetch failed", with the reason as the cause.
  const reason = error.cause instanceof Error ? error.cause.message : "";
  return error.message.includes(reason) ? error.message : `${error.message}: ${reason}`;
}
