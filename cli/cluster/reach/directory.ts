/**
 * What a directory of streams was used for: a server by itself, or a node of a cluster. Neither takes
 * over what the other has left: nats-server leaves it lying there, unseen, and may remove it later.
 *
 * @module
 */

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { systemCode } from "../../../src/core/host/system_code.ts";
import { SYSTEM_ACCOUNT } from "../../../src/nats/callout/accounts.ts";

/** What was found. */
export interface Found {
  /** Whether a node of a cluster has used it. */
  clustered: boolean;
  /** The streams in it, by account. */
  streams: { account: string; stream: string }[];
}

/** Looks at a directory that `--nats-store` names; one that is missing holds nothing. */
export async function lookAt(directory: string): Promise<Found> {
  const root = join(directory, "jetstream");
  const names = async (...path: string[]) => {
    try {
      const found = await readdir(join(root, ...path), { withFileTypes: true });
      return found.filter((it) => it.isDirectory()).map((it) => it.name);
    } catch (error) {
      // A file in place of a directory is for the nats-server to complain about.
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

/** Why a server may not be started on a directory; null when it may. */
export async function misuseOf(directory: string, cluster: boolean): Promise<string | null> {
  const { clustered, streams } = await lookAt(directory);
  if (streams.length === 0 || clustered === cluster) return null;
  const [was, is] = cluster
    ? ["a server by itself", "a cluster"]
    : ["a node of a cluster", "a server by itself"];
  const flags = cluster ? "" : "; to go on in the cluster give --cluster-name and --routes again";
  return `--nats-store ${directory} holds streams of ${was}, which ${is} does not ` +
    `take over: move the directory aside, start with --nats-only, and copy them with membershipd ` +
    `cluster import${flags}`;
}
