/**
 * Shared by the release tasks: runs tools, shows their output only on failure, and sets the exit
 * code.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** Runs a program; rejects with its output if it fails. */
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

/** Runs a task with this process's arguments; an error is printed, and the exit code is 1. */
export async function main(name: string, make: (args: string[]) => Promise<void>): Promise<void> {
  try {
    await make(Deno.args);
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : error}`);
    process.exit(1);
  }
}

/** Runs a function in a temporary directory, which is removed afterwards. */
export async function inWorkspace(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "unibus-release-"));
  try {
    await work(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}
