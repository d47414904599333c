/**
 * One nats-server for one directory of streams: two would destroy them, and nats-server itself does
 * not look.
 *
 * @module
 */

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { pause } from "../../src/core/async/wait.ts";
import { isStoreError, StoreError } from "../../src/core/errors.ts";
import { systemCode } from "../../src/core/host/system_code.ts";
import { connect, run, value } from "../../src/sqlite/file/connect.ts";
import { isBusy } from "../../src/sqlite/file/errors.ts";
import { demandAll } from "../terminal/permissions.ts";
import type { Log } from "./log/log.ts";

/** A directory that is ours. */
export interface StoreLock {
  /** Notes which nats-server uses it: should we be killed, the next one waits for its end. */
  usedBy(pid: number): void;
  /** Gives the directory back. */
  release(): void;
}

/** How long the nats-server of one who was killed may take to end, milliseconds. */
const PATIENCE_MS = 15_000;
const LOOK_MS = 50;

/**
 * Takes the directory, made when it is missing; the system gives it back however we end. Waits for a
 * nats-server that still runs in it since its membershipd was killed.
 *
 * `refused` when another membershipd has it, and without all of Deno's permissions.
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
    throw new StoreError("refused", `${attempt}: it is no directory of ours (${why})`, { cause });
  }
  // What holds the lock is SQLite, which can do that on every system; the file holds two numbers.
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
        // The directory is ours all the same; only who comes after a kill will not know of it.
        log("warn", "nats.lock", { reason: error });
      }
    },
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
        `${attempt}: another membershipd does; stop it, or name another directory with --nats-store`,
        { cause: error },
      );
    }
    throw new StoreError("unavailable", `${attempt}: ${path} cannot be locked`, { cause: error });
  }
}

/** A process: its number, and when it began, 0 where that is not known. */
interface Former {
  readonly pid: number;
  readonly began: number;
}

async function gone(former: Former, attempt: string, signal: AbortSignal, log: Log): Promise<void> {
  const { pid } = former;
  const deadline = performance.now() + PATIENCE_MS;
  for (let tries = 0; pid > 0 && await isThere(former); tries++) {
    if (performance.now() > deadline) {
      throw new StoreError("refused", `${attempt}: nats-server ${pid} does still; end it first`);
    }
    if (tries === 0) log("info", "nats.waiting_for_former", { pid });
    await pause(LOOK_MS, signal);
  }
}

/**
 * When a process began, in ticks since the machine did, 31 bits of it; null where nobody tells. The
 * number of a process may be another's by now, even another nats-server's: then it began at another
 * time.
 */
function beganAt(pid: number): number | null {
  try {
    // The name, in brackets, may hold anything; the 22nd field is the 20th behind it.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]) % 2 ** 31;
  } catch {
    return null;
  }
}

async function isThere({ pid, began }: Former): Promise<boolean> {
  return (began === 0 || (beganAt(pid) ?? began) === began) && await isNatsServer(pid);
}

/** Whether a process runs and is a nats-server: the number may be somebody else's by now. */
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
    return false; // No such process, or no way to know.
  }
}

async function hasProc(): Promise<boolean> {
  return await readFile("/proc/self/stat").then(() => true, () => false);
}
