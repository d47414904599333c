/**
 * Starts a child process that does not outlive this process.
 *
 * @module
 */

import { type ChildProcessByStdio, spawn } from "node:child_process";
import process from "node:process";
import type { Readable, Writable } from "node:stream";

/** A child process with pipes for its standard streams. */
export type GuardedChild = ChildProcessByStdio<Writable, Readable, Readable>;

/**
 * A shell script that starts a watcher in the background and then executes the program, so that the
 * child's process ID, exit code and signals are the program's own. The watcher reads from a pipe
 * that we hold open: a line means that the program has ended; the end of the pipe without a line
 * means that our process has ended, for any reason. The watcher then stops the program and removes
 * its directory.
 */
const SHELL = `exec 3<&0
directory=$1
shift
{
  trap '' HUP INT TERM
  cd /
  if read -r _; then exit 0; fi
  kill -TERM "$$"
  n=0
  while kill -0 "$$" && [ "$n" -lt 5 ]; do
    sleep 1
    n=$((n + 1))
  done
  [ "$n" -lt 5 ] || kill -KILL "$$"
  rm -rf -- "$directory"
} <&3 >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-`;

/**
 * Starts a program that is stopped when our process ends, even by SIGKILL; its `directory` is then
 * removed. The program runs in its own session, so that Ctrl-C in a terminal reaches only us and we
 * can stop it gracefully. On Windows there is no watcher.
 */
export function spawnGuarded(
  directory: string,
  program: string,
  args: readonly string[],
): GuardedChild {
  if (process.platform === "win32") return spawn(program, args, { stdio: "pipe" });
  const child = spawn("/bin/sh", ["-c", SHELL, "unibus-watchdog", directory, program, ...args], {
    stdio: "pipe",
    detached: true,
  });
  // The watcher may have ended before it receives the line.
  child.stdin.on("error", () => {});
  child.once("exit", () => child.stdin.end("ended\n"));
  return child;
}
