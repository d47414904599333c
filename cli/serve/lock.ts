/**
 * Locks a directory of streams for one nats-server: two would destroy the streams, and nats-server
 * itself has no lock.
 *
 * @module
 */

import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { pause } from "../../src/core/async/wait.ts";
import { isStoreError, StoreError } from "../../src/core/errors.ts";
import { systemCode } from "../../src/core/host/system_code.ts";
import { connect, run, value } from "../../src/sqlite/file/connect.ts";
import { isBusy } from "../../src/sqlite/file/errors.ts";
import { demandAll } from "../terminal/permissions.ts";
import type { Log } from "../terminal/log.ts";

/** A locked directory. */
export interface StoreLock {
  /**
   * Records the nats-server that uses it, so that after a kill the next membershipd waits until it
   * has exited.
   */
  usedBy(pid: number): void;
  /** Whether the directory is still there: not if it was renamed. */
  isThere(): boolean;
  /** Releases the directory. */
  release(): void;
}

/** Timeout in milliseconds for the exit of a nats-server whose membershipd was killed. */
const PATIENCE_MS = 15_000;
const LOOK_MS = 50;

/**
 * Locks a directory, and creates it if it does not exist. The system releases the lock when the
 * process ends, for any reason. Waits for a nats-server that is still running in it because its
 * membershipd was killed.
 *
 * @throws {StoreError} refused: another membershipd has locked the directory, its nats-server is
 *   still running, or not all of Deno's permissions are granted
 * @throws {StoreError} unavailable: the lock file cannot be used
 */
export async function lockStore(
  directory: string,
  { signal, log }: { signal: AbortSignal; log: Log },
): Promise<StoreLock> {
  const attempt = `Using the streams in ${directory}`;
  demandAll(attempt);
  const path = `${directory}/membershipd.lock`;
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StoreError(
      "refused",
      `${attempt}: the directory cannot be created or used (${why})`,
      { cause },
    );
  }
  // SQLite provides a lock on every system; the file stores two numbers.
  const db = open(path, attempt);
  try {
    const former = {
      pid: Number(value(db, "PRAGMA user_version")),
      began: Number(value(db, "PRAGMA application_id")),
    };
    await gone(former, attempt, signal, log);
  } catch (error) {
    db.close();
    throw error;
  }
  return {
    usedBy(pid) {
      try {
        run(db, `PRAGMA application_id = ${beganAt(pid) ?? 0}`);
        run(db, `PRAGMA user_version = ${Math.trunc(pid)}`);
      } catch (error) {
        // The lock is still held; only the next membershipd after a kill will not wait.
        log("warn", "nats.lock", { reason: error });
      }
    },
    isThere: () => existsSync(path),
    release: () => db.close(),
  };
}

function open(path: string, attempt: string): ReturnType<typeof connect> {
  let db: ReturnType<typeof connect> | null = null;
  try {
    db = connect(path, { busyTimeout: 0, exclusive: true });
    run(db, "BEGIN EXCLUSIVE");
    run(db, "COMMIT");
    return db;
  } catch (error) {
    db?.close();
    if (isBusy(error) || (isStoreError(error) && isBusy(error.cause))) {
      throw new StoreError(
        "refused",
        `${attempt}: in use by another membershipd; stop it, or set another --nats-store`,
        { cause: error },
      );
    }
    throw new StoreError("unavailable", `${attempt}: cannot lock ${path}`, { cause: error });
  }
}

/** A process: its ID and start time, 0 if unknown. */
interface Former {
  readonly pid: number;
  readonly began: number;
}

async function gone(former: Former, attempt: string, signal: AbortSignal, log: Log): Promise<void> {
  const { pid } = former;
  const deadline = performance.now() + PATIENCE_MS;
  for (let tries = 0; pid > 0 && await isThere(former); tries++) {
    if (performance.now() > deadline) {
      throw new StoreError(
        "refused",
        `${attempt}: nats-server ${pid} is still running; stop it first`,
      );
    }
    if (tries === 0) log("info", "nats.waiting_for_former", { pid });
    await pause(LOOK_MS, signal);
  }
}

/**
 * Returns the start time of a process in ticks since boot, 31 bits of it; null if unknown. A
 * process ID can be reused, even by another nats-server, which then has another start time.
 */
function beganAt(pid: number): number | null {
  try {
    // The name, in parentheses, can contain anything; the 22nd field is the 20th after it.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]) % 2 ** 31;
  } catch {
    return null;
  }
}

async function isThere({ pid, began }: Former): Promise<boolean> {
  return (began === 0 || (beganAt(pid) ?? began) === began) && await isNatsServer(pid);
}

/** Reports whether a process is a running nats-server; its ID may have been reused. */
async function isNatsServer(pid: number): Promise<boolean> {
  try {
    const [, name, state] = /\((.*)\) (\S)/s.exec(await readFile(`/proc/${pid}/stat`, "utf8")) ??
      [];
    return name?.startsWith("nats-server") === true && state !== "Z";
  } catch (error) {
    if (systemCode(error) !== "ENOENT" || await hasProc()) return false;
  }
  try {
    const { stdout } = await promisify(execFile)("ps", ["-o", "comm=", "-p", String(pid)]);
    return /nats-server/.test(stdout);
  } catch {
    return false; // No such process, or unknown.
  }
}

async function hasProc(): Promise<boolean> {
  return await readFile("/proc/self/stat").then(() => true, () => false);
}
