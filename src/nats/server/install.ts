/**
 * Installing a nats-server into the cache: each source in turn, each unpacked beside the cache entry
 * and moved into place only once it has been seen to run.
 *
 * @module
 */

import { chmod, mkdir, mkdtemp, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { StoreError } from "../../core/errors.ts";
import { unpackDebianPackage } from "./debian.ts";
import { type Env, messageOf } from "./exec.ts";
import { NATS_SERVER_RELEASE, unpackRelease } from "./release.ts";

/** Where a nats-server can be had. */
export type InstallSource = "release" | "debian";

/** How a nats-server is installed. */
export interface InstallOptions {
  /** The environment to read; `process.env` by default. */
  env?: Env;
  /** Ends the installation; it then rejects with `aborted` and leaves nothing behind. */
  signal?: AbortSignal;
  /** Called with a line for people about each step. */
  log?: (line: string) => void;
  /** The sources to try, in this order; by default the official release, then Debian's package. */
  sources?: readonly InstallSource[];
  /** The official release to install, such as `2.15.1`. */
  version?: string;
  /** The SHA-256 that its archive for this platform must have, hex, from somewhere one trusts. */
  sha256?: string;
}

interface Internal extends InstallOptions {
  env: Env;
  /** Rejects unless the program at `path` can be used, else gives its version. */
  check: (path: string) => Promise<string>;
}

const SOURCES = {
  release: { name: "official release", unpack: unpackRelease },
  debian: { name: "Debian package", unpack: unpackDebianPackage },
} as const;

/** Installs into `cache`, or says why no source worked. A release that fails its checksum throws. */
export async function install(
  cache: string,
  options: Internal,
): Promise<{ path: string; version: string } | { tried: string[] }> {
  const { sources = ["release", "debian"], signal, log = () => {} } = options;
  await mkdir(cache, { recursive: true });
  await removeStale(cache);
  const tried: string[] = [];
  for (const source of sources) {
    const { name, unpack } = SOURCES[source];
    const directory = await mkdtemp(join(cache, ".tmp-"));
    try {
      const unpacked = await unpack({
        directory,
        env: options.env,
        version: options.version ?? NATS_SERVER_RELEASE,
        log,
        ...(options.sha256 === undefined ? {} : { sha256: options.sha256 }),
        ...(signal === undefined ? {} : { signal }),
      });
      const result = await adopt(unpacked, cache, options.check);
      log(`Installed nats-server ${result.version} as ${result.path}`);
      return result;
    } catch (error) {
      if (signal?.aborted) throw error;
      if (error instanceof StoreError && error.code === "mismatch") throw error;
      tried.push(`${name}: ${messageOf(error)}`);
      log(`${name}: ${messageOf(error)}`);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
  return { tried };
}

async function adopt(
  unpacked: string,
  cache: string,
  check: (path: string) => Promise<string>,
): Promise<{ path: string; version: string }> {
  await chmod(unpacked, 0o755);
  const version = await check(unpacked);
  const path = join(cache, version, basename(unpacked));
  // Synced before it gets its name, so that the name never stands for half a file after a crash.
  // Opened for reading: a program that anybody holds open for writing cannot be run.
  const file = await open(unpacked, "r");
  await file.sync().finally(() => file.close());
  await mkdir(join(cache, version), { recursive: true });
  try {
    // Replaces atomically what another installer put there, or a damaged entry.
    await rename(unpacked, path);
  } catch (error) {
    // Windows does not replace a program that runs; whoever was first has installed a good one.
    await check(path).catch(() => {
      throw error;
    });
  }
  return { path, version };
}

/** Removes what installers that were killed left behind. */
async function removeStale(cache: string): Promise<void> {
  const hour = 3_600_000;
  for (const name of await readdir(cache)) {
    if (!name.startsWith(".tmp-")) continue;
    const path = join(cache, name);
    const age = Date.now() -
      (await stat(path).catch(() => undefined) ?? { mtimeMs: Date.now() }).mtimeMs;
    if (age > hour) await rm(path, { recursive: true, force: true });
  }
}
