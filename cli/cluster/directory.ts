/**
 * Detects whether a directory of streams was used by a standalone server or by a cluster node.
 * Neither can use the other's streams: nats-server ignores them and may delete them later.
 *
 * @module
 */

import { readdir, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { systemCode } from "../../src/core/host/system_code.ts";
import { SYSTEM_ACCOUNT } from "../../src/nats/callout/accounts.ts";

/** The contents of a directory of streams. */
export interface Found {
  /** Whether a cluster node has used it. */
  clustered: boolean;
  /** Its streams with their accounts. */
  streams: { account: string; stream: string }[];
}

/** Inspects a `--nats-store` directory; one that does not exist counts as empty. */
export async function lookAt(directory: string): Promise<Found> {
  const root = join(directory, "jetstream");
  const names = async (...path: string[]) => {
    try {
      const found = await readdir(join(root, ...path), { withFileTypes: true });
      return found.filter((it) => it.isDirectory()).map((it) => it.name);
    } catch (error) {
      // A file instead of a directory is reported by the nats-server.
      if (["ENOENT", "ENOTDIR"].includes(systemCode(error))) return [];
      throw error;
    }
  };
  const streams: Found["streams"] = [];
  for (const account of await names()) {
    for (const stream of await names(account, "streams")) streams.push({ account, stream });
  }
  return { clustered: (await names(SYSTEM_ACCOUNT, "_js_")).includes("_meta_"), streams };
}

/** Returns why a server cannot use a directory, or null if it can. */
export async function misuseOf(directory: string, cluster: boolean): Promise<string | null> {
  const { clustered, streams } = await lookAt(directory);
  if (streams.length === 0 || clustered === cluster) return null;
  const [was, is] = cluster
    ? ["a standalone server", "a cluster node"]
    : ["a cluster node", "a standalone server"];
  const flags = cluster ? "" : "; to rejoin the cluster, set --cluster-name and --routes again";
  return `--nats-store ${directory} contains the streams of ${was}, which ${is} cannot use: ` +
    "rename the directory, start with --nats-only, and copy the streams with membershipd " +
    `cluster import${flags}`;
}

/** Returns the free disk space of a directory in bytes; null if it cannot be read. */
export async function freeIn(directory: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  } catch {
    return null;
  }
}

/**
 * Returns the total size of the files in a directory, recursively. What is removed meanwhile counts as 0.
 */
export async function sizeOf(directory: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(directory, { withFileTypes: true }).catch(none)) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) bytes += await sizeOf(path);
    else if (entry.isFile()) bytes += await stat(path).then(({ size }) => size, () => 0);
  }
  return bytes;
}

function none(error: unknown): [] {
  if (["ENOENT", "ENOTDIR"].includes(systemCode(error))) return [];
  throw error;
}
