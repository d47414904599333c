/**
 * Running a tool of the release, with its output shown only when it fails.
 *
 * @module
 */

import { spawn } from "node:child_process";
import process from "node:process";

/** Runs a program; rejects with what it said when it fails. */
export function run(
  program: string,
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    child.stdout.on("data", (data) => said += data);
    child.stderr.on("data", (data) => said += data);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0) return resolve();
      const how = signal === null ? `exit code ${code}` : signal;
      reject(new Error(`${program} ${args[0]} ended with ${how}:\n${said.trim()}`));
    });
  });
}
