/**
 * Reads the route secret from its setting or file.
 *
 * @module
 */

import { readFile, stat } from "node:fs/promises";
import process from "node:process";
import { systemCode } from "../../src/core/host/system_code.ts";
import { UsageError } from "../terminal/failure.ts";
import type { Given, Resolved } from "./resolve.ts";

/**
 * Reads the route secret, or returns null if none is set.
 *
 * @throws {UsageError} The file cannot be read, is invalid, or is accessible to all users
 */
export async function routeSecret(
  { settings, sources }: Resolved,
  file: Given["file"],
): Promise<string | null> {
  const { clusterPass, clusterPassFile } = settings;
  if (clusterPassFile === null) {
    if (sources.clusterPass === "file" && file !== null) await refuseOpen("--config", file.path);
    return clusterPass;
  }
  let secret: string;
  try {
    secret = (await readFile(clusterPassFile, "utf8")).trim();
  } catch (cause) {
    const why = systemCode(cause) === "ENOENT" ? "no such file" : "cannot be read";
    throw new UsageError(`--cluster-pass-file ${clusterPassFile}: ${why}`, { cause });
  }
  await refuseOpen("--cluster-pass-file", clusterPassFile);
  // deno-lint-ignore no-control-regex
  if (secret !== "" && !/[\x00-\x1f\x7f]/.test(secret)) return secret;
  throw new UsageError(
    `--cluster-pass-file ${clusterPassFile}: must contain the route secret in one line`,
  );
}

async function refuseOpen(flag: string, path: string): Promise<void> {
  if (process.platform === "win32") return;
  if (((await stat(path)).mode & 0o007) === 0) return;
  throw new UsageError(
    `${flag} ${path}: the file contains the route secret and is accessible to all users of this ` +
      `machine; chmod o-rwx ${path}`,
  );
}
