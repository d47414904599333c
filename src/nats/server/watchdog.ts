/**
 * Starting a child process that does not outlive us.
 *
 * @module
 */

import { type ChildProcessByStdio, spawn } from "node:child_process";
import process from "node:process";
import type { Readable, Writable } from "node:stream";

/** A child with a pipe at each end. */
export type GuardedChild = ChildProcessByStdio<Writable, Readable, Readable>;

/**
 * A shell that leaves a watcher behind and becomes the program, so that the child's process id, exit
 * code and signals are the program's own. The watcher reads from a pipe that we hold: a line means
 * that the program has ended; the end of the pipe without one means that we are gone, however we
 * ended, and then it ends the program and removes its directory, which nobody else will.
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
 * Starts a program that is ended when we end, also by SIGKILL; `directory`, which holds its files, is
 * then removed. The program has a session of its own, so that Ctrl-C in a terminal reaches us alone
 * and we shut it down in order. On Windows nothing watches it.
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
  // The watcher may be gone before it is told.
  child.stdin.on("error", () => {});
  child.once("exit", () => child.stdin.end("ended\n"));
  return child;
}
