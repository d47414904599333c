/**
 * Tests that need a program which not every machine has. Where it is missing the test is ignored and
 * its name says why. `.ci/run` runs the files that call `toolTest` or `browserTest` once more, with
 * everything installed.
 *
 * @module
 */

import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";

/** Where a program is on the PATH, or `null`. Runs nothing, so it cannot fail a file of tests. */
export function findTool(name: string): string | null {
  for (const dir of (process.env.PATH ?? "").split(delimiter)) {
    try {
      accessSync(join(dir, name), constants.X_OK);
      return join(dir, name);
    } catch {
      // Not in this directory.
    }
  }
  return null;
}

/** A test, and the programs without which it is ignored. */
export interface ToolTest extends Omit<Deno.TestDefinition, "ignore"> {
  /** Names of programs on the PATH. */
  tools: string[];
  /** Any other reason why the test cannot run here; `null` for none. */
  why?: string | null;
}

/** Registers a test, ignored with the reason where a program it needs is missing. */
export function toolTest({ tools, why = null, name, ...test }: ToolTest): void {
  const missing = tools.filter((it) => findTool(it) === null);
  const reason = missing.length > 0 ? `no ${missing.join(", ")} on the PATH` : why;
  Deno.test({
    ...test,
    name: reason === null ? name : `${name} (ignored: ${reason})`,
    ignore: reason !== null,
  });
}

/** Whether a small file system can be mounted in a namespace, as for a full disk. */
export function canMount(): boolean {
  try {
    return new Deno.Command("unshare", {
      args: ["-Urm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"],
      stdout: "null",
      stderr: "null",
    }).outputSync().success;
  } catch {
    return false;
  }
}
