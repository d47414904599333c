/**
 * The route secret, from wherever it was put.
 *
 * @module
 */

import { readFile, stat } from "node:fs/promises";
import process from "node:process";
import { systemCode } from "../../../src/core/host/system_code.ts";
import { UsageError } from "../../terminal/failure.ts";
import type { Given, Resolved } from "./resolve.ts";

/** Reads the route secret; throws `UsageError` when it lies open or cannot be had. */
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
    `--cluster-pass-file ${clusterPassFile}: it must hold the route secret, in one line`,
  );
}

async function refuseOpen(flag: string, path: string): Promise<void> {
  if (process.platform === "win32") return;
  if (((await stat(path)).mode & 0o007) === 0) return;
  throw new UsageError(
    `${flag} ${path}: it holds the route secret, and everybody on this machine may use the file; ` +
      `chmod o-rwx ${path}`,
  );
}
