/**
 * Runs the server, and once more when a command asks for a restart.
 *
 * @module
 */

import process from "node:process";
import type { Context } from "../command.ts";
import type { Given } from "../settings/resolve.ts";
import { EXIT } from "../terminal/failure.ts";
import type { StartOptions } from "./checks/preflight.ts";
import { runServer } from "./run.ts";

/** How long the answer to a request may take on its way, in milliseconds. */
const ANSWER_MS = 100;

/**
 * Runs the server until the signal is aborted, again after each request to restart. Under systemd, and
 * where the request says so, it ends instead with {@link EXIT.restart}: the service manager starts the
 * program that is installed then.
 *
 * @param context The environment of the command
 * @param given Reads flags, environment variables and file; called at each start
 * @param options Options of the start
 */
export async function runAgain(
  context: Context,
  given: () => Promise<Given>,
  options: Omit<StartOptions, "restart">,
): Promise<void> {
  const { io } = context;
  // systemd sets it to the process that it has started, not to that of a shell of its own.
  const isService = io.env.SYSTEMD_EXEC_PID === String(process.pid);
  for (;;) {
    const asked = new AbortController();
    let exits = false;
    const restart = (exit: boolean) => {
      exits = exit || isService;
      setTimeout(() => asked.abort("cluster restart"), ANSWER_MS);
      return exits ? "exit" : "in place";
    };
    const signal = AbortSignal.any([io.signal, asked.signal]);
    await runServer({ ...context, io: { ...io, signal } }, await given(), { ...options, restart });
    if (io.signal.aborted) return;
    if (exits) {
      context.exitCode = EXIT.restart;
      return;
    }
  }
}
